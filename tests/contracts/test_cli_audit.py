"""audit on small folders of labels, without the training stack, and what train makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run, assert_one_line
from PIL import Image

from shopwindow.bundle import read_bundle

NAMES = ("backpack", "sneaker", "tie", "watch")


@pytest.fixture
def garments(tmp_path: Path, repository_root: Path) -> Path:
    """Ten views of each of four example photos; one watch lies among the ties."""
    folder = tmp_path / "garments"
    examples = repository_root / "src" / "shopwindow" / "models" / "examples" / "fashion"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        with Image.open(examples / f"{name}.webp") as opened:
            photo = opened.convert("RGB")
        width, height = photo.size
        for number in range(10):
            left, top = number * width // 40, (9 - number) * height // 40
            view = photo.crop((left, top, left + 3 * width // 4, top + 3 * height // 4))
            view.resize((96, 96)).save(folder / name / f"{number}.png")
    (folder / "watch" / "0.png").rename(folder / "tie" / "was-watch.png")
    return folder


def test_audit_finds_a_photo_in_the_wrong_folder_first(
    run_shopwindow: Run, garments: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow("audit", garments)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith("40 images with 4 labels in label\n")
    assert "\n  tie/was-watch.png (tie): watch?\n" in completed.stdout
    assert completed.stdout.endswith("\nPage: audit.html\n")
    # Nothing is held out of so few images, so nothing lies on two sides.
    assert "both sides of the split" not in completed.stdout
    assert "was-watch.png" in (tmp_path / "audit.html").read_text("utf-8")


def test_audit_of_a_single_label_says_what_to_do(run_shopwindow: Run, colour_photos: Path) -> None:
    for image in (colour_photos / "blue").iterdir():
        image.unlink()
    said = assert_one_line(run_shopwindow("audit", colour_photos), 1)
    assert "expected at least two labels to tell apart, found 1" in said


def test_training_is_corrected_and_its_bundle_is_graded_by_the_same_labels(
    run_shopwindow: Run, garments: Path, tmp_path: Path
) -> None:
    table = tmp_path / "decisions.csv"
    table.write_text(
        "image,decision,label\ntie/was-watch.png,relabel,watch\nbackpack/3.png,drop,\n", "utf-8"
    )
    trained = run_shopwindow("train", garments, "--corrections", table, "--out", "run")
    assert trained.returncode == 0, trained.stderr
    assert "1 label corrected, 1 image left out\n" in trained.stdout
    run = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert sorted(map(str, run["facts"]["label_corrections"].values())) == ["None", "watch"]
    bundle = read_bundle(tmp_path / "run" / "model.onnx")
    assert bundle.info.data["images"] == 39
    assert "was-watch" not in json.dumps(bundle.info.data)

    graded = run_shopwindow("evaluate", tmp_path / "run" / "model.onnx", garments)
    assert graded.returncode == 0, graded.stderr
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text("utf-8"))
    assert report["images"] == 39
    assert "1 label corrected, 1 image left out" in report["notes"]

    table.unlink()
    resumed = run_shopwindow("train", "--resume", "--out", "run")
    assert resumed.returncode == 0, resumed.stderr
    said = assert_one_line(
        run_shopwindow("train", garments, "--start-from", "run/model.onnx", "--out", "later"), 2
    )
    assert "expected --corrections, since it was trained with corrected labels" in said


def test_table_about_other_data_is_refused(
    run_shopwindow: Run, colour_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "decisions.csv").write_text("image,decision,label\nx.png,drop,\n", "utf-8")
    completed = run_shopwindow("train", colour_photos, "--corrections", "decisions.csv")
    assert "found 1 that it lacks: x.png" in assert_one_line(completed, 1)
