"""Models that were trained elsewhere, as bundles: docs/importing.md.

Each way in ends in a `Source`: a graph from image bytes to probabilities, the resize rule and the
labels, and what the model itself says about some images. `write_import` makes a bundle of it, if
the bundle says the same.
"""

from shopwindow.importing.bundling import proof_images, read_preview, write_import
from shopwindow.importing.checkpoint import Checkpoint, open_checkpoint
from shopwindow.importing.fastai_learner import read_learner
from shopwindow.importing.labels import read_labels, settle_labels
from shopwindow.importing.onnx_classifier import OnnxClassifier, onnx_source, open_onnx
from shopwindow.importing.source import Preparation, Source
from shopwindow.importing.weights import (
    LoadedWeights,
    load_weights,
    usual_preparation,
    weights_source,
)

__all__ = [
    "Checkpoint",
    "LoadedWeights",
    "OnnxClassifier",
    "Preparation",
    "Source",
    "load_weights",
    "onnx_source",
    "open_checkpoint",
    "open_onnx",
    "proof_images",
    "read_labels",
    "read_learner",
    "read_preview",
    "settle_labels",
    "usual_preparation",
    "weights_source",
    "write_import",
]
