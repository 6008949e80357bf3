"""Bundles in 8 bits: what `export --int8` makes, proves and refuses."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from elsewhere import run
from onnx import numpy_helper

from shopwindow.bundle import ACTIVATION_OUTPUT, Threshold, arithmetic_of, read_bundle
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.bundle.writing import with_info
from shopwindow.calibration.calibrated_graph import with_temperatures
from shopwindow.calibration.temperature import fit_temperature
from shopwindow.data.dataset import Dataset
from shopwindow.data.split import Split
from shopwindow.errors import TrainingError, UsageError
from shopwindow.inference.engine import open_engine
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.mix import ExtraDataset, LoadedExtra, combine
from shopwindow.runs.training_data import open_dataset
from shopwindow.training.export import Servable
from shopwindow.training.int8 import quantise_bundle, quantise_run, to_int8
from shopwindow.training.linear_head import fit_linear_head
from shopwindow.training.network import Classifier, build_classifier
from shopwindow.training.to_onnx import to_onnx
from shopwindow.training.warm_start import load_bundle_weights

SIZE_PX = (64, 64)


def lite_network(dataset: Dataset, weights: str = "none") -> Classifier:
    """The network that `finetune` starts from."""
    sizes = [len(labels) for labels in dataset.vocabularies.values()]
    return build_classifier("tf_efficientnet_lite0", sizes, size_px=SIZE_PX, weights=weights)[0]


@pytest.fixture(scope="module")
def dataset(shapes_options: TrainingOptions) -> Dataset:
    return open_dataset(Run(shapes_options.run_dir, shapes_options), SIZE_PX)


@pytest.fixture(scope="module")
def learned(
    shapes_run: Path,
    shapes_options: TrainingOptions,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """The run on the shapes, with the bundle of a network whose answers are no near ties."""
    run_folder = tmp_path_factory.mktemp("learned") / "run"
    shutil.copytree(shapes_run, run_folder)
    bundle = read_bundle(shapes_run / "model.onnx")
    split = Split.read(run_folder / "split.json", dataset)
    model = lite_network(dataset, "imagenet")
    fit_linear_head(model, combine(dataset, split))
    outputs = [*dataset.label_columns, ACTIVATION_OUTPUT]
    graph = to_onnx(Servable(model.eval(), [1.0, 1.0], mapped=True), dataset.rule, outputs)
    info = replace(bundle.info, embedding=append_embedding(graph, dataset.label_columns[0]))
    (run_folder / "model.onnx").write_bytes(with_info(graph, info))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPWINDOW_CACHE_DIR", str(shapes_options.cache_dir))
        yield run_folder


@pytest.fixture(scope="module")
def quantised(learned: Path) -> Path:
    return quantise_run(learned)


@pytest.fixture(scope="module")
def images(dataset: Dataset) -> np.ndarray:
    """The drawings, turned over, moved and with grain: 360 that differ, (360, 64, 64, 3) uint8."""
    drawings = dataset.images(np.arange(90))
    grain = np.random.default_rng(0).integers(-12, 13, drawings.shape)
    grainy = np.clip(drawings + grain, 0, 255).astype(np.uint8)
    return np.concatenate(
        [drawings, drawings[:, :, ::-1], np.roll(drawings, 2, axis=1), grainy[:, ::-1]]
    )


def test_int8_bundle_is_one_small_file_with_the_same_outputs(
    learned: Path, quantised: Path, images: np.ndarray
) -> None:
    assert quantised == learned / "model-int8.onnx"
    before, after = read_bundle(learned / "model.onnx"), read_bundle(quantised)
    assert (arithmetic_of(before.model), arithmetic_of(after.model)) == ("float32", "int8")
    assert len(after.model) < 0.4 * len(before.model), "8 bits instead of 32"
    assert after.info.columns == before.info.columns
    assert after.info.rule == before.info.rule
    assert re.fullmatch(re.escape(before.info.version) + r"\+int8\.\d{8}", after.info.version)
    expected, found = (
        Predictor(one, engine="onnxruntime").probabilities(
            images, with_activation=True, with_embedding=True
        )
        for one in (before, after)
    )
    assert {n: r.shape for n, r in found.items()} == {n: r.shape for n, r in expected.items()}
    for column in ("shape", "colour"):
        assert (found[column].argmax(1) == expected[column].argmax(1)).mean() >= 0.97
    maps = (found["activation_map"].ravel(), expected["activation_map"].ravel())
    assert np.corrcoef(*maps)[0, 1] > 0.95
    cosines = (found["embedding"] * expected["embedding"]).sum(axis=1)
    assert cosines.min() > 0.95


def test_both_engines_give_the_same_first_answer(quantised: Path, images: np.ndarray) -> None:
    """On any processor: the settings that most people take fail this where there is no VNNI."""
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    model = quantised.read_bytes()
    one, other = (
        open_engine(model, threads=1, name=name).run(images)["shape"].argmax(1)
        for name in ("onnxruntime", "openvino")
    )
    assert np.bincount(one, minlength=3).min() >= 36, "answers that differ, so that they can differ"
    assert (one == other).mean() >= 0.97


def test_card_tells_how_right_it_was_in_float_and_is_in_8_bits(
    learned: Path, quantised: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = read_bundle(quantised).info
    told = info.training["quantised"]
    before = read_bundle(learned / "model.onnx")
    assert told["from_sha256"] == before.sha256
    assert told["from_accuracy"] >= 0.9
    assert told["accuracy"]["onnxruntime"] == info.quality["accuracy"]
    if importlib.util.find_spec("openvino"):
        assert told["accuracy"]["openvino"] >= told["from_accuracy"] - 0.003
    assert told["images"] == info.data["train"] == 72
    assert told["percentile"] == 99.99
    assert run("card", quantised) == 0
    assert re.search(r"^ *computes +int8$", capsys.readouterr().out, re.MULTILINE)


def write_off_bundle(source: Path, out: Path) -> Path:
    """Write a bundle in float that is far too modest, and yet calls everything sure."""
    bundle = read_bundle(source)
    graph = with_temperatures(
        onnx.load_model_from_string(bundle.model), {"shape": 6.0, "colour": 6.0}
    )
    out.write_bytes(with_info(graph, replace(bundle.info, threshold=Threshold(0.1, 1.0, 1.0))))
    return out


def test_confidences_and_threshold_are_fitted_to_the_8_bit_answers(
    learned: Path, dataset: Dataset, shapes: Path, tmp_path: Path
) -> None:
    off = write_off_bundle(learned / "model.onnx", tmp_path / "off.onnx")
    anew = quantise_bundle(off, shapes, [], tmp_path / "anew.onnx")
    valid = Split.read(learned / "split.json", dataset).valid
    for column in ("shape", "colour"):
        known = valid[dataset.codes[column][valid] >= 0]
        temperatures = [
            fit_temperature(
                np.log(
                    load_predictor(path, engine="onnxruntime").probabilities(dataset.images(known))[
                        column
                    ]
                ),
                dataset.codes[column][known],
            )
            for path in (off, anew)
        ]
        off_by, anew_by = np.abs(np.log(temperatures))
        assert off_by > 0.3
        # Not all the way: where all of a few images are right, a prior holds back.
        assert anew_by < 0.6 * off_by
    assert read_bundle(anew).info.threshold.coverage == 0, "18 images promise nothing"


def write_outlier_bundle(source: Path, out: Path) -> Path:
    """Write a bundle of the same function, some of whose channels are 1024 times as large.

    What a convolution makes larger, the next makes smaller again. In float nothing changes; in 8
    bits, the range of a whole layer follows its largest channel, and the others are rounded away.
    """
    bundle = read_bundle(source)
    graph = onnx.load_model_from_string(bundle.model)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}

    def scale(name: str, factor: float, index: tuple[slice, ...]) -> None:
        values = numpy_helper.to_array(tensors[name]).copy()
        values[index] *= factor
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))

    some = slice(0, 4)
    # Where nothing but a sum lies between two convolutions.
    for before, after in (("0.0.conv_pw", "1.0.conv_pw"), ("6.0.conv_pwl", None)):
        prefix = "model.net.0.model"
        scale(f"{prefix}.blocks.{before}.weight", 1024, (some,))
        scale(f"{prefix}.blocks.{before}.weight_bias", 1024, (some,))
        name = f"{prefix}.blocks.{after}.weight" if after else f"{prefix}.conv_head.weight"
        scale(name, 1 / 1024, (slice(None), some))
    out.write_bytes(with_info(graph, bundle.info))
    return out


def test_network_that_8_bits_cost_too_much_is_refused_with_the_figures(
    learned: Path, shapes: Path, images: np.ndarray, tmp_path: Path
) -> None:
    source = write_outlier_bundle(learned / "model.onnx", tmp_path / "outliers.onnx")
    shares = [
        load_predictor(path, engine="onnxruntime").probabilities(images)["shape"]
        for path in (learned / "model.onnx", source)
    ]
    np.testing.assert_allclose(*shares, atol=0.05)
    words = (
        r"expected 8 bits to lose 0\.3 points at most, but of 18 validation images [\d.]+ % are "
        r"right in float and [\d.]+ % in 8 bits"
    )
    with pytest.raises(TrainingError, match=words):
        quantise_bundle(source, shapes, [], tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == [source]


def test_calibration_draws_from_training_images_alone_and_always_the_same(
    learned: Path, dataset: Dataset, shapes: Path
) -> None:
    split = Split.read(learned / "split.json", dataset)
    extra = LoadedExtra(ExtraDataset(shapes, 0.25), dataset, split)
    mix = combine(dataset, split, [extra])
    drawn = mix.training_images(40)
    assert len(drawn) == 40
    assert np.array_equal(drawn, mix.training_images(40))
    learned_from = {image.tobytes() for image in dataset.images(split.train)}
    assert {image.tobytes() for image in drawn} <= learned_from
    held_out = {image.tobytes() for image in dataset.images(split.valid)}
    assert learned_from.isdisjoint(held_out)


def test_data_sets_count_by_their_shares_in_eight_bits_too(
    learned: Path, dataset: Dataset, shapes: Path
) -> None:
    split = Split.read(learned / "split.json", dataset)
    mix = combine(dataset, split, [LoadedExtra(ExtraDataset(shapes, 0.25), dataset, split)])
    found = mix.validation_sets("shapes", lambda dataset, indices: {})
    assert [part.weight for part in found] == [0.75, 0.25]


def test_data_that_the_bundle_was_not_trained_on_are_refused(
    learned: Path, shapes: Path, tmp_path: Path
) -> None:
    rows = (shapes / "shapes.csv").read_text().splitlines()
    (tmp_path / "shapes.csv").write_text("\n".join(rows[:-9]))
    for row in rows[1:]:
        name = row.split(",")[0]
        (tmp_path / name).write_bytes((shapes / name).read_bytes())
    with pytest.raises(UsageError, match=r"expected the data that shapes .* was trained on"):
        quantise_bundle(learned / "model.onnx", tmp_path, [], tmp_path / "out.onnx")


def test_bundle_that_does_not_tell_what_it_has_not_seen_is_refused(
    learned: Path, shapes: Path, tmp_path: Path
) -> None:
    bundle, source = read_bundle(learned / "model.onnx"), tmp_path / "imported.onnx"
    graph = onnx.load_model_from_string(bundle.model)
    source.write_bytes(with_info(graph, replace(bundle.info, data={})))
    with pytest.raises(UsageError, match="expected a bundle that shopwindow train made"):
        quantise_bundle(source, shapes, [], tmp_path / "out.onnx")


def test_further_data_set_that_the_bundle_does_not_know_is_refused(
    learned: Path, shapes: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more.toml"
    more.write_text(
        f'data = "{shapes}"\nlabels = "shapes.csv"\nimage_column = "file"\n'
        'label_column = "shape"\nshare = 0.25\n'
    )
    with pytest.raises(UsageError, match=r"--with .* expected a further data set that shapes"):
        quantise_bundle(learned / "model.onnx", shapes, [more], tmp_path / "out.onnx")


def test_bundle_in_8_bits_is_not_quantised_again(
    quantised: Path, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="expected a bundle in float, found one that is in 8 bits"):
        quantise_bundle(quantised, shapes, [], tmp_path / "out.onnx")


def test_network_without_convolutions_is_refused(colour_bundle: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3), np.uint8)
    with pytest.raises(TrainingError, match="expected a network of convolutions"):
        to_int8(onnx.load(colour_bundle), noise)


def ranges_of(graph: onnx.ModelProto) -> dict[str, float]:
    """Return the step of each activation that is in 8 bits, by its name."""
    values = {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}
    return {
        node.input[0]: float(values[node.input[1]])
        for node in graph.graph.node
        if node.op_type == "QuantizeLinear" and values[node.input[1]].ndim == 0
    }


def test_one_pixel_of_very_many_does_not_widen_a_range() -> None:
    """Two convolutions that pass on what they get: activations are the pixels themselves."""
    same = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> passing (uint8[N, 16, 16, 3] images) '
        "=> (float[N, 3, 16, 16] out) { pixels = Cast <to = 1> (images) "
        "planes = Transpose <perm = [0, 3, 1, 2]> (pixels) first = Conv (planes, one) "
        "middle = Relu (first) second = Conv (middle, two) out = Relu (second) }"
    )
    graph.graph.initializer.extend([numpy_helper.from_array(same, name) for name in ("one", "two")])
    for node in graph.graph.node:
        node.name = node.output[0]
    images = np.random.default_rng(0).integers(0, 101, (64, 16, 16, 3), np.uint8)
    images[7, 5, 5] = 255  # three of 49,152 values, which is less than one in ten thousand
    steps = ranges_of(to_int8(graph, images))
    assert steps["middle"] == pytest.approx(100 / 255, rel=0.05)


def test_the_first_and_the_depthwise_convolutions_stay_in_float(quantised: Path) -> None:
    graph = onnx.load(quantised).graph
    made_by = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    kinds = {name: node.op_type for name, node in made_by.items()}
    in_float = [n for n in convolutions if kinds.get(n.input[1]) != "DequantizeLinear"]
    groups = [{a.name: a.i for a in node.attribute}.get("group", 1) for node in in_float]
    assert len(convolutions) == 49
    assert in_float[:8] == convolutions[:8]
    assert min(groups[8:]) > 1
    assert groups.count(1) == 5, "of the first eight; all others are in 8 bits"
    assert len(in_float) == 5 + 16


def test_any_number_of_images_will_do_and_nothing_is_printed(
    learned: Path, images: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = onnx.load(learned / "model.onnx")
    few = [ranges_of(to_int8(graph, images[:count])) for count in (5, 16, 37)]
    assert few[0].keys() == few[1].keys() == few[2].keys()
    assert ranges_of(to_int8(graph, images[:32])) == few[2], "16 at a time, the rest is left"
    assert capfd.readouterr().out == ""


@torch.no_grad()
def test_training_starts_from_8_bit_weights_too(
    quantised: Path, dataset: Dataset, images: np.ndarray
) -> None:
    model = lite_network(dataset)
    load_bundle_weights(model, quantised, dataset.vocabularies, SIZE_PX)
    logits = model.eval()(torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255)
    served = load_predictor(quantised, engine="onnxruntime").probabilities(images)["shape"]
    assert (logits[:, :3].argmax(1).numpy() == served.argmax(1)).mean() >= 0.97
