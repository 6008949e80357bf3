"""Gradio, one image in and a label out: `python gradio_app.py PORT`."""

import os
import sys

import gradio

import model


def predict(image):
    """Answer one image."""
    answer = model.predict(model.prepare(image)[None])[0]
    return {answer["label"]: answer["confidence"]}


demo = gradio.Interface(
    predict,
    gradio.Image(type="pil"),
    gradio.Label(),
    api_name="predict",
    concurrency_limit=int(os.environ["CORES"]),
)
if __name__ == "__main__":
    demo.queue(max_size=None).launch(
        server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, share=False
    )
