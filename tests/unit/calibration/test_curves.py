"""Confidences made honest by curves, for each kind of photo, in arrays and in the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shopwindow.bundle import KINDS_OUTPUT, Threshold
from shopwindow.calibration.calibrated_graph import with_calibration, with_confidence
from shopwindow.calibration.calibrating import Calibration
from shopwindow.calibration.curves import (
    MIN_IMAGES,
    BetaCalibration,
    Confidence,
    DomainClassifier,
    fit_beta_calibration,
    fit_domain_classifier,
)
from shopwindow.calibration.curves import fit_confidence as fit_to_judged
from shopwindow.evaluation.asking import Probs
from shopwindow.evaluation.metrics import grade

LABELS = ("heel", "boot", "cap", "belt")
HONEST = BetaCalibration(1, 1, 0)


def answers(count: int, *, seed: int, floor: float = 0.0) -> Probs:
    """Answers of any confidence, in a column of four labels and one of two."""
    rng = np.random.default_rng(seed)
    main = softmax(rng.uniform(0, 4, (count, 1)) * rng.normal(size=(count, 4)), axis=1)
    ground = rng.uniform(floor, floor + 0.2, count)
    both = {"kind": main, "ground": np.stack([ground, 1 - ground], 1)}
    return {name: rows.astype(np.float32) for name, rows in both.items()}


def marked(
    rows: NDArray[np.floating], worth: Callable[..., object], seed: int
) -> NDArray[np.bool_]:
    """Which labels are right, where an answer is right as often as `worth` says."""
    rng = np.random.default_rng(seed)
    best, number = rows.argmax(axis=1), np.arange(len(rows))
    right = rng.random(len(rows)) < worth(rows[number, best])
    truth = np.where(right, best, (best + rng.integers(1, rows.shape[1], len(rows))) % 4)
    return np.eye(rows.shape[1], dtype=bool)[truth]


def fit_confidence(
    data_sets: list[Probs], allowed: list[NDArray[np.bool_]], shares: list[float]
) -> Confidence | None:
    """Fit to the answers that have a right label."""
    judged = []
    for one, right in zip(data_sets, allowed, strict=True):
        some = right.any(axis=1)
        rows = one["kind"][some]
        hits = right[some][np.arange(len(rows)), rows.argmax(axis=1)]
        judged.append((rows.max(axis=1), hits))
    return fit_to_judged(data_sets, judged, shares)


def calibration_error(rows: NDArray[np.floating], allowed: NDArray[np.bool_]) -> float:
    return float(grade(rows, allowed.argmax(axis=1), LABELS).ece)


@pytest.mark.parametrize(
    "truth", [HONEST, BetaCalibration(0.2, 1.3, -1), BetaCalibration(0.3, 0.6, 0.2)]
)
def test_curve_is_found_from_answers_that_follow_it(truth: BetaCalibration) -> None:
    rng = np.random.default_rng(1)
    confidences = rng.uniform(0.2, 1, 20_000)
    found = fit_beta_calibration(confidences, rng.random(20_000) < truth(confidences))
    at = np.linspace(0.3, 0.99, 30)
    np.testing.assert_allclose(found(at), truth(at), atol=0.02)


@pytest.mark.parametrize("least", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("worth", [lambda c: c, lambda c: 1 - c, lambda c: 0.9 + 0 * c])
def test_curve_is_as_likely_as_the_one_that_scipy_finds(
    least: float, worth: Callable[[NDArray[np.floating]], NDArray[np.floating]]
) -> None:
    rng = np.random.default_rng(8)
    confidences = rng.uniform(least, 0.9999, 3000)
    right = rng.random(3000) < worth(confidences)
    inputs = np.stack([np.log(confidences), -np.log1p(-confidences), np.ones(3000)], 1)
    unchanged = np.array([1.0, 1.0, 0.0])

    def loss(numbers: NDArray[np.floating]) -> float:
        misfits = np.logaddexp(0, np.where(right, -1, 1) * (inputs @ numbers))
        return float(misfits.sum() + ((numbers - unchanged) ** 2).sum())

    bounds = [(0, None), (0, None), (None, None)]
    best = minimize(loss, unchanged, method="L-BFGS-B", bounds=bounds)
    found = fit_beta_calibration(confidences, right)
    assert min(found.rise, found.fall) >= 0
    assert loss(np.array([found.rise, found.fall, found.shift])) < best.fun + 1e-6


@pytest.mark.parametrize("count", [2, 3])
def test_kinds_are_told_apart_as_scikit_learn_does_it(count: int) -> None:
    sizes, shares = (4000, 600, 300)[:count], (0.7, 0.2, 0.1)[:count]
    several = [answers(size, seed=n, floor=0.1 * n) for n, size in enumerate(sizes)]
    for one in several:  # a column that never changes
        one["same"] = np.full((len(one["kind"]), 1), 1, np.float32)
    inputs = [np.log(np.maximum(np.hstack(list(one.values())), 1e-6)) for one in several]
    weights = np.repeat([s / n for s, n in zip(shares, sizes, strict=True)], sizes)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    theirs.fit(
        np.concatenate(inputs).astype(np.float64),
        np.repeat(np.arange(count), sizes),
        logisticregression__sample_weight=weights / weights.mean(),
    )
    ours = fit_domain_classifier(several, shares)
    for one, rows in zip(several, inputs, strict=True):
        np.testing.assert_allclose(ours(one), theirs.predict_proba(rows), atol=0.01)


@pytest.mark.parametrize("right", [True, False])
def test_curve_stays_a_curve_where_all_answers_are_alike(*, right: bool) -> None:
    confidences = np.linspace(0.3, 1, 300)
    curve = fit_beta_calibration(confidences, np.full(300, right))
    values = curve(confidences)
    assert ((values > 0) & (values < 1)).all()
    assert (np.diff(values) >= 0).all()
    assert (values.mean() > confidences.mean()) == right


def test_curve_never_falls_whatever_it_was_fitted_to() -> None:
    confidences = np.linspace(0.01, 0.99, 500)
    curve = fit_beta_calibration(
        confidences, np.random.default_rng(1).random(500) < 1 - confidences
    )
    assert (np.diff(curve(confidences)) >= 0).all()


@pytest.mark.parametrize(
    "curve", [BetaCalibration(0.1, 1.4, -1), BetaCalibration(3, 0, 2), BetaCalibration(0, 0, -5)]
)
def test_answer_stays_and_the_others_keep_their_proportions(curve: BetaCalibration) -> None:
    odd = [[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.4, 0.4, 0.2, 0], [0.5, 0.5, 0, 0]]
    rows = np.concatenate([answers(500, seed=2)["kind"], np.array(odd, np.float32)])
    anew = Confidence((curve,), None, {})({"kind": rows})
    np.testing.assert_allclose(anew.sum(axis=1), 1, atol=1e-6)
    assert (anew >= 0).all()
    assert (anew.argmax(axis=1) == rows.argmax(axis=1)).all()
    # Behind the first two labels the order is what it was; before, labels could be equal.
    np.testing.assert_array_equal(
        np.argsort(-anew[:500], axis=1, kind="stable"),
        np.argsort(-rows[:500], axis=1, kind="stable"),
    )
    second, third = np.sort(rows[:500], axis=1)[:, [-2, -3]].T
    second_anew, third_anew = np.sort(anew[:500], axis=1)[:, [-2, -3]].T
    some = third > 1e-4
    np.testing.assert_allclose((third_anew / second_anew)[some], (third / second)[some], rtol=1e-3)


@pytest.mark.parametrize("classes", [2, 4, 100])
def test_answer_as_good_as_none_stays_one(classes: int) -> None:
    """Nobody has judged such answers; the curve of the others would end at 27 %."""
    rng = np.random.default_rng(3)
    curve = fit_beta_calibration(rng.uniform(0.5, 1, 2000), rng.random(2000) < 0.6)
    assert curve(np.array(0.5)) > 0.4
    even = np.full((5, classes), 1 / classes, np.float32)
    nearly = even.copy()
    nearly[:, 1] *= 1.1
    nearly /= nearly.sum(axis=1, keepdims=True)
    anew = Confidence((curve,), None, {})
    for rows in (even, nearly):
        np.testing.assert_allclose(anew({"kind": rows}), rows, atol=0.1 / classes)


def test_two_labels_that_rounding_may_swap_have_nearly_the_same_confidence() -> None:
    lifting = Confidence((BetaCalibration(0.3, 0.6, 2),), None, {})
    rows = np.array([[0.4501, 0.4499, 0.1001], [0.4499, 0.4501, 0.1001]], np.float32)
    one, other = lifting({"kind": rows})
    np.testing.assert_allclose(one, other, atol=0.005)
    assert lifting({"kind": np.array([[0.5, 0.4, 0.1]], np.float32)})[0, 0] > 0.6


def test_column_of_a_single_label_has_no_curve() -> None:
    one = {"kind": np.ones((300, 1), np.float32)}
    assert fit_to_judged([one], [(np.ones(300), np.ones(300, bool))], [1.0]) is None


def test_each_kind_of_photo_gets_its_own_curve() -> None:
    cautious, rash = BetaCalibration(0.8, 1.5, 0.3), BetaCalibration(0.4, 0.5, -0.4)
    studio, phone = (answers(4000, seed=seed, floor=0.79 * seed) for seed in (0, 1))
    allowed = [marked(studio["kind"], cautious, 5), marked(phone["kind"], rash, 6)]
    fitted = fit_confidence([studio, phone], allowed, [0.75, 0.25])
    assert fitted is not None
    assert fitted.domains is not None
    assert fitted.domains(studio)[:, 0].mean() > 0.95
    assert fitted.domains(phone)[:, 1].mean() > 0.9
    for worth, seed in ((cautious, 0), (rash, 1)):
        others = answers(4000, seed=10 + seed, floor=0.79 * seed)
        right = marked(others["kind"], worth, 20 + seed)
        assert calibration_error(others["kind"], right) > 0.1
        assert calibration_error(fitted(others), right) < 0.035  # chance alone makes 0.02 of 4,000


def test_too_few_images_change_nothing_and_a_small_data_set_has_no_curve() -> None:
    many, few = answers(MIN_IMAGES, seed=1), answers(MIN_IMAGES - 1, seed=2)
    allowed = [marked(one["kind"], HONEST, 3) for one in (many, few)]
    assert fit_confidence([few], allowed[1:], [1.0]) is None
    fitted = fit_confidence([many, few], allowed, [0.5, 0.5])
    assert fitted is not None
    assert (len(fitted.curves), fitted.domains) == (1, None)
    assert fitted.fitted_to == {0: MIN_IMAGES}
    allowed[0][1:] = False  # no right answer is known
    assert fit_confidence([many], allowed[:1], [1.0]) is None


def passing_graph(opset: int) -> onnx.ModelProto:
    """A graph that answers with what it is given."""
    sizes = {"kind": 4, "ground": 2}
    ends = {
        end: [
            helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, ["N", size])
            for name, size in sizes.items()
        ]
        for end, prefix in (("inputs", "in/"), ("outputs", ""))
    }
    nodes = [helper.make_node("Identity", [f"in/{name}"], [name]) for name in sizes]
    return helper.make_model(
        helper.make_graph(nodes, "g", ends["inputs"], ends["outputs"]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def ask_onnxruntime(graph: onnx.ModelProto, given: Probs) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (rows,) = session.run(["kind"], {f"in/{name}": rows for name, rows in given.items()})
    return np.asarray(rows)


def ask_openvino(graph: onnx.ModelProto, given: Probs) -> NDArray[np.float32]:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    # As the engine has it for 8 bits; its threads stay in this process, and are not to be pinned.
    precise = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    model = core.compile_model(core.read_model(graph.SerializeToString()), "CPU", precise)
    return np.asarray(model({f"in/{name}": rows for name, rows in given.items()})["kind"])


@pytest.mark.parametrize("opset", [9, 11, 13, 20])
@pytest.mark.parametrize("ask", [ask_onnxruntime, ask_openvino])
def test_graph_says_what_the_arrays_say_also_the_second_time(
    ask: Callable[[onnx.ModelProto, Probs], NDArray[np.float32]], opset: int
) -> None:
    several = [answers(600, seed=seed, floor=0.39 * seed) for seed in (0, 1, 2)]
    allowed = [marked(one["kind"], BetaCalibration(0.4, 1.6, -0.5), 7) for one in several]
    given = {name: np.concatenate([one[name] for one in several]) for name in several[0]}
    extremes = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0.5, 0.5, 0, 0]], np.float32)
    given["kind"][:3] = extremes
    graph, expected = passing_graph(opset), given
    for count in (3, 2, 1):
        fitted = fit_confidence(several[:count], allowed[:count], [0.5, 0.3, 0.2][:count])
        assert fitted is not None
        with_confidence(graph, fitted, ["kind", "ground"])
        onnx.checker.check_model(graph, full_check=True)
        expected = {**expected, "kind": fitted(expected)}
        np.testing.assert_allclose(ask(graph, given), expected["kind"], atol=2e-4)


def test_graph_tells_the_kinds_of_photo_apart_until_it_is_calibrated_again() -> None:
    several = [answers(600, seed=seed, floor=0.39 * seed) for seed in (0, 1)]
    allowed = [marked(one["kind"], BetaCalibration(0.4, 1.6, -0.5), 7) for one in several]
    fitted = fit_confidence(several, allowed, [0.5, 0.5])
    assert fitted is not None
    assert fitted.domains is not None
    graph = passing_graph(13)
    for given in (several[0], {**several[1], "kind": fitted(several[1])}):  # also a second time
        with_confidence(graph, fitted, ["kind", "ground"], kinds=2)
        onnx.checker.check_model(graph, full_check=True)
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        assert [one.name for one in session.get_outputs()] == ["kind", "ground", KINDS_OUTPUT]
        fed = several[0] if given is several[0] else several[1]
        (found,) = session.run([KINDS_OUTPUT], {f"in/{name}": rows for name, rows in fed.items()})
        np.testing.assert_allclose(found, fitted.domains(given), atol=1e-4)
    with_confidence(graph, None, ["kind", "ground"])
    assert [one.name for one in graph.graph.output] == ["kind", "ground"]
    np.testing.assert_allclose(
        ask_onnxruntime(graph, several[0]),
        fitted({**several[0], "kind": fitted(several[0])}),
        atol=2e-4,
    )


def test_graph_answers_exactly_like_one_that_an_earlier_version_wrote() -> None:
    """With the same numbers, when each node was still made by hand."""
    random = np.random.default_rng(3)
    weights = random.normal(0, 0.5, (6, 2)).astype(np.float32)
    domains = DomainClassifier(weights, random.normal(size=2).astype(np.float32))
    curves = (BetaCalibration(0.4, 1.6, -0.5, 0.3), BetaCalibration(0.8, 0.5, 0.2, 0.0))
    confidence = Confidence(curves, domains, {0: 300, 1: 200})
    threshold = Threshold(1.0, 0.0, 0.0)
    fitted = Calibration({"kind": 1.7, "ground": 0.6}, confidence, (), threshold, ())
    before = onnx.load(Path(__file__).with_name("calibrated_node_by_node.onnx"))
    graph = with_calibration(passing_graph(13), fitted)
    logits = np.random.default_rng(4).normal(0, 4, (5000, 6)).astype(np.float32)
    given = {"kind": softmax(logits[:, :4], axis=1), "ground": softmax(logits[:, 4:], axis=1)}
    np.testing.assert_array_equal(ask_onnxruntime(graph, given), ask_onnxruntime(before, given))


def test_nothing_to_do_leaves_the_graph_alone() -> None:
    graph = passing_graph(13)
    before = graph.SerializeToString()
    assert with_confidence(graph, None, ["kind", "ground"]).SerializeToString() == before
