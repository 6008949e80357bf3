"""Novelty: what it measures, where it begins, and that the graph says the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from colour_bundle import colour_graph, colour_info, write_colour_bundle
from shopwindow.bundle import NOVELTY_OUTPUT, BundleInfo, KnownPhotos, Novelty, read_bundle
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.bundle.writing import with_info
from shopwindow.calibration.novelty import (
    MIN_IMAGES,
    Signs,
    fit_novelty,
    measure_novelty,
    novelty_out_of_fold,
)
from shopwindow.calibration.novelty_graph import KnownSet, append_novelty, remeasure_novelty
from shopwindow.errors import BundleError
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor


def signs(count: int, *, centre: float = 0.0, logit: float = 9.0, seed: int = 0) -> Signs:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (count, 4))
    logits[np.arange(count), random.integers(0, 4, count)] += logit
    return Signs(
        logits.astype(np.float32),
        random.normal(0.2, 0.01, (count, 20)).astype(np.float32),
        random.normal(centre, 1, (count, 6)).astype(np.float32),
    )


KINDS, WEIGHTS = [signs(300), signs(80, centre=20, seed=1)], [0.75, 0.25]


def test_mean_of_the_training_is_near_0_whatever_the_size_of_its_data_sets() -> None:
    score = fit_novelty(KINDS, WEIGHTS)
    mean = sum(w * score(kind).mean() for kind, w in zip(KINDS, WEIGHTS, strict=True))
    assert abs(mean) < 0.01


@pytest.mark.parametrize("sign", ["logits", "embedding", "block"])
def test_each_sign_alone_raises_novelty(sign: str) -> None:
    score, usual = fit_novelty(KINDS, WEIGHTS), signs(100, seed=2)
    strange = {
        "logits": np.zeros_like(usual.logits),
        "embedding": -usual.embedding,
        "block": usual.block + 10,  # between the kinds, and like none of them
    }
    changed = score(replace(usual, **{sign: strange[sign]}))
    assert (changed > score(usual)).all()
    assert changed.mean() > score(usual).mean() + 1


def test_out_of_fold_novelty_is_that_of_fresh_images() -> None:
    kinds = [signs(120), signs(90, centre=20, seed=1)]
    found = np.concatenate(novelty_out_of_fold(kinds, [0.5, 0.5]))
    score = fit_novelty(kinds, [0.5, 0.5])
    learned = np.concatenate([score(kind) for kind in kinds])
    fresh = score(signs(500, seed=5))
    assert abs(found[:120].mean() - fresh.mean()) < abs(learned[:120].mean() - fresh.mean())


def test_threshold_is_the_strictest_kind_s_and_measured_on_other_images() -> None:
    catalogue, phones = np.linspace(0, 1, 1001), np.linspace(0, 2, 1001)
    novelty = measure_novelty(["catalogue", "phones"], [catalogue, phones])
    assert novelty is not None
    assert novelty.threshold == pytest.approx(1.94, abs=0.002)
    first, second = novelty.known
    assert (first.source, first.unknown, second.source) == ("catalogue", 0.0, "phones")
    assert second.unknown == pytest.approx(0.03, abs=0.01)
    assert (first.images, second.images) == (1001, 1001)


def test_too_few_images_have_no_say() -> None:
    few = np.arange(MIN_IMAGES - 1.0)
    assert measure_novelty(["few"], [few]) is None
    novelty = measure_novelty(["enough", "few"], [np.zeros(MIN_IMAGES), few])
    assert novelty is not None
    assert [one.source for one in novelty.known] == ["enough"]


def coloured(count: int, seed: int) -> np.ndarray:
    """Images that are nearly red, green or blue."""
    random = np.random.default_rng(seed)
    colours = 200 * np.eye(3)[random.integers(0, 3, count)] + 20
    noise = random.normal(0, 12, (count, 8, 6, 3)) + random.normal(0, 8, (count, 1, 1, 3))
    return np.clip(colours[:, None, None] + noise, 0, 255).astype(np.uint8)


def known_set(count: int, seed: int) -> KnownSet:
    images = coloured(count, seed)
    return KnownSet("colours", lambda rows: images[rows], np.arange(count), 1.0)


def residual_colours() -> onnx.ModelProto:
    """The network of colours, with an earlier block that its last layer does not see."""
    graph = colour_graph()
    graph.node.insert(2, helper.make_node("Transpose", ["scaled"], ["nchw"], perm=[0, 3, 1, 2]))
    graph.node.insert(3, helper.make_node("Mul", ["nchw", "nchw"], ["squared"]))
    graph.node.insert(4, helper.make_node("Add", ["nchw", "squared"], ["residual"]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def novelty_bundle(path: Path, *, learned: int = 300) -> Path:
    graph = residual_colours()
    info = replace(colour_info(), embedding=append_embedding(graph, "colour"))
    sets = [known_set(learned, 0)] if learned else []
    novelty = append_novelty(graph, "colour", sets, [known_set(200, 1)])
    path.write_bytes(with_info(graph, replace(info, novelty=novelty)))
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("learned", [300, 0])
def test_bundle_knows_what_is_like_its_training_and_nothing_else(
    tmp_path: Path, engine: EngineName, learned: int
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    bundle = read_bundle(novelty_bundle(tmp_path / "b.onnx", learned=learned))
    predictor = Predictor(bundle, threads=1, engine=engine)
    fresh = predictor.predict_images(coloured(100, 9))
    assert np.mean([one.known for one in fresh]) > 0.9
    assert bundle.info.novelty is not None
    for one in predictor.predict_images(np.full((3, 8, 6, 3), 110, np.uint8)):  # grey
        assert (one.known, one.sure, one.doubt) == (False, False, "unknown")
        assert one.novelty is not None
        assert one.novelty > bundle.info.novelty.threshold
        assert one.as_json()["known"] is False


def test_graph_says_what_the_score_says(tmp_path: Path) -> None:
    bundle = read_bundle(novelty_bundle(tmp_path / "b.onnx"))
    found = remeasure_novelty(Predictor(bundle, engine="onnxruntime"), [known_set(200, 1)])
    assert found is not None
    assert bundle.info.novelty is not None
    assert found.threshold == pytest.approx(bundle.info.novelty.threshold, abs=2e-3)
    assert found.known == bundle.info.novelty.known


def test_graph_without_enough_to_fit_stays_as_it_is() -> None:
    graph = residual_colours()
    append_embedding(graph, "colour")
    before = graph.SerializeToString()
    assert append_novelty(graph, "colour", [known_set(9, 0)], [known_set(200, 1)]) is None
    assert append_novelty(graph, "colour", [], [known_set(9, 0)]) is None
    assert graph.SerializeToString() == before
    plain = residual_colours()
    assert append_novelty(plain, "colour", [], [known_set(200, 1)]) is None  # no embedding


def test_other_outputs_stay_what_they_were(tmp_path: Path, embedding_bundle: Path) -> None:
    images = coloured(5, 3)
    plain = Predictor(read_bundle(embedding_bundle), threads=1, engine="onnxruntime")
    novel = Predictor(
        read_bundle(novelty_bundle(tmp_path / "b.onnx")), threads=1, engine="onnxruntime"
    )
    for name, rows in plain.probabilities(images).items():
        np.testing.assert_array_equal(novel.probabilities(images)[name], rows)
    assert NOVELTY_OUTPUT not in novel.probabilities(images)
    assert plain.predict_images(images)[0].known is None


@pytest.mark.parametrize(
    "damage",
    [{"threshold": "1"}, {"known": [{"source": "a", "images": 0, "unknown": 0}]}, {"known": [{}]}],
)
def test_damaged_novelty_is_refused(damage: dict[str, object]) -> None:
    info = replace(colour_info(), novelty=Novelty(1.5, (KnownPhotos("a", 9, 0.1),)))
    data = info.as_json()
    assert BundleInfo.from_json(data) == info
    with pytest.raises(BundleError):
        BundleInfo.from_json(data | {"novelty": data["novelty"] | damage})


def test_bundle_that_promises_novelty_must_have_the_output(tmp_path: Path) -> None:
    path = tmp_path / "b.onnx"
    write_colour_bundle(path, info=replace(colour_info(), novelty=Novelty(1.0, ())))
    with pytest.raises(BundleError, match="novelty"):
        read_bundle(path)
