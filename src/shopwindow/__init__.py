"""From labelled images to a trained classifier, and from the classifier to predictions.

This module is the whole public surface; `__all__` lists it. Names are loaded when they are first
used, so that `import shopwindow` costs nothing and serving never touches the training stack.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from shopwindow.errors import (
    BulkError,
    BundleError,
    BusyError,
    DataError,
    DownloadError,
    FeedbackError,
    ImageError,
    MissingExtraError,
    OversizedImageError,
    PromotionError,
    ReceiptError,
    RefusedFeedbackError,
    ReviewedError,
    ShopwindowError,
    StudioConflictError,
    StudioError,
    TrainingError,
    UnreadableImageError,
    UnsupportedImageError,
    UsageError,
    WeightsError,
)

if TYPE_CHECKING:
    from shopwindow.bundle import Bundle, BundleInfo, read_bundle
    from shopwindow.data.dataset import Dataset, load_dataset
    from shopwindow.data.split import Split, split_images
    from shopwindow.feedback.opening import open_store
    from shopwindow.feedback.store import FeedbackStore
    from shopwindow.imaging.decode import decode_image
    from shopwindow.imaging.limits import ImageLimits
    from shopwindow.imaging.preprocess import ResizeRule, preprocess
    from shopwindow.inference.prediction import LabelScore, Prediction
    from shopwindow.inference.predictor import Predictor, load_predictor
    from shopwindow.settings import Settings
    from shopwindow.web.app import create_app

# Since 1.29, onnxruntime reports its use to its maker and stores an identifier of the machine,
# unless this is set before it is imported. The people whose photos we get have not agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "BulkError",
    "Bundle",
    "BundleError",
    "BundleInfo",
    "BusyError",
    "DataError",
    "Dataset",
    "DownloadError",
    "FeedbackError",
    "FeedbackStore",
    "ImageError",
    "ImageLimits",
    "LabelScore",
    "MissingExtraError",
    "OversizedImageError",
    "Prediction",
    "Predictor",
    "PromotionError",
    "ReceiptError",
    "RefusedFeedbackError",
    "ResizeRule",
    "ReviewedError",
    "Settings",
    "ShopwindowError",
    "Split",
    "StudioConflictError",
    "StudioError",
    "TrainingError",
    "UnreadableImageError",
    "UnsupportedImageError",
    "UsageError",
    "WeightsError",
    "__version__",
    "create_app",
    "decode_image",
    "load_dataset",
    "load_predictor",
    "open_store",
    "preprocess",
    "read_bundle",
    "split_images",
]

# Where each lazily loaded name lives; the imports above tell type checkers the same.
_HOMES = {
    "Bundle": "shopwindow.bundle",
    "BundleInfo": "shopwindow.bundle",
    "Dataset": "shopwindow.data.dataset",
    "FeedbackStore": "shopwindow.feedback.store",
    "ImageLimits": "shopwindow.imaging.limits",
    "LabelScore": "shopwindow.inference.prediction",
    "Prediction": "shopwindow.inference.prediction",
    "Predictor": "shopwindow.inference.predictor",
    "ResizeRule": "shopwindow.imaging.preprocess",
    "Settings": "shopwindow.settings",
    "Split": "shopwindow.data.split",
    "create_app": "shopwindow.web.app",
    "decode_image": "shopwindow.imaging.decode",
    "load_dataset": "shopwindow.data.dataset",
    "load_predictor": "shopwindow.inference.predictor",
    "open_store": "shopwindow.feedback.opening",
    "preprocess": "shopwindow.imaging.preprocess",
    "read_bundle": "shopwindow.bundle",
    "split_images": "shopwindow.data.split",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
