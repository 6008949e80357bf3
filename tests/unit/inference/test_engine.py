from pathlib import Path

import numpy as np
import pytest

from shopwindow.inference.engine import Engine


@pytest.fixture(scope="module")
def engine(colour_bundle: Path) -> Engine:
    return Engine(colour_bundle.read_bytes(), threads=2)


def test_probabilities_come_by_column_and_sum_to_one(engine: Engine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 6, 3), np.uint8)
    outputs = engine.run(images)
    assert {name: rows.shape for name, rows in outputs.items()} == {
        "colour": (7, 5),
        "brightness": (7, 2),
    }
    for rows in outputs.values():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_a_view_with_other_strides_gives_the_same_answer(engine: Engine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)
    expected = engine.run(images[:, :, ::-1].copy())["colour"]
    np.testing.assert_array_equal(engine.run(images[:, :, ::-1])["colour"], expected)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 6, 8, 3), np.uint8),
        np.zeros((8, 6, 3), np.uint8),
        np.zeros((2, 8, 6, 3), np.float32),
        np.zeros((2, 3, 8, 6), np.uint8),
    ],
)
def test_other_shapes_and_types_are_refused_with_both(engine: Engine, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 8, 6, 3\) uint8, got \("):
        engine.run(wrong)


def test_no_threads_are_refused(colour_bundle: Path) -> None:
    with pytest.raises(ValueError, match="threads: expected at least 1"):
        Engine(colour_bundle.read_bytes(), threads=0)


def test_nothing_is_printed_by_loading_and_running(
    colour_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """capfd sees what native code prints, too."""
    Engine(colour_bundle.read_bytes()).run(np.zeros((1, 8, 6, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
