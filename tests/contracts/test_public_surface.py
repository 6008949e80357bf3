"""`import shopwindow` is the one public surface."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import shopwindow
from shopwindow import errors


def test_public_surface_is_exactly_this() -> None:
    assert shopwindow.__all__ == [
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


def test_everything_public_exists_and_is_documented() -> None:
    for name in shopwindow.__all__:
        value = getattr(shopwindow, name)
        if name != "__version__":
            assert inspect.getdoc(value), name


def test_every_error_is_public_and_in_the_drawn_tree() -> None:
    declared = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert declared <= set(shopwindow.__all__)
    assert all(name in (errors.__doc__ or "") for name in declared)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = shopwindow.nothing


def test_dir_lists_lazy_names_too() -> None:
    assert set(shopwindow.__all__) <= set(dir(shopwindow))


def test_importing_shopwindow_loads_nothing_heavy() -> None:
    script = (
        "import sys, shopwindow; "
        "print(sorted({'numpy', 'PIL', 'onnxruntime', 'flask', 'torch'} & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "[]\n"
