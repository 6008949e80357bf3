import numpy as np
import pytest
from PIL import Image

from shopwindow.imaging.preprocess import ResizeMethod, ResizeRule, preprocess


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("method", ["squish", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (2, 940), (940, 2), (80, 60), (1200, 900)])
def test_any_image_gets_exactly_the_size_of_the_rule(
    method: ResizeMethod, size: tuple[int, int]
) -> None:
    result = preprocess(picture(*size), ResizeRule(80, 60, method))
    assert result.shape == (80, 60, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("method", ["squish", "crop", "pad"])
def test_an_image_of_the_right_size_is_unchanged_and_a_copy(method: ResizeMethod) -> None:
    image = picture(80, 60)
    result = preprocess(image, ResizeRule(80, 60, method))
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
        ((60, 60, "stretch"), "method: expected squish, crop, pad, got 'stretch'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizeRule(*arguments)  # type: ignore[arg-type]


def test_a_rule_survives_json() -> None:
    rule = ResizeRule(80, 60, "crop")
    assert ResizeRule.from_json(rule.as_json()) == rule


@pytest.mark.parametrize("data", [{}, {"height_px": 8, "width_px": 8}, [], "pad", None])
def test_json_that_is_no_rule_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="resize rule: expected"):
        ResizeRule.from_json(data)  # type: ignore[arg-type]
