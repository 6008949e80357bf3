"""198 odd files from other projects' test suites, each with what is expected of it."""

import csv
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image


@pytest.fixture(scope="module")
def outcomes(hostile_images: Path) -> list[tuple[str, str, object, float]]:
    """Name, expectation, pixels or error, and processor time; decoded in four threads."""

    def attempt(row: dict[str, str]) -> tuple[str, str, object, float]:
        data = (hostile_images / row["file"]).read_bytes()
        start = time.thread_time()  # what other programs do at the time does not count
        result: object
        try:
            result = decode_image(data)
        except Exception as error:  # whatever escapes is for the test to judge
            result = error
        return row["file"], row["expect"], result, time.thread_time() - start

    with (hostile_images / "INDEX.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(attempt, rows))


Outcomes = list[tuple[str, str, object, float]]


def named(outcomes: Outcomes, start: str) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name, _, result, _ in outcomes:
        if name.startswith(start):
            assert isinstance(result, np.ndarray), f"{name}: {result!r}"
            yield name, result


def test_all_files_were_tried(outcomes: Outcomes) -> None:
    assert len(outcomes) > 190


def test_every_sound_file_decodes(outcomes: Outcomes) -> None:
    failed = {
        name: repr(result)
        for name, expect, result, _ in outcomes
        if expect == "decodes" and not isinstance(result, np.ndarray)
    }
    assert failed == {}


def test_every_bad_file_is_refused(outcomes: Outcomes) -> None:
    accepted = [
        name
        for name, expect, result, _ in outcomes
        if expect == "must_reject" and isinstance(result, np.ndarray)
    ]
    assert accepted == []


def test_nothing_but_our_errors_escapes(outcomes: Outcomes) -> None:
    """Warnings included: pytest turns those into exceptions here."""
    escaped = {
        name: repr(result)
        for name, _, result, _ in outcomes
        if not isinstance(result, np.ndarray | ImageError)
        or isinstance(getattr(result, "__cause__", None), Warning)
    }
    assert escaped == {}


def test_every_file_is_done_with_in_two_seconds(outcomes: Outcomes) -> None:
    assert {name: seconds for name, _, _, seconds in outcomes if seconds > 2} == {}


def test_refusals_are_sentences_without_paths(outcomes: Outcomes, hostile_images: Path) -> None:
    for name, _, result, _ in outcomes:
        if isinstance(result, ImageError):
            assert str(result).endswith("."), name
            assert str(hostile_images) not in str(result)
            assert "object at 0x" not in str(result)


@pytest.mark.parametrize(
    ("start", "reference", "count"),
    [
        ("landscape_", "landscape_2.jpg", 7),
        ("hopper_orientation_", "hopper_orientation_1_base.jpg", 4),
    ],
)
def test_rotated_photos_all_look_like_the_upright_one(
    outcomes: Outcomes, start: str, reference: str, count: int
) -> None:
    photos = dict(named(outcomes, start))
    # Each was compressed anew: 3 to 5 grey levels apart. A wrong turn makes it 40 and more.
    upright = photos[reference].astype(int)
    distances = {name: np.abs(pixels - upright).mean() for name, pixels in photos.items()}
    assert len(distances) == count
    assert {name: value for name, value in distances.items() if value > 8} == {}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("g4_orientation_8.tif", (88, 590, 3)),
        ("imgproxy_orient_2.png", (100, 200, 3)),
        ("imgproxy_orient_5.png", (200, 100, 3)),
        ("imgproxy_orient_8.png", (200, 100, 3)),
        ("paris_exif_orientation_5.jpg", (403, 302, 3)),
        ("decompression_bomb_extents.gif", (100, 100, 3)),
    ],
)
def test_sizes_are_those_of_the_upright_first_frame(
    outcomes: Outcomes, name: str, shape: tuple[int, int, int]
) -> None:
    assert dict(named(outcomes, name))[name].shape == shape


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("full-transparent.png", 255),  # hides black
        ("tbwn0g16.png", 165),  # 16-bit grey on white: 255 if clipped
        ("basn0g16.png", 144),  # 16-bit grey ramp: 254 if clipped
        ("tbbn2c16.png", 170),  # 16-bit colours with one transparent colour
        ("apng_mode_16bit.png", 85),  # pure red
    ],
)
def test_alpha_and_bit_depth_come_out_right(outcomes: Outcomes, name: str, mean: int) -> None:
    assert dict(named(outcomes, name))[name].mean() == pytest.approx(mean, abs=25)
