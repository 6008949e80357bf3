"""A run that was killed and continued ends where one ends that never stopped."""

from __future__ import annotations

import csv
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_training import train_until

from shopwindow.bundle import read_bundle
from shopwindow.errors import TrainingError
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.run_folder import StoppedError
from shopwindow.training.fine_tuning import train
from shopwindow.training.recipes import RECIPES
from shopwindow.training.trainer import open_trainer


def _weights(run: Path, stage: str = "stage-2") -> dict[str, torch.Tensor]:
    return torch.load(run / f"{stage}.pt", weights_only=True)["model"]


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def _train_on(run: Path) -> None:
    """As `resume`, but for the export, which takes longer than the training and is not at stake."""
    trainer = open_trainer(Run.open(run))
    RECIPES[trainer.options.recipe](trainer)


# 72 images are four batches of 16. With the end of the epoch that makes five saves: the run is
# killed in the first epoch, at its end, and in the second one.
@pytest.mark.parametrize(
    "saves",
    [2, pytest.param(5, marks=pytest.mark.slow), pytest.param(8, marks=pytest.mark.slow)],
)
def test_run_killed_at_any_moment_ends_like_one_that_was_not(
    saves: int, tmp_path: Path, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    options = replace(shapes_options, out=tmp_path / "run")
    said = tmp_path / "said"
    code = train_until(options, saves, signal.SIGKILL, said)
    assert code == -signal.SIGKILL, said.read_text()
    assert not (tmp_path / "run" / "stage-2.pt").exists()
    _train_on(tmp_path / "run")
    expected = _weights(shapes_run)
    for name, tensor in _weights(tmp_path / "run").items():
        assert torch.equal(tensor, expected[name]), name
    assert _history(tmp_path / "run") == _history(shapes_run)


@pytest.mark.parametrize(
    "saves",
    [
        pytest.param(3, id="stage-1", marks=pytest.mark.slow),
        pytest.param(5, id="between"),
        pytest.param(7, id="stage-2", marks=pytest.mark.slow),
    ],
)
def test_transfer_killed_in_either_stage_ends_like_one_that_was_not(
    saves: int, tmp_path: Path, transfer_run: Path, transfer_options: TrainingOptions
) -> None:
    options = replace(transfer_options, out=tmp_path / "run")
    said = tmp_path / "said"
    code = train_until(options, saves, signal.SIGKILL, said)
    assert code == -signal.SIGKILL, said.read_text()
    _train_on(tmp_path / "run")
    expected = _weights(transfer_run)
    for name, tensor in _weights(tmp_path / "run").items():
        assert torch.equal(tensor, expected[name]), name


def test_ctrl_c_saves_says_how_to_go_on_and_loses_no_batch(
    tmp_path: Path, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    options = replace(shapes_options, out=tmp_path / "run")
    # At the fifth save the epoch has just ended: its line must not be lost either.
    said = tmp_path / "said"
    assert train_until(options, 5, signal.SIGINT, said) == 130, said.read_text()
    assert f"shopwindow train --resume --out {tmp_path / 'run'}" in said.read_text()
    train(Run.open(tmp_path / "run"))
    head = "net.1.2.weight"
    assert torch.equal(_weights(tmp_path / "run")[head], _weights(shapes_run)[head])
    assert _history(tmp_path / "run") == _history(shapes_run)


def test_resume_of_a_finished_run_changes_no_weight(shapes_run: Path) -> None:
    before = _weights(shapes_run)
    train(Run.open(shapes_run))
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(shapes_run).items())


def test_a_run_that_diverges_ends_with_a_sentence(
    tmp_path: Path, shapes_options: TrainingOptions
) -> None:
    options = replace(shapes_options, out=tmp_path / "run", epochs=(6,), lr=99.0)
    with pytest.raises(TrainingError, match="smaller --lr"):
        train(Run.create(options))


def _without_checkpoint(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    assert not (copy / "checkpoint.pt").exists(), "a finished run keeps none"
    return copy


def test_run_whose_checkpoint_was_removed_goes_back_to_the_last_finished_stage(
    tmp_path: Path, transfer_run: Path
) -> None:
    run = _without_checkpoint(transfer_run, tmp_path / "run")
    (run / "stage-2.pt").unlink()
    opened = Run.open(run)
    # What it started from is gone: its first stage stands for it.
    opened.options = replace(opened.options, weights=str(tmp_path / "gone.pth"))
    trainer = open_trainer(opened)
    RECIPES["transfer"](trainer)
    expected = _weights(transfer_run)
    for name, tensor in _weights(run).items():
        assert torch.equal(tensor, expected[name]), name
    assert _history(run) == _history(transfer_run)


def test_finished_run_is_exported_and_resumed_without_its_checkpoint(
    tmp_path: Path, shapes_run: Path
) -> None:
    run = _without_checkpoint(shapes_run, tmp_path / "run")
    train(Run.open(run))
    before, after = (read_bundle(one / "model.onnx").info for one in (shapes_run, run))
    assert after.training["minutes"] == before.training["minutes"]
    assert (run / "curves.png").stat().st_size > 10_000
    assert _history(run) == _history(shapes_run)


def test_ctrl_c_outside_the_stages_says_how_to_continue(
    tmp_path: Path, shapes_options: TrainingOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_ctrl_c(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(RECIPES, shapes_options.recipe, press_ctrl_c)
    with pytest.raises(StoppedError, match=r"continue with: shopwindow train --resume --out"):
        train(Run.create(replace(shapes_options, out=tmp_path / "run")))
    assert Run.open(tmp_path / "run").options.recipe == shapes_options.recipe
