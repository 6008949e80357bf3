"""Rules that speak another library's language give that library's pixels."""

from __future__ import annotations

import numpy as np
import pytest
from fastai.vision.augment import PadMode, RandomResizedCrop, Resize, ResizeMethod
from fastai.vision.core import PILImage
from PIL import Image
from timm.data import create_transform
from torchvision import transforms

from shopwindow.imaging.preprocess import PadFill, ResizeRule, preprocess

SIZES = [(192, 144), (144, 192), (171, 193), (37, 401), (64, 48), (300, 300), (1200, 900)]
PAD_MODES: dict[PadFill, str] = {
    "black": PadMode.Zeros,
    "edge": PadMode.Border,
    "mirror": PadMode.Reflection,
}


def photo(height: int, width: int) -> np.ndarray:
    """A smooth picture with fine grain, as photos are; every run makes the same."""
    random = np.random.default_rng(height * width)
    small = random.integers(0, 256, (9, 7, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    grain = random.integers(-12, 13, (height, width, 3))
    return np.clip(smooth.astype(int) + grain, 0, 255).astype(np.uint8)


def fastai_pixels(image: np.ndarray, transform: object) -> np.ndarray:
    return np.asarray(transform(PILImage(Image.fromarray(image)), split_idx=1))  # type: ignore[operator]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(60, 60), (80, 60), (97, 128)])
def test_squish_and_crop_first_are_those_of_fastai(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    image = photo(*size)
    np.testing.assert_array_equal(
        preprocess(image, ResizeRule(*target, "squish")),
        fastai_pixels(image, Resize(target, ResizeMethod.Squish)),
    )
    np.testing.assert_array_equal(
        preprocess(image, ResizeRule(*target, "crop-first")),
        fastai_pixels(image, Resize(target, ResizeMethod.Crop)),
    )


@pytest.mark.parametrize("fill", list(PAD_MODES))
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(60, 60), (80, 60), (97, 128)])
def test_pad_first_is_that_of_fastai(
    size: tuple[int, int], target: tuple[int, int], fill: PadFill
) -> None:
    image = photo(*size)
    np.testing.assert_array_equal(
        preprocess(image, ResizeRule(*target, "pad-first", fill=fill)),
        fastai_pixels(image, Resize(target, ResizeMethod.Pad, PAD_MODES[fill])),
    )


@pytest.mark.parametrize("size", SIZES)
def test_squish_then_cut_is_fastais_random_resized_crop_in_validation(
    size: tuple[int, int],
) -> None:
    image = photo(*size)
    rule = ResizeRule(96, 64, "squish", scaled_px=(112, 80))
    np.testing.assert_array_equal(
        preprocess(image, rule), fastai_pixels(image, RandomResizedCrop((96, 64)))
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("filter_", ["bilinear", "bicubic"])
def test_shorter_side_is_resize_and_center_crop_of_torchvision(
    size: tuple[int, int], filter_: str
) -> None:
    image = photo(*size)
    mode = transforms.InterpolationMode(filter_)
    theirs = transforms.Compose([transforms.Resize(73, mode), transforms.CenterCrop(64)])
    rule = ResizeRule(64, 64, "shorter-side", filter=filter_, scaled_px=(73, 73))  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        preprocess(image, rule), np.asarray(theirs(Image.fromarray(image)))
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_rules_express_what_timm_does_for_evaluation(size: tuple[int, int], mode: str) -> None:
    image = photo(*size)
    theirs = create_transform(
        (3, 64, 64), interpolation="bicubic", crop_pct=0.875, crop_mode=mode
    ).transforms[:2]
    method = "shorter-side" if mode == "center" else "squish"
    rule = ResizeRule(64, 64, method, filter="bicubic", scaled_px=(73, 73))  # type: ignore[arg-type]
    expected = theirs[1](theirs[0](Image.fromarray(image)))
    np.testing.assert_array_equal(preprocess(image, rule), np.asarray(expected))
