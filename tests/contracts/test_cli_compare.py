"""`compare`: the verdict on the terminal, the figures in a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Run, assert_one_line

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle import LabelColumn


def write_swapped(path: Path) -> Path:
    """A bundle that takes red for blue and blue for red."""
    info = colour_info()
    columns = (LabelColumn("colour", ("blue", "green", "red", "black", "white")), info.columns[1])
    metadata = json.dumps(replace(info, columns=columns).as_json())
    return write_colour_bundle(path, metadata=metadata)


def test_compare_names_the_better_model_and_writes_all_figures(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    swapped = write_swapped(tmp_path / "swapped.onnx")
    completed = run_shopwindow(
        "compare", swapped, colour_bundle, colour_photos, "--out", "comparison.json"
    )
    assert completed.returncode == 0, completed.stderr
    assert "B is better, by 100.00 points." in completed.stdout
    assert "40 images with 2 labels that both know, of all 40 images" in completed.stdout
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["overall"]["better"] == "b"
    assert found["overall"]["only_b_right"] == 40
    assert [one["label"] for one in found["per_class"]] == ["blue", "red"]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_compare_asks_with_the_engine_of_the_settings(
    engine: str, run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    command = ("compare", colour_bundle, colour_bundle, colour_photos, "--out", "found.json")
    completed = run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": engine})
    assert completed.returncode == 0, completed.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["a"]["engine"] == found["b"]["engine"]
    assert found["a"]["engine"].split()[0] == engine
    assert f"\nwith {found['a']['engine']}\n" in completed.stdout
    said = assert_one_line(run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": "abacus"}), 2)
    assert said.startswith("engine: expected one of auto, onnxruntime, openvino")


def test_validation_part_of_strange_data_is_refused(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path
) -> None:
    completed = run_shopwindow(
        "compare", colour_bundle, colour_bundle, colour_photos, "--part", "valid"
    )
    assert "--part valid: expected images that were held out" in assert_one_line(completed, 2)
