"""What export fits on validation images, over data sets of several kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shopwindow.bundle import KINDS_OUTPUT
from shopwindow.calibration.calibrating import calibrate, families_of
from shopwindow.calibration.curves import MIN_IMAGES
from shopwindow.data.dataset import Dataset
from shopwindow.evaluation.asking import ValidationSet
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.training_data import open_dataset


@pytest.fixture(scope="module")
def dataset(shapes_options: TrainingOptions) -> Dataset:
    return open_dataset(Run(shapes_options.run_dir, shapes_options), (32, 32))


def judged(dataset: Dataset, *, wrong_every: int, scale: float, seed: int) -> ValidationSet:
    """Answers for all 90 drawings, each `wrong_every`-th a wrong one, of varied confidence."""
    codes = dataset.codes["shape"]
    says = codes.copy()
    says[::wrong_every] = (says[::wrong_every] + 1) % 3
    strength = np.random.default_rng(seed).uniform(0.5, 3, 90)
    strength[::wrong_every] *= 0.6
    logits = scale * strength[:, None] * np.eye(3)[says]
    return ValidationSet(
        "shapes", dataset, np.arange(90), {"shape": logits.astype(np.float32)}, 1.0
    )


def every(step: int, one: ValidationSet) -> ValidationSet:
    """Fewer of the same: each `step`-th drawing."""
    some = np.arange(0, 90, step)
    return replace(one, indices=some, logits={"shape": one.logits["shape"][some]})


def beside(main: ValidationSet, further: ValidationSet, weight: float) -> list[ValidationSet]:
    """Two data sets, of which the second counts by `weight`."""
    return [replace(main, weight=1 - weight), replace(further, weight=weight)]


def test_threshold_holds_for_all_data_sets_together(dataset: Dataset) -> None:
    good = judged(dataset, wrong_every=30, scale=3, seed=1)
    poor = judged(dataset, wrong_every=4, scale=3, seed=2)
    alone = calibrate([good], {}, precision=0.95)
    both = calibrate([good, poor], {}, precision=0.95)
    probs = np.concatenate([both.probs(one.logits)["shape"] for one in (good, poor)])
    targets = np.concatenate([one.targets("shape", one.logits["shape"]) for one in (good, poor)])
    sure = probs.max(axis=1) >= both.threshold.min_confidence
    assert sure.sum() >= 30
    assert (probs.argmax(axis=1) == targets)[sure].mean() >= 0.95
    assert alone.threshold.coverage > both.threshold.coverage


def test_prediction_sets_are_fitted_to_each_kind_of_photo_that_is_told_apart(
    dataset: Dataset,
) -> None:
    def many(one: ValidationSet, name: str) -> ValidationSet:
        some = np.resize(np.arange(90), 2 * MIN_IMAGES)
        return replace(one, name=name, indices=some, logits={"shape": one.logits["shape"][some]})

    good = many(judged(dataset, wrong_every=30, scale=6, seed=1), "catalogue")
    poor = many(judged(dataset, wrong_every=4, scale=1.5, seed=2), "phones")
    fitted = calibrate(beside(good, poor, 0.5), {}, precision=0.95)
    sets = fitted.prediction_sets
    assert sets is not None
    assert [kind.source for kind in sets.kinds] == ["catalogue", "phones"]
    assert fitted.kinds == 2
    for number, (one, kind) in enumerate(zip((good, poor), sets.kinds, strict=True)):
        like = fitted.kinds_of(one.logits)
        assert like is not None
        told = int((like.argmax(axis=1) == number).sum())
        assert told > 300
        rules = [rule for rule in (kind.sure, kind.not_sure) if rule is not None]
        assert 0 < sum(rule.images for rule in rules) <= told
    # A column that has the name of the output leaves no room to say which kind it is.
    taken = [
        replace(one, logits={**one.logits, KINDS_OUTPUT: one.logits["shape"]})
        for one in (good, poor)
    ]
    assert calibrate(beside(*taken, 0.5), {}, precision=0.95).prediction_sets is None
    alone = calibrate([good], {}, precision=0.95)
    assert alone.kinds_of(good.logits) is None
    assert alone.kinds == 1


def test_family_has_to_be_nearly_certain_for_each_data_set_by_itself(dataset: Dataset) -> None:
    good = judged(dataset, wrong_every=30, scale=3, seed=1)
    poor = judged(dataset, wrong_every=4, scale=3, seed=2)
    kinds = {"itself": dataset.vocabularies["shape"]}
    fitted = calibrate([good, poor], kinds, precision=0.8)
    (families,) = fitted.families
    for one in (good, poor):
        probs = fitted.probs(one.logits)["shape"]
        sure = probs.max(axis=1) >= families.threshold.min_confidence
        assert sure.sum() >= 30
        assert (probs.argmax(axis=1) == one.targets("shape", probs))[sure].mean() >= 0.98
    assert families.threshold.min_confidence > fitted.threshold.min_confidence


def test_too_certain_answers_are_cooled(dataset: Dataset) -> None:
    calm = calibrate([judged(dataset, wrong_every=4, scale=1, seed=1)], {}, precision=0.9)
    loud = calibrate([judged(dataset, wrong_every=4, scale=5, seed=1)], {}, precision=0.9)
    assert loud.temperatures["shape"] == pytest.approx(5 * calm.temperatures["shape"], rel=0.1)


def test_data_set_counts_by_its_share_however_few_its_images_are(dataset: Dataset) -> None:
    calm = judged(dataset, wrong_every=4, scale=1, seed=1)
    loud = judged(dataset, wrong_every=4, scale=5, seed=1)
    few = every(3, loud)

    def temperature(share: float, one: ValidationSet) -> float:
        return calibrate(beside(calm, one, share), {}, precision=0.9).temperatures["shape"]

    alone = [calibrate([one], {}, precision=0.9).temperatures["shape"] for one in (calm, few)]
    assert alone[0] < temperature(0.1, few) < temperature(0.5, few) < alone[1]
    assert temperature(0.3, few) == pytest.approx(temperature(0.3, loud), rel=0.1)


def test_threshold_listens_to_a_data_set_by_its_share(dataset: Dataset) -> None:
    good = judged(dataset, wrong_every=30, scale=3, seed=1)
    poor = judged(dataset, wrong_every=4, scale=3, seed=2)
    few = every(2, poor)

    def least(share: float, one: ValidationSet) -> float:
        return calibrate(beside(good, one, share), {}, precision=0.9).threshold.min_confidence

    assert least(0.05, few) < least(0.25, few) < least(0.6, few)
    assert least(0.6, few) == pytest.approx(least(0.6, poor), rel=0.1)


def test_images_without_a_label_take_no_weight_from_the_others(dataset: Dataset) -> None:
    calm = judged(dataset, wrong_every=4, scale=1, seed=1)
    loud = judged(dataset, wrong_every=4, scale=5, seed=2)
    codes = dataset.codes["shape"].copy()
    codes[10:] = -1
    ten, none = (
        replace(loud, dataset=replace(dataset, codes={**dataset.codes, "shape": chosen}))
        for chosen in (codes, np.full(90, -1))
    )
    first = np.arange(10)
    alone = replace(loud, indices=first, logits={"shape": loud.logits["shape"][first]})

    def temperature(*further: ValidationSet) -> float:
        both = [replace(calm, weight=0.7), *(replace(one, weight=0.3) for one in further)]
        return calibrate(both, {}, precision=0.9).temperatures["shape"]

    assert temperature(ten) == pytest.approx(temperature(alone))
    assert temperature(none) == pytest.approx(temperature())


def test_answer_within_the_allowed_set_counts_as_right(dataset: Dataset) -> None:
    one = judged(dataset, wrong_every=3, scale=3, seed=1)
    loose = replace(
        dataset,
        codes={**dataset.codes, "shape": np.full(90, 3)},
        sets={**dataset.sets, "shape": np.ones((1, 3), bool)},
    )
    fitted = calibrate([replace(one, dataset=loose)], {}, precision=0.95)
    assert fitted.threshold.precision == 1.0


def test_family_of_a_label_is_the_one_that_most_of_its_images_have(dataset: Dataset) -> None:
    red = dataset.vocabularies["colour"].index("red")
    colours = np.where(dataset.codes["shape"] == 0, red, 1 - red)
    colours[dataset.codes["shape"] == 2] = -1
    found = families_of(replace(dataset, codes={**dataset.codes, "colour": colours}), ["colour"])
    assert found == {"colour": ("red", "blue", "square")}, "a label without any is its own family"


def test_family_is_sure_where_its_labels_together_are(dataset: Dataset) -> None:
    one = judged(dataset, wrong_every=3, scale=3, seed=1)
    fitted = calibrate([one], {"kind": ("any", "any", "any")}, precision=0.95)
    (families,) = fitted.families
    assert families.threshold.precision == families.threshold.coverage == 1.0
    assert fitted.threshold.coverage < 1


def test_family_is_never_told_where_a_kind_of_photo_is_not_nearly_certain_of_it(
    dataset: Dataset,
) -> None:
    good = judged(dataset, wrong_every=30, scale=3, seed=1)
    # Half of the answers are wrong, and these are not less certain than the others.
    poor = judged(dataset, wrong_every=2, scale=3, seed=2)
    logits = poor.logits["shape"]
    even = 3 * logits / logits.max(axis=1, keepdims=True)
    kinds = {"itself": dataset.vocabularies["shape"]}

    def family_beside(count: int) -> float:
        some = np.resize(np.arange(90), count)
        further = replace(poor, indices=some, logits={"shape": even[some]})
        fitted = calibrate(beside(good, further, 0.25), kinds, precision=0.8)
        return fitted.families[0].threshold.coverage

    assert family_beside(MIN_IMAGES) == 0
    assert family_beside(MIN_IMAGES - 1) > 0, "too few to be heard against the main data set"
