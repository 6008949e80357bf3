"""The embedding: an output that a bundle may have, found in its graph and returned on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from colour_bundle import colour_graph, colour_info, write_colour_bundle
from embedding import without_embedding
from shopwindow.bundle import EMBEDDING_OUTPUT, read_bundle
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.errors import BundleError, TrainingError
from shopwindow.evaluation.verify import EmbeddingCheck, write_verified_bundle
from shopwindow.inference.engine import EngineName, open_engine
from shopwindow.inference.predictor import Predictor


def colours() -> onnx.ModelProto:
    return helper.make_model(
        colour_graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )


def some_images(count: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 6, 3), np.uint8)


def unit_means(images: np.ndarray) -> np.ndarray:
    means = images.mean((1, 2))
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_embedding_is_what_the_last_layer_sees_at_unit_length(
    embedding_bundle: Path, engine: EngineName
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    predictor = Predictor(read_bundle(embedding_bundle), threads=1, engine=engine)
    images = some_images()
    found = predictor.probabilities(images, with_embedding=True)[EMBEDDING_OUTPUT]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit_means(images), atol=0.02)
    black = predictor.probabilities(images[:1] * 0, with_embedding=True)
    np.testing.assert_array_equal(black[EMBEDDING_OUTPUT], np.zeros((1, 3)))


def test_embedding_comes_on_request_only_and_changes_no_answer(
    embedding_bundle: Path, predictor: Predictor
) -> None:
    images = some_images()
    embeds = Predictor(read_bundle(embedding_bundle), threads=1)
    asked, plain = embeds.predict_images(images, embed=True), embeds.predict_images(images)
    assert asked == plain == predictor.predict_images(images)
    np.testing.assert_allclose(
        np.stack([one.embedding for one in asked if one.embedding is not None]),
        unit_means(images),
        atol=1e-5,
    )
    assert {one.embedding is None for one in plain} == {True}
    assert {one.activation is None for one in asked} == {True}
    assert list(embeds.probabilities(images)) == ["colour", "brightness"]


def test_a_bundle_without_it_gives_none(predictor: Predictor) -> None:
    (answer,) = predictor.predict_images(some_images(1), embed=True)
    assert answer.embedding is None


def mix_features(model: onnx.ModelProto) -> None:
    """Put a step behind the last layer that adds up labels."""
    softmax = next(node for node in model.graph.node if node.output[0] == "colour")
    softmax.op_type = "LpNormalization"


def use_its_name(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["colour"], [EMBEDDING_OUTPUT]))


def weigh_by_the_image(model: onnx.ModelProto) -> None:
    """Make the weights of the last layer depend on the input."""
    layer = next(node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.node.insert(
        list(model.graph.node).index(layer), helper.make_node("Mul", [layer.input[1]] * 2, ["w"])
    )
    layer.input[1] = "w"


@pytest.mark.parametrize("change", [mix_features, use_its_name, weigh_by_the_image])
def test_a_graph_without_such_a_layer_stays_as_it_is(
    change: Callable[[onnx.ModelProto], None],
) -> None:
    model = colours()
    change(model)
    before = model.SerializeToString()
    assert append_embedding(model, "colour") == 0
    assert model.SerializeToString() == before


def test_scales_casts_and_transposed_weights_are_seen_through(tmp_path: Path) -> None:
    model = colours()
    layer = next(node for node in model.graph.node if node.op_type == "Gemm")
    weight = next(one for one in model.graph.initializer if one.name == layer.input[1])
    values = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(values.T.astype(np.float16), "half"))
    layer.input[1], layer.output[0] = "whole", "hot"
    layer.attribute.append(helper.make_attribute("transB", 1))
    at = list(model.graph.node).index(layer)
    one = onnx.numpy_helper.from_array(np.float32(1), "one")
    model.graph.initializer.append(one)
    model.graph.node.insert(at + 1, helper.make_node("Div", ["hot", "one"], ["colour_logits"]))
    model.graph.node.insert(at, helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT))
    assert append_embedding(model, "colour") == 3
    onnx.checker.check_model(model)


@pytest.mark.parametrize(
    ("width", "expected"),
    [(0, "then the activation map), found"), (4, "embedding to be tensor(float) [N, 4], found")],
)
def test_another_embedding_than_the_metadata_say_is_refused(
    tmp_path: Path, width: int, expected: str
) -> None:
    model = colours()
    append_embedding(model, "colour")
    info = replace(colour_info(), embedding=width)
    path = write_colour_bundle(tmp_path / "b.onnx", graph=model.graph, info=info)
    with pytest.raises(BundleError, match="expected the output") as refused:
        read_bundle(path)
    assert expected in str(refused.value)


def test_a_bundle_whose_embedding_differs_from_its_source_is_not_written(
    tmp_path: Path, colour_bundle: Path
) -> None:
    model, images = colours(), some_images()
    info = replace(colour_info(), embedding=append_embedding(model, "colour"))

    def ask(predictor: Predictor) -> np.ndarray:
        return predictor.probabilities(images, with_embedding=True)[EMBEDDING_OUTPUT]

    def write(features: np.ndarray) -> None:
        write_verified_bundle(
            tmp_path / "b.onnx",
            [model],
            info,
            Predictor(read_bundle(colour_bundle), threads=1).probabilities(images),
            lambda predictor: predictor.probabilities(images),
            lambda draft: info,
            allowed=0.001,
            embeddings=EmbeddingCheck(features, ask),
        )

    means = images.mean((1, 2)).astype(np.float32)
    with pytest.raises(TrainingError, match="but embeddings differ by up to"):
        write(means[:, ::-1] ** 2)
    assert not list(tmp_path.iterdir())
    write(means)
    assert read_bundle(tmp_path / "b.onnx").info.embedding == 3


def test_the_benchmark_compares_with_the_same_network(embedding_bundle: Path) -> None:
    model = embedding_bundle.read_bytes()
    outputs = [
        {output.name for output in onnx.load_from_string(graph).graph.output}
        for graph in (model, without_embedding(model))
    ]
    assert outputs[0] - outputs[1] == {EMBEDDING_OUTPUT}
    with_it, without = (
        open_engine(graph, threads=1).run(some_images())
        for graph in (model, without_embedding(model))
    )
    for name, values in without.items():
        np.testing.assert_array_equal(values, with_it[name])
