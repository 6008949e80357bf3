"""train, evaluate, export and resume as commands, on one small training."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import Completed, Run, assert_one_line, call_main
from PIL import Image

from shopwindow.bundle import read_bundle
from shopwindow.errors import UsageError
from shopwindow.runs import TrainingOptions
from shopwindow.runs.training_options import read_card

OPTIONS = (
    "--labels table.csv --image-column file --label-column kind --also shade --min-images 5 "
    "--recipe finetune --arch test_efficientnet --weights none --epochs 1 --size 32x36 "
    "--batch-size 8 --seed 3 --split random --lr 0.01 "
    "--name kinds --card card.toml --out run --family shade --label-map map.json "
    "--group-column sender --bars any --with more.toml --balance 0.5"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    """A folder with `data`, a finished run in `run`, and what training it said."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    (folder / "more").mkdir()
    rows = ["file,kind,shade,sender"]
    more = ["file,kind"]
    for number in range(60):
        kind, colour = (("crimson", (220, 30, 30)), ("blue", (30, 30, 220)))[number % 2]
        image = Image.new("RGB", (18, 16), colour)
        image.paste((255, 255, 255), (number % 9, number % 7, number % 9 + 3, number % 7 + 5))
        if number >= 40:
            image.save(folder / "more" / f"{number:02}.png")
            more.append(f"{number:02}.png,{'red' if kind == 'crimson' else kind}")
            continue
        image.save(folder / "data" / f"{number:02}.png")
        kind = "junk" if number >= 36 else kind  # which the label map leaves out
        rows.append(f"{number:02}.png,{kind},{('plain', 'deep', '')[number % 3]},{number // 2}")
    (folder / "data" / "table.csv").write_text("\n".join(rows))
    (folder / "more" / "table.csv").write_text("\n".join(more))
    (folder / "card.toml").write_text('title = "Kinds"\n')
    (folder / "map.json").write_text('{"crimson": ["red"], "blue": ["blue"], "junk": null}')
    text = 'data = "more/table.csv"\nimage_column = "file"\nlabel_column = "kind"\nshare = 0.125\n'
    (folder / "more.toml").write_text(text)
    return folder, call_main(folder, "train", "data", *OPTIONS.split())


def read_options(folder: Path) -> dict[str, Any]:
    options: dict[str, Any] = json.loads((folder / "run" / "run.json").read_text())["options"]
    return options


def test_every_option_reaches_the_run(trained: tuple[Path, Completed]) -> None:
    folder, completed = trained
    assert completed.returncode == 0, completed.stderr
    assert read_options(folder) == {
        "data": str(folder / "data"),
        "labels_file": "table.csv",
        "image_column": "file",
        "label_column": "kind",
        "also": ["shade"],
        "families": ["shade"],
        "label_map": str(folder / "map.json"),
        "group_column": "sender",
        "bars": "any",
        "extras": [str(folder / "more.toml")],
        "balance": 0.5,
        "recipe": "finetune",
        "arch": "test_efficientnet",
        "weights": "none",
        "epochs": [1],
        "size": [32, 36],
        "out": "run",
        "seed": 3,
        "split": "random",
        "min_images": 5,
        "batch_size": 8,
        "lr": 0.01,
        "card": str(folder / "card.toml"),
        "name": "kinds",
        "cache_dir": None,
        "start_from": None,
        "feedback": None,
        "corrections": None,
    }


def test_card_says_how_it_was_trained(trained: tuple[Path, Completed]) -> None:
    folder, _ = trained
    info = read_bundle(folder / "run" / "model.onnx").info
    assert info.data["balance"] == 0.5
    assert (info.training["arch"], info.training["epochs"]) == ("test_efficientnet", [1])


def test_training_ends_with_the_command_that_serves_it(trained: tuple[Path, Completed]) -> None:
    folder, completed = trained
    command = completed.stdout.splitlines()[-1].removeprefix("Serve it: shopwindow serve --model ")
    assert (folder / command).is_file()


def test_bundle_and_trained_model_have_the_same_accuracy(
    trained: tuple[Path, Completed],
) -> None:
    folder, _ = trained
    said = {}
    engine = {"SHOPWINDOW_ENGINE": "onnxruntime"}  # bfloat16 may answer otherwise
    for model in ("run", "run/model.onnx"):
        out = f"report-of-{model[-4:]}"
        completed = call_main(folder, "evaluate", model, "data", "--out", out, env=engine)
        assert completed.returncode == 0, completed.stderr
        said[model] = re.search(r"accuracy +(\d+\.\d+ %)", completed.stdout)
    assert said["run"]
    assert said["run/model.onnx"]
    assert said["run"][1] == said["run/model.onnx"][1]
    reports = [json.loads(path.read_text()) for path in folder.glob("report-of-*/report.json")]
    assert len(reports) == 2
    # A fifth of 36, found again by the recorded split, and the recorded meaning of the labels; the
    # page lies beside the figures.
    assert [report["images"] for report in reports] == [7, 7]
    assert all("validation part" in report["split"] for report in reports)
    assert len(list(folder.glob("report-of-*/report.html"))) == 2


def test_resume_takes_the_same_options_again(trained: tuple[Path, Completed]) -> None:
    folder, _ = trained
    completed = call_main(folder, "train", "data", *OPTIONS.split(), "--resume")
    assert completed.returncode == 0, completed.stderr


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--seed", "5"], "--seed 5 has no effect with --resume"),
        (["--name", "other"], "--name other has no effect with --resume"),
    ],
)
def test_resume_refuses_an_option_that_would_have_no_effect(
    trained: tuple[Path, Completed], option: list[str], expected: str
) -> None:
    folder, _ = trained
    completed = call_main(folder, "train", "--resume", "--out", "run", *option)
    assert expected in assert_one_line(completed, 2)


def test_resume_without_a_run_says_how_to_start_one(run_shopwindow: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = assert_one_line(run_shopwindow("train", "--resume", "--out", "empty"), 1)
    assert "shopwindow train" in said


def test_folder_with_a_run_is_not_overwritten(trained: tuple[Path, Completed]) -> None:
    folder, _ = trained
    before = (folder / "run" / "run.json").read_bytes()
    completed = call_main(folder, "train", "data", "--recipe", "finetune", "--out", "run")
    assert "--resume" in assert_one_line(completed, 1)
    assert (folder / "run" / "run.json").read_bytes() == before


def test_export_writes_the_bundle_where_it_is_told(trained: tuple[Path, Completed]) -> None:
    folder, _ = trained
    completed = call_main(folder, "export", "run", "--out", "copy.onnx")
    assert completed.returncode == 0, completed.stderr
    assert (folder / "copy.onnx").stat().st_size > 10_000


def test_run_and_bundle_are_exported_in_8_bits(trained: tuple[Path, Completed]) -> None:
    folder, _ = trained
    completed = call_main(folder, "export", "run", "--int8")
    assert completed.returncode == 0, completed.stderr
    assert re.search(r"^ *right +\d+\.\d\d % +\d+\.\d\d %$", completed.stdout, re.MULTILINE)
    assert re.search(r"^ *table\.csv: right ", completed.stdout, re.MULTILINE)
    model = ["run/model.onnx", "data", "--int8"]
    completed = call_main(folder, "export", *model, "--with", "more.toml", "--out", "small.onnx")
    assert completed.returncode == 0, completed.stderr
    small, of_the_run = folder / "small.onnx", folder / "run" / "model-int8.onnx"
    assert small.stat().st_size == pytest.approx(of_the_run.stat().st_size, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run data --int8", "DATA has no effect on a run"),
        ("run --int8 --with more.toml", "--with has no effect on a run"),
        ("run/model.onnx data", "expected a run folder, or a bundle and --int8"),
        ("run/model.onnx --int8", "expected DATA, which model.onnx was trained on"),
        ("run/model.onnx data --int8", "give the TOML files of table.csv with --with"),
    ],
)
def test_export_says_what_it_lacks_or_would_ignore(
    trained: tuple[Path, Completed], arguments: str, expected: str
) -> None:
    folder, _ = trained
    completed = call_main(folder, "export", *arguments.split())
    assert expected in assert_one_line(completed, 2)


def test_unfinished_run_cannot_be_graded(run_shopwindow: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    said = assert_one_line(run_shopwindow("evaluate", "run", "."), 1)
    assert "expected a finished run" in said
    assert "shopwindow train --resume --out run" in said


def test_trained_model_is_graded_on_data_whose_columns_are_called_otherwise(
    trained: tuple[Path, Completed],
) -> None:
    folder, _ = trained
    table = (folder / "more" / "table.csv").read_text().replace("kind", "sort")
    (folder / "more" / "other.csv").write_text(table)
    options = ["--labels", "other.csv", "--label-column", "sort", "--out", "report-of-others"]
    completed = call_main(folder, "evaluate", "run", "more", *options)
    assert completed.returncode == 0, completed.stderr
    assert "kind of 4 images" in completed.stdout, "those held out of a further data set"


def test_calibrating_takes_nothing_that_was_learned_wherever_it_lies(
    trained: tuple[Path, Completed],
) -> None:
    folder, _ = trained
    grown = folder / "grown" / "data"
    shutil.copytree(folder / "data", grown)
    table = (grown / "table.csv").read_text()
    shutil.copy(folder / "more" / "59.png", grown)  # learned from in the further data set
    (grown / "table.csv").write_text(f"{table}\n59.png,blue,deep,99")
    out = ["--out", "calibrated.onnx"]
    completed = call_main(folder, "calibrate", "run/model.onnx", str(grown), *out)
    assert completed.returncode == 0, completed.stderr
    assert "Measured on the validation part: 7 of 37 images" in completed.stdout
    completed = call_main(folder, "calibrate", "run/model.onnx", "data", *out)
    assert completed.returncode == 0, completed.stderr
    assert "Measured on the validation part: 7 of 36 images" in completed.stdout
    assert "Note" not in completed.stdout


def test_folders_that_are_not_utf8_are_trained_on_but_for_their_labels(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    for number, label in enumerate(["red", "blue", odd]):
        (tmp_path / odd / label).mkdir(parents=True)
        for shade in range(12):
            image = Image.new("RGB", (16, 16), (250 - 120 * number, 20 * shade, 120 * number))
            image.paste((9, 9, 9), (shade, 0, shade + 4, 3 + shade))
            image.save(tmp_path / odd / label / f"{shade}.png")
    options = "--recipe finetune --arch test_efficientnet --weights none --epochs 1 --size 32"
    completed = call_main(tmp_path, "train", odd, *options.split(), "--out", "run")
    assert completed.returncode == 0, completed.stderr
    info = read_bundle(tmp_path / "run" / "model.onnx").info
    assert info.main.labels == ("blue", "red")
    assert info.data["source"] == "caf?"


@pytest.mark.parametrize(
    ("line", "shown"), [("updated = 2026-01-01", "updated"), ("limit = inf", "limit")]
)
def test_card_that_no_bundle_could_carry_is_refused_before_training(
    tmp_path: Path, line: str, shown: str
) -> None:
    (tmp_path / "card.toml").write_text(line)
    with pytest.raises(UsageError, match=rf"expected texts, numbers .* for {shown}; write it as a"):
        read_card(tmp_path / "card.toml")


def test_model_is_called_as_the_folder_or_as_the_file_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "shoes-1.5").mkdir()
    (tmp_path / "shoes.csv").touch()
    names = [TrainingOptions(data=path).model_name for path in tmp_path.iterdir()]
    assert sorted(names) == ["shoes", "shoes-1.5"]


def test_weight_file_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resnet.pth").touch()
    monkeypatch.chdir(tmp_path)
    found = {
        name: TrainingOptions(data=tmp_path, recipe="transfer", weights=name).resolved().weights
        for name in ("resnet.pth", "imagenet")
    }
    assert found == {"resnet.pth": str(tmp_path / "resnet.pth"), "imagenet": "imagenet"}
