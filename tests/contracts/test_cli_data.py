"""inspect and evaluate on a folder of labels, where no training stack is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run, assert_one_line


def test_inspect_prints_a_summary_and_writes_the_page(
    run_shopwindow: Run, colour_photos: Path, tmp_path: Path
) -> None:
    (colour_photos / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    completed = run_shopwindow("inspect", colour_photos, "--out", "page.html")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.startswith("40 images with 2 labels in label, 192 x 192 px\n")
    assert "1 row or file left out" in completed.stdout
    assert completed.stdout.endswith("\nPage: page.html\n")
    assert "broken.png" in (tmp_path / "page.html").read_text()


def test_inspect_reads_what_its_options_say(run_shopwindow: Run, colour_photos: Path) -> None:
    (colour_photos / "red" / "table.csv").write_text(
        "picture,kind,size\n00.png,a,s\n01.png,a,m\n02.png,b,s\n"
    )
    completed = run_shopwindow(
        *("inspect", colour_photos / "red", "--labels", "table.csv", "--image-column", "picture"),
        *("--label-column", "kind", "--also", "size", "--min-images", "2", "--size", "20x30"),
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith("2 images by picture with 1 label in kind, 30 x 20 px\n")
    assert "size" in completed.stdout


def test_evaluate_grades_a_bundle_on_other_data(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("evaluate", colour_bundle, colour_photos, "--report", "graded")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "colours 1.0: colour of 40 images" in completed.stdout
    assert "note: not the whole data that the model was trained on" in completed.stdout
    figures = json.loads((tmp_path / "graded" / "report.json").read_text())
    assert figures["grades"]["accuracy"] == pytest.approx(1.0)
    assert (tmp_path / "graded" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_evaluate_says_which_engine_answered_and_takes_the_one_of_the_settings(
    engine: str, run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    completed = run_shopwindow(
        "evaluate", colour_bundle, colour_photos, env={"SHOPWINDOW_ENGINE": engine}
    )
    assert (completed.returncode, completed.stderr) == (0, "")
    assert f" s with {engine} " in completed.stdout
    figures = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    assert figures["engine"].split()[0] == engine
    assert f" s with {figures['engine']}<" in (tmp_path / "evaluation" / "report.html").read_text()


def test_evaluate_refuses_an_engine_that_there_is_not_before_it_reads(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    said = assert_one_line(
        run_shopwindow(
            "evaluate", colour_bundle, colour_photos, env={"SHOPWINDOW_ENGINE": "abacus"}
        ),
        2,
    )
    assert said.startswith("engine: expected one of auto, onnxruntime, openvino")
    assert not (tmp_path / "cache" / "shopwindow").exists()


def test_evaluate_cannot_find_a_validation_part_in_other_data(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("evaluate", colour_bundle, colour_photos, "--part", "valid")
    assert "--part valid" in assert_one_line(completed, 2)
    assert not (tmp_path / "evaluation").exists()


def test_unknown_data_set_is_refused_with_the_names_there_are(run_shopwindow: Run) -> None:
    said = assert_one_line(run_shopwindow("download", "cats"), 2)
    assert "fashion-product-images-small" in said
