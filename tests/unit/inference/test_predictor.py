from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from shopwindow.bundle import Families, LabelColumn, Threshold
from shopwindow.bundle.prediction_sets import PredictionSets, SetRule, SetsOfKind
from shopwindow.errors import OversizedImageError, UnsupportedImageError
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import MAX_BATCH, Predictor, _best


def plain(color: tuple[int, int, int], count: int = 1) -> np.ndarray:
    return np.full((count, 8, 6, 3), color, np.uint8)


def test_a_plain_image_is_named_with_its_attributes(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    (answer,) = predictor.predict_bytes([image_bytes("red", (60, 80))])
    assert isinstance(answer, Prediction)
    assert answer.label == "red"
    assert answer.confidence > 0.99
    assert answer.sure
    assert answer.attributes["brightness"].label == "dark"


def test_a_bad_blob_keeps_its_place_among_good_ones(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    answers = predictor.predict_bytes([image_bytes("blue"), b"no image", image_bytes("lime")])
    assert [getattr(answer, "label", type(answer)) for answer in answers] == [
        "blue",
        UnsupportedImageError,
        "green",
    ]


def test_map_of_an_answer_comes_on_request_and_shows_what_spoke_for_it(
    predictor: Predictor,
) -> None:
    images = plain((120, 120, 120), 2)
    images[0, 2:6, 1:5] = (255, 0, 0)
    images[1, :, 3:] = (0, 0, 255)
    answers = predictor.predict_images(images, explain=True)
    assert [answer.label for answer in answers] == ["red", "blue"]
    for answer, where in zip(answers, (np.s_[2:6, 1:5], np.s_[:, 3:]), strict=True):
        assert answer.activation is not None
        assert answer.activation.shape == (8, 6)
        elsewhere = np.ones((8, 6), bool)
        elsewhere[where] = False
        assert answer.activation[where].min() > answer.activation[elsewhere].max()
    assert predictor.predict_images(images) == answers  # the map takes no part in comparisons
    assert {answer.activation is None for answer in predictor.predict_images(images)} == {True}


def test_no_blobs_give_no_answers(predictor: Predictor) -> None:
    assert predictor.predict_bytes([]) == []


def test_only_bad_blobs_give_only_errors(predictor: Predictor) -> None:
    answers = predictor.predict_bytes([b"", b"text"])
    assert [type(answer) for answer in answers] == [UnsupportedImageError] * 2


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (3, 3), (5, 5), (99, 5)])
def test_top_is_clipped_to_the_number_of_labels(
    predictor: Predictor, asked: int, given: int
) -> None:
    (answer,) = predictor.predict_images(plain((200, 30, 30)), top=asked)
    assert len(answer.top) == given


def test_top_below_one_is_refused(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="top: expected at least 1, got 0"):
        predictor.predict_images(plain((0, 0, 0)), top=0)


def test_equally_probable_labels_keep_the_order_of_the_labels(predictor: Predictor) -> None:
    (answer,) = predictor.predict_images(plain((255, 255, 0)))
    ties = [score.label for score in answer.top if score.confidence == answer.confidence]
    assert ties == ["red", "green", "white"]


def test_a_hundred_equally_probable_labels_keep_their_order_too() -> None:
    """Short lists are sorted in another way than long ones."""
    column = LabelColumn("letter", tuple(f"label {number:03}" for number in range(100)))
    best = _best(column, np.full(100, 0.01, np.float32), 100)
    assert tuple(score.label for score in best) == column.labels


def test_an_answer_below_the_threshold_is_not_sure(predictor: Predictor) -> None:
    (answer,) = predictor.predict_images(plain((130, 130, 0)))
    assert answer.confidence < 0.8
    assert not answer.sure


def test_more_images_than_a_batch_give_the_same_answers_as_one_by_one(
    predictor: Predictor,
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (MAX_BATCH + 3, 8, 6, 3), np.uint8)
    together = predictor.probabilities(images)["colour"]
    one_by_one = [predictor.probabilities(images[i : i + 1])["colour"] for i in range(len(images))]
    assert together.shape == (MAX_BATCH + 3, 5)
    np.testing.assert_allclose(together, np.concatenate(one_by_one), atol=1e-5)


def test_no_images_give_empty_probabilities(predictor: Predictor) -> None:
    shapes = {
        name: rows.shape for name, rows in predictor.probabilities(plain((0, 0, 0), 0)).items()
    }
    assert shapes == {"colour": (0, 5), "brightness": (0, 2)}


def test_the_pixel_limit_is_the_predictors_own(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    small = Predictor(predictor.bundle, threads=1, limits=ImageLimits(max_pixels=100))
    (answer,) = small.predict_bytes([image_bytes("red", (11, 10))])
    assert isinstance(answer, OversizedImageError)


def test_many_threads_get_the_answers_of_one(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    colours = ["red", "blue", "black", "white"] * 10
    blobs = [image_bytes(colour, format="JPEG") for colour in colours]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda blob: predictor.predict_bytes([blob]), blobs))
    assert [getattr(answer, "label", answer) for (answer,) in answers] == colours


def test_answer_that_is_not_sure_names_the_family_that_is(predictor: Predictor) -> None:
    """Between red and blue neither is sure, but that it is a hue."""
    (answer,) = predictor.predict_images(plain((200, 0, 200)))
    assert not answer.sure
    assert answer.family is not None
    assert answer.family.label == "hue"
    hues = sum(score.confidence for score in answer.top if score.label in ("red", "green", "blue"))
    assert answer.family.confidence == pytest.approx(hues, abs=1e-6)


def with_sets(predictor: Predictor, sure: float | None, not_sure: float | None) -> Predictor:
    rules = (
        None if least is None else SetRule(least, 50, None, None) for least in (sure, not_sure)
    )
    sets = PredictionSets(0.95, (SetsOfKind("plain colours", *rules),))
    info = replace(predictor.bundle.info, prediction_sets=sets)
    return Predictor(replace(predictor.bundle, info=info), threads=1)


def test_prediction_set_has_every_label_that_is_likely_enough_however_short_the_top(
    predictor: Predictor,
) -> None:
    images = np.concatenate([plain((255, 0, 0)), plain((120, 120, 0)), plain((200, 0, 200))])
    for top in (1, 5):
        sure, three, two = with_sets(predictor, 1.0, 0.2).predict_images(images, top=top)
        assert sure.prediction_set == ("red",)
        assert three.prediction_set == ("black", "red", "green")
        assert two.prediction_set == ("red", "blue")
        assert len(three.top) == top
    assert two.as_json()["prediction_set"] == ["red", "blue"]


def test_prediction_set_is_missing_where_the_bundle_promises_nothing(predictor: Predictor) -> None:
    images = np.concatenate([plain((255, 0, 0)), plain((200, 0, 200))])
    assert {answer.prediction_set for answer in predictor.predict_images(images)} == {None}
    sure, not_sure = with_sets(predictor, None, 0.2).predict_images(images)
    assert sure.sure
    assert sure.prediction_set is None
    assert sure.as_json()["prediction_set"] is None
    assert not_sure.prediction_set == ("red", "blue")


def test_no_family_is_named_where_the_label_is_sure_or_not_even_that_is(
    predictor: Predictor,
) -> None:
    sure, neither = predictor.predict_images(
        np.concatenate([plain((255, 0, 0)), plain((128, 0, 0))])
    )
    assert sure.sure
    assert sure.family is None
    assert not neither.sure
    assert neither.family is None, "half red, half black: a hue or a grey"


def test_column_of_families_never_contradicts_the_label(predictor: Predictor) -> None:
    """Red is dark by the mean of its pixels, which is what the network's own column says."""
    (before,) = predictor.predict_images(plain((255, 0, 0)))
    assert before.attributes["brightness"].label == "dark"
    of = ("light", "dark", "dark", "dark", "light")  # of red, green, blue, black, white
    families = Families("brightness", of, Threshold(0.5, 1.0, 1.0))
    info = replace(predictor.bundle.info, families=(families,))
    (answer,) = Predictor(replace(predictor.bundle, info=info)).predict_images(plain((255, 0, 0)))
    assert answer.attributes["brightness"].label == "light"
    light = sum(score.confidence for score in answer.top if score.label in ("red", "white"))
    assert answer.attributes["brightness"].confidence == pytest.approx(light, abs=1e-6)
