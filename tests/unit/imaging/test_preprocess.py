import json
import tracemalloc
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from shopwindow.imaging.preprocess import PadFill, ResizeMethod, ResizeRule, preprocess

METHODS = get_args(ResizeMethod)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (2, 940), (940, 2), (64, 64), (1200, 900)])
def test_any_image_gets_exactly_the_size_of_the_rule(
    method: ResizeMethod, size: tuple[int, int]
) -> None:
    result = preprocess(picture(*size), ResizeRule(64, 64, method))
    assert result.shape == (64, 64, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("method", METHODS)
def test_an_image_of_the_right_size_is_unchanged_and_a_copy(method: ResizeMethod) -> None:
    image = picture(64, 64)
    result = preprocess(image, ResizeRule(64, 64, method))
    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image)


def test_padding_is_white_and_even_on_both_sides() -> None:
    black = np.zeros((10, 40, 3), np.uint8)
    result = preprocess(black, ResizeRule(40, 40, "pad"))
    assert (result[:15] == 255).all()
    assert (result[15:25] == 0).all()
    assert (result[25:] == 255).all()


def test_a_thin_strip_does_not_vanish_when_padded() -> None:
    result = preprocess(np.zeros((2, 940, 3), np.uint8), ResizeRule(60, 60, "pad"))
    assert (result == 0).any()


def test_cropping_keeps_the_centre() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    assert (preprocess(image, ResizeRule(40, 40, "crop")) == 200).all()


@pytest.mark.parametrize("size", [(1, 3_000_000), (3_000_000, 1), (7, 500_000)])
@pytest.mark.parametrize("method", ["shorter-side", "crop-first", "pad-first"])
def test_a_panorama_is_neither_squared_nor_enlarged(
    method: ResizeMethod, size: tuple[int, int]
) -> None:
    """At full length or squared, each of these would be hundreds of times the image."""
    image = np.full((*size, 3), 200, np.uint8)
    tracemalloc.start()
    fill: PadFill = "mirror" if method == "pad-first" else "white"
    result = preprocess(image, ResizeRule(224, 224, method, fill=fill))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result == 200).all()
    assert peak < 700e6  # numpy's part: Pillow keeps pixels elsewhere


def test_cutting_the_centre_of_a_larger_size_drops_an_even_border() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[5:35, 5:35] = 200
    assert (preprocess(image, ResizeRule(30, 30, "squish", scaled_px=(40, 40))) == 200).all()
    assert (preprocess(image, ResizeRule(30, 30, "shorter-side", scaled_px=(40, 40))) == 200).all()


@pytest.mark.parametrize(
    ("fill", "edge"), [("white", 255), ("black", 0), ("edge", 10), ("mirror", 90)]
)
def test_pad_first_fills_up_as_it_is_told(fill: PadFill, edge: int) -> None:
    image = np.full((20, 60, 3), 90, np.uint8)
    image[0] = image[-1] = 10
    result = preprocess(image, ResizeRule(60, 60, "pad-first", fill=fill))
    assert (result[17] == edge).all()
    assert (result[42] == edge).all()


def test_filters_of_other_names_give_other_pixels() -> None:
    image = picture(33, 77)
    expected = Image.fromarray(image).resize((20, 12), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(
        preprocess(image, ResizeRule(12, 20, "squish", filter="lanczos")), np.asarray(expected)
    )


def test_squishing_keeps_the_edges() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = 200
    result = preprocess(image, ResizeRule(40, 40, "squish"))
    assert result[0, 0, 0] == 0
    assert result[0, -1, 0] == 200


def test_shrinking_is_antialiased() -> None:
    """A fine chessboard becomes grey; sampling four neighbours would leave a pattern."""
    board = np.indices((400, 400)).sum(0) % 2 * 255
    result = preprocess(np.repeat(board[..., None], 3, 2).astype(np.uint8), ResizeRule(40, 40))
    assert result.std() < 3
    assert abs(float(result.mean()) - 127.5) < 2


def test_resizing_is_pillows_bilinear() -> None:
    image = picture(33, 77)
    expected = Image.fromarray(image).resize((20, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        preprocess(image, ResizeRule(12, 20, "squish")), np.asarray(expected)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        preprocess(wrong, ResizeRule(8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 60), "height_px: expected a whole number from 4 to 2048, got 3"),
        ((60, 2049), "width_px"),
        ((60.0, 60), "height_px"),
        ((True, 60), "height_px"),
        ((60, 60, "stretch"), "method: expected squish, crop, pad, .*, got 'stretch'"),
        ((60, 60, "pad", "cubic"), "filter: expected .*bicubic.*, got 'cubic'"),
        ((60, 60, "pad", "bilinear", (70, 70)), "scaled_px: has no effect with pad"),
        ((60, 60, "squish", "bilinear", (70, 59)), "scaled_px: expected .* from 60 to 2048"),
        ((60, 60, "squish", "bilinear", (70,)), "scaled_px: expected height and width"),
        ((60, 60, "shorter-side", "bilinear", (70, 80)), "scaled_px: expected one length"),
        ((80, 60, "shorter-side"), "scaled_px: expected one length"),
        ((60, 60, "pad", "bilinear", None, "black"), "fill: black has no effect with pad"),
        ((60, 60, "pad-first", "bilinear", None, "grey"), "fill: expected white, black"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizeRule(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule",
    [
        ResizeRule(80, 60, "crop"),
        ResizeRule(80, 60, "pad-first", fill="mirror", scaled_px=(90, 90)),
        ResizeRule(64, 64, "shorter-side", filter="bicubic", scaled_px=(73, 73)),
    ],
)
def test_a_rule_survives_json(rule: ResizeRule) -> None:
    assert ResizeRule.from_json(json.loads(json.dumps(rule.as_json()))) == rule


def test_a_usual_rule_is_written_as_it_always_was() -> None:
    expected = {"height_px": 80, "width_px": 60, "method": "crop"}
    assert ResizeRule(80, 60, "crop").as_json() == expected


def test_a_rule_describes_itself() -> None:
    assert str(ResizeRule(80, 60)) == "60 × 80 pixels (pad)"
    rule = ResizeRule(80, 60, "pad-first", fill="edge", filter="box", scaled_px=(90, 70))
    assert str(rule) == "60 × 80 pixels (pad-first, box, edge, from 70 × 90)"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"height_px": 8, "width_px": 8},
        {"height_px": 8, "width_px": 8, "method": "pad", "colour": "white"},
        {"height_px": 8, "width_px": 8, "method": "pad", 3: "white"},
        [],
        "pad",
        None,
    ],
)
def test_json_that_is_no_rule_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="resize rule: expected"):
        ResizeRule.from_json(data)  # type: ignore[arg-type]
