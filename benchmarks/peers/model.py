"""The model as the peers run it: the same ONNX file, prepared as people usually write it.

MODEL and CORES are set by benchmarks/serving.py.
"""

import io
import json
import os

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = int(os.environ["CORES"])
_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["MODEL"], _options)
_info = json.loads(session.get_modelmeta().custom_metadata_map["shopwindow"])
_size = _info["resize"]["width_px"], _info["resize"]["height_px"]
_column = _info["columns"][0]


def prepare(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3) uint8 at the size of the model."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(ImageOps.pad(image, _size, Image.Resampling.BILINEAR, color="white"))


def decode(data: bytes) -> np.ndarray:
    """Return (H, W, 3) uint8 from the content of an image file."""
    return prepare(Image.open(io.BytesIO(data)))


def predict(images_nhwc: np.ndarray) -> list[dict]:
    """Return the best label and its confidence for each of (N, H, W, 3) uint8 images."""
    (scores,) = session.run([_column["name"]], {"images": images_nhwc})
    best = scores.argmax(1)
    return [
        {"label": _column["labels"][label], "confidence": float(row[label])}
        for row, label in zip(scores, best, strict=True)
    ]
