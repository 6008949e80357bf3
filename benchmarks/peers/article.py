"""The app that many articles end with: fastai's `predict` in a Flask view, on Flask's own server.

    python article.py PORT EXPORT

The learner comes from a stock fastai export, a ResNet-18 that this file makes where it is missing.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from fastai.vision.all import (
    ImageDataLoaders,
    PILImage,
    Resize,
    load_learner,
    resnet18,
    vision_learner,
)
from flask import Flask, jsonify, request
from PIL import Image

app = Flask(__name__)


@app.post("/predict")
def predict():
    """Answer one image, sent as the field of a form."""
    label, index, probabilities = learner.predict(PILImage.create(request.files["image"]))
    return jsonify(label=str(label), confidence=float(probabilities[index]))


def export(path: Path) -> None:
    """Write what `learn.export` does; what the network knows plays no part in how long it takes."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(20):
            place = Path(folder, f"class {number % 2}")
            place.mkdir(exist_ok=True)
            pixels = random.integers(0, 256, (80, 60, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
        loaders = ImageDataLoaders.from_folder(
            folder, valid_pct=0.2, item_tfms=Resize((80, 60)), bs=4, num_workers=0
        )
        vision_learner(loaders, resnet18, pretrained=False).export(path)


if __name__ == "__main__":
    exported = Path(sys.argv[2])
    if not exported.exists():
        export(exported)
    learner = load_learner(exported)
    app.run("127.0.0.1", int(sys.argv[1]))
