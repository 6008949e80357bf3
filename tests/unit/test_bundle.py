import copy
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from colour_bundle import colour_graph, colour_info, write_colour_bundle
from shopwindow.bundle import (
    BundleInfo,
    LabelColumn,
    Threshold,
    bundled_model_path,
    read_bundle,
    reading,
)
from shopwindow.bundle.prediction_sets import PredictionSets, SetRule, SetsOfKind
from shopwindow.bundle.quality import QualityTable
from shopwindow.errors import BundleError


def test_a_bundle_is_read_with_all_it_says(colour_bundle: Path) -> None:
    read = read_bundle(colour_bundle)
    assert read.info == colour_info()
    assert read.model == colour_bundle.read_bytes()
    assert read.sha256 == hashlib.sha256(read.model).hexdigest()
    assert read.path == colour_bundle
    assert read.info.main.name == "colour"


def test_what_a_bundle_says_survives_json() -> None:
    text = json.dumps(colour_info().as_json())
    assert BundleInfo.from_json(json.loads(text)) == colour_info()


def test_any_onnx_tool_can_read_the_metadata(colour_bundle: Path) -> None:
    model = onnx.load(colour_bundle)
    onnx.checker.check_model(model, full_check=True)
    (entry,) = model.metadata_props
    assert entry.key == "shopwindow"
    assert json.loads(entry.value)["format"] == 1


def test_the_lines_in_the_documentation_read_a_bundle(
    colour_bundle: Path, repository_root: Path
) -> None:
    text = (repository_root / "docs" / "bundle.md").read_text("utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    names: dict[str, Any] = {}
    exec("\n".join(lines).replace("fashion.onnx", str(colour_bundle)), names)  # noqa: S102
    assert names["probabilities"].shape == (1, 5)


def test_showing_a_bundle_does_not_print_the_model(colour_bundle: Path) -> None:
    assert len(repr(read_bundle(colour_bundle))) < 3000


def test_the_bundled_model_lies_in_the_package() -> None:
    assert bundled_model_path().parts[-3:] == ("shopwindow", "models", "fashion.onnx")


def refused(path: Path) -> str:
    """Read a bundle that must be refused, and return the one sentence that says why."""
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: expected an ONNX bundle"),
        (b"just text", "is not an ONNX model"),
        (os.urandom(5000), "is not an ONNX model"),
        (pickle.dumps({"weights": [1]}), "is a PyTorch or pickle file, which shopwindow never"),
        (b"PK\x03\x04 as torch.save writes it", "is a PyTorch or pickle file"),
    ],
    ids=["empty", "text", "noise", "pickle", "pth"],
)
def test_a_file_that_is_no_onnx_model_is_refused(
    tmp_path: Path, content: bytes, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert reason in refused(path)
    assert capfd.readouterr() == ("", "")


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "missing.onnx")
    assert "it is a folder" in refused(tmp_path)


def test_a_truncated_bundle_is_refused(tmp_path: Path, colour_bundle: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(colour_bundle.read_bytes()[:700])
    assert "is not an ONNX model" in refused(path)


def test_a_file_over_the_limit_is_refused(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BUNDLE_BYTES", 1000)
    assert "too large: expected at most" in refused(colour_bundle)


def test_an_onnx_model_from_elsewhere_is_named_as_such(tmp_path: Path) -> None:
    path = write_colour_bundle(tmp_path / "plain.onnx", metadata=None)
    assert "is an ONNX model, but not a shopwindow bundle" in refused(path)


def test_weights_in_other_files_are_refused(tmp_path: Path, colour_bundle: Path) -> None:
    """They could name any file of this machine."""
    model = onnx.load(colour_bundle)
    path = tmp_path / "external.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert "keeps weights in other files" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_metadata_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    path = write_colour_bundle(tmp_path / "bundle.onnx", metadata=text or " ")
    assert "metadata" in refused(path)


def test_numbers_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    """Python writes them; no browser and no other language could read them back."""
    data = colour_info().as_json() | {"quality": {"accuracy": float("nan")}}
    path = write_colour_bundle(tmp_path / "bundle.onnx", metadata=json.dumps(data))
    assert "NaN is not a JSON number" in refused(path)


def test_endless_metadata_are_refused_unparsed(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_METADATA_CHARS", 100)
    assert "too long: expected at most 100 characters" in refused(colour_bundle)


def test_a_newer_format_says_to_upgrade(tmp_path: Path) -> None:
    newer = json.dumps({"format": 2, "whatever": "comes"})
    path = write_colour_bundle(tmp_path / "newer.onnx", metadata=newer)
    assert "made by a newer shopwindow (bundle format 2" in refused(path)


Change = Callable[[dict[str, Any]], object]


Damage = Callable[[dict[str, Any]], object]


def with_sets(damage: Damage) -> Damage:
    """Add prediction sets to metadata, and damage those."""
    rule = SetRule(0.1, 100, 0.95, 1.5)

    def change(data: dict[str, Any]) -> None:
        data["prediction_sets"] = PredictionSets(0.95, (SetsOfKind("a", None, rule),)).as_json()
        damage(data["prediction_sets"])

    return change


def with_rule(**wrong: object) -> Damage:
    return with_sets(lambda sets: sets["kinds"][0]["not_sure"].update(wrong))


def test_prediction_sets_are_read_as_they_were_written(tmp_path: Path) -> None:
    rules = SetRule(0.1, 100, 0.95, 1.5), SetRule(0.02, 30, None, None)
    for kind in (SetsOfKind("a", *rules), SetsOfKind("a", None, rules[0])):
        info = replace(colour_info(), prediction_sets=PredictionSets(0.9, (kind,)))
        assert read_bundle(write_colour_bundle(tmp_path / "sets.onnx", info=info)).info == info


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.pop("columns"), "lack the key 'columns'"),
        (lambda data: data.pop("threshold"), "lack the key 'threshold'"),
        (lambda data: data.update(format="1"), "format: expected 1, found '1'"),
        (lambda data: data.update(format=True), "format: expected 1, found True"),
        (lambda data: data.update(name=""), "name: expected a non-empty string"),
        (lambda data: data.update(version=1), "version: expected a non-empty string, found 1"),
        (lambda data: data.update(created="yesterday"), "created: expected an ISO 8601"),
        (lambda data: data.update(columns=[]), "columns: expected at least one"),
        (lambda data: data.update(columns=data["columns"][:1] * 2), "columns: expected each name"),
        (lambda data: data.update(quality=[]), "quality: expected a JSON object, found 'list'"),
        (lambda data: data["columns"][0].update(labels="red"), "expected a list of labels"),
        (lambda data: data["columns"][0].update(labels=[]), "expected 1 to 100,000 labels"),
        (lambda data: data["columns"][0].update(labels=["a", "a"]), "expected each label once"),
        (lambda data: data["columns"][0].update(labels=[1, 2]), "expected non-empty strings"),
        (lambda data: data["threshold"].update(coverage=1.5), "threshold.coverage: expected a"),
        (lambda data: data["resize"].update(height_px=0), "height_px: expected a whole number"),
        (lambda data: data["resize"].update(method="stretch"), "method: expected squish"),
        (lambda data: data.update(resize="pad"), "resize rule: expected"),
        (lambda data: data.update(embedding=-1), "embedding: expected a number from 0 to 65,536"),
        (lambda data: data.update(embedding=True), "embedding: expected a number from 0 to"),
        (lambda data: data.update(activation_map=1), "activation_map: expected true or false"),
        (with_sets(lambda sets: sets.update(level=1)), "level: expected a number between 0 and 1"),
        (with_sets(lambda sets: sets.update(kinds=[])), "kinds: expected 1 to 64, found 0"),
        (with_sets(lambda sets: sets.update(kinds=3)), "metadata are wrong"),
        (with_sets(lambda sets: sets.pop("level")), "lack the key 'level'"),
        (with_rule(least=1.2), "least: expected 0 to 1, found 1.2"),
        (with_rule(least=None), "least: expected 0 to 1, found None"),
        (with_rule(images=0), "images: expected above 0"),
        (with_rule(held="all"), "held: expected 0 to 1"),
        (with_rule(mean_size=0.5), "mean_size: expected 1 or more"),
        (
            with_sets(lambda sets: sets["kinds"].append(sets["kinds"][0])),
            "then the activation map, then the kinds of photo",
        ),
        (
            lambda data: data["columns"][1].update(name="activation_map"),
            "columns: expected no column 'activation_map'",
        ),
        (lambda data: data["quality"].update(labels={}), "labels: expected a list of objects"),
        (
            lambda data: data["quality"]["reliability"][0].update(accuracy=2),
            "reliability.accuracy: expected 0 to 1, found 2",
        ),
        (
            lambda data: data["quality"]["reliability"][0].pop("to"),
            "reliability: expected the keys ['accuracy', 'from', 'images', 'to'], found",
        ),
        (
            lambda data: data["quality"]["labels"][0].pop("recall"),
            "labels: expected the keys ['images', 'label', 'precision', 'recall']",
        ),
    ],
)
def test_metadata_with_a_wrong_value_are_refused_naming_it(
    tmp_path: Path, change: Change, reason: str
) -> None:
    data = copy.deepcopy(colour_info().as_json())
    change(data)
    path = write_colour_bundle(tmp_path / "bundle.onnx", metadata=json.dumps(data))
    assert reason in refused(path)


def graph_with(change: Callable[[onnx.GraphProto], object]) -> onnx.GraphProto:
    graph = colour_graph()
    change(graph)
    return graph


def rename_input(graph: onnx.GraphProto) -> None:
    graph.input[0].name = graph.node[0].input[0] = "pixels"


def fix_the_batch(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def take_floats(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def swap_outputs(graph: onnx.GraphProto) -> None:
    first, second = graph.output[0], graph.output[1]
    swapped = [copy.deepcopy(second), copy.deepcopy(first)]
    del graph.output[:2]
    graph.output.extend(swapped)


def keep_the_map_to_itself(graph: onnx.GraphProto) -> None:
    del graph.output[2]


def map_without_a_batch(graph: onnx.GraphProto) -> None:
    graph.output[2].type.tensor_type.shape.dim[0].dim_value = 1


def drop_an_output(graph: onnx.GraphProto) -> None:
    del graph.output[1]


def answer_in_doubles(graph: onnx.GraphProto) -> None:
    graph.node[-1].output[0] = "single"
    graph.node.append(helper.make_node("Cast", ["single"], ["brightness"], to=TensorProto.DOUBLE))
    graph.output[1].type.tensor_type.elem_type = TensorProto.DOUBLE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (rename_input, "expected one input images: tensor(uint8) [N, 8, 6, 3], found pixels"),
        (fix_the_batch, "[1, 8, 6, 3]"),
        (take_floats, "found images: tensor(float)"),
        (swap_outputs, "expected the outputs ['colour', 'brightness', 'activation_map']"),
        (drop_an_output, "found ['colour', 'activation_map']"),
        (keep_the_map_to_itself, "(the label columns, then the activation map), found"),
        (map_without_a_batch, "activation_map to be tensor(float) [N, rows, columns], found"),
        (answer_in_doubles, "brightness to be tensor(float) [N, 2], one per label, found tensor(d"),
    ],
)
def test_a_graph_that_does_not_fit_the_metadata_is_refused(
    tmp_path: Path, change: Callable[[onnx.GraphProto], object], reason: str
) -> None:
    path = write_colour_bundle(tmp_path / "bundle.onnx", graph=graph_with(change))
    assert reason in refused(path)


def test_another_number_of_labels_than_outputs_is_refused(tmp_path: Path) -> None:
    data = colour_info().as_json() | {"families": []}
    data["columns"][0]["labels"].append("purple")
    path = write_colour_bundle(tmp_path / "bundle.onnx", metadata=json.dumps(data))
    assert "tensor(float) [N, 6], one per label, found tensor(float) ['N', 5]" in refused(path)


def test_another_size_than_the_input_is_refused(tmp_path: Path) -> None:
    data = colour_info().as_json()
    data["resize"]["width_px"] = 8
    path = write_colour_bundle(tmp_path / "bundle.onnx", metadata=json.dumps(data))
    assert "[N, 8, 8, 3], found images: tensor(uint8) ['N', 8, 6, 3]" in refused(path)


def test_a_bundle_without_a_map_and_details_is_read_as_before(tmp_path: Path) -> None:
    data = colour_info().as_json()
    del data["activation_map"], data["embedding"], data["prediction_sets"]
    for name in ("reliability", "labels", "confusions"):
        del data["quality"][name]
    graph = graph_with(keep_the_map_to_itself)
    path = write_colour_bundle(tmp_path / "old.onnx", metadata=json.dumps(data), graph=graph)
    info = read_bundle(path).info
    assert not info.activation_map
    assert info.embedding == 0
    assert info.prediction_sets is None
    assert info.quality_table == QualityTable()


@pytest.mark.parametrize(
    ("confidence", "accuracy"), [(0.0, 0.54), (0.8, 0.92), (0.989, 0.92), (0.99, 1.0), (1.0, 1.0)]
)
def test_answers_of_like_confidence_are_found(confidence: float, accuracy: float) -> None:
    like = colour_info().quality_table.bin_for(confidence)
    assert like is not None
    assert like.accuracy == accuracy


def test_a_label_column_checks_itself() -> None:
    with pytest.raises(BundleError, match="each label once, found"):
        LabelColumn("colour", ("red", "red"))


@pytest.mark.parametrize(
    ("coverage", "confidence", "sure"), [(0.5, 0.8, True), (0.5, 0.79, False), (0.0, 1.0, False)]
)
def test_sure_begins_at_the_threshold_unless_nothing_is(
    coverage: float, confidence: float, sure: bool
) -> None:
    assert Threshold(0.8, 0.95, coverage).is_sure(confidence) is sure


@pytest.mark.parametrize("value", [10**400, -1, 1.5, float("nan"), float("inf"), True, "0.5", None])
def test_a_threshold_that_is_no_share_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(
        BundleError, match=r"threshold\.min_confidence: expected a number from 0 to 1"
    ):
        Threshold(value, 0.95, 0.8)


def test_families_survive_the_file_and_name_one_for_each_label() -> None:
    info = colour_info()
    assert BundleInfo.from_json(json.loads(json.dumps(info.as_json()))).families == info.families
    with pytest.raises(BundleError, match=r"families\.kind: expected one family for each of the 5"):
        replace(info, families=(replace(info.families[0], of=("hue",)),))


def test_a_bundle_from_before_families_has_none() -> None:
    old = colour_info().as_json()
    del old["families"]
    assert BundleInfo.from_json(old).families == ()
