"""A run that was killed and continued ends where one ends that never stopped."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shopwindow.training import TrainingOptions, resume

# A training that is killed as it saves for the nth time, so that the moment is the same each time.
KILLED_RUN = """
import json, os, signal, sys
from shopwindow.errors import ShopwindowError
from shopwindow.training import TrainingOptions, callbacks, train
options, saves, kill_with = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
callbacks.CHECKPOINT_EVERY_S = 0.0
save, count = callbacks.Checkpoint._save, 0
def save_and_die(self, epoch, batch):
    global count
    count += 1
    if count == saves and kill_with == signal.SIGINT:
        os.kill(os.getpid(), kill_with)
    save(self, epoch, batch)
    if count == saves and kill_with == signal.SIGKILL:
        os.kill(os.getpid(), kill_with)
callbacks.Checkpoint._save = save_and_die
try:
    train(TrainingOptions.from_json(options))
except ShopwindowError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def _run_until(
    options: TrainingOptions, saves: int, kill_with: int
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED_RUN,
            json.dumps(options.as_json()),
            str(saves),
            str(int(kill_with)),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "stage-1.pt", weights_only=True)["model"]


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# Four batches and the end of the epoch are five saves: in the first epoch, at its end, and in the
# second one.
@pytest.mark.parametrize("saves", [2, 5, 8])
def test_run_killed_at_any_moment_ends_like_one_that_was_not(
    saves: int, tmp_path: Path, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    options = replace(shapes_options, out=tmp_path / "run")
    killed = _run_until(options, saves, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "stage-1.pt").exists()
    resume(tmp_path / "run")
    expected = _weights(shapes_run)
    for name, tensor in _weights(tmp_path / "run").items():
        assert torch.equal(tensor, expected[name]), name
    assert _history(tmp_path / "run") == _history(shapes_run)


def test_ctrl_c_saves_says_how_to_go_on_and_loses_no_batch(
    tmp_path: Path, shapes_run: Path, shapes_options: TrainingOptions
) -> None:
    options = replace(shapes_options, out=tmp_path / "run")
    stopped = _run_until(options, 3, signal.SIGINT)
    assert stopped.returncode == 130, stopped.stderr
    assert f"shopwindow train --resume --out {tmp_path / 'run'}" in stopped.stderr
    resume(tmp_path / "run")
    assert torch.equal(
        _weights(tmp_path / "run")["net.1.2.weight"], _weights(shapes_run)["net.1.2.weight"]
    )


def test_resume_of_a_finished_run_changes_no_weight(tmp_path: Path, shapes_run: Path) -> None:
    before = _weights(shapes_run)
    resume(shapes_run)
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(shapes_run).items())


def test_two_processes_train_one_model_together(
    tmp_path: Path, shapes_options: TrainingOptions
) -> None:
    out = tmp_path / "run"
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\n"
        "from shopwindow.training import TrainingOptions, train\n"
        "train(TrainingOptions.from_json(json.loads(sys.argv[1])))\n"
    )
    options = replace(shapes_options, out=out, epochs=(1,), batch_size=8)
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
            *("--dynamo_backend", "no", "--main_process_port", "0"),
            *(str(script), json.dumps(options.as_json())),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert (out / "model.onnx").exists()
    # 72 images in batches of 8 are 9 steps; shared by two, each process takes 5 of them.
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["average"]["steps"] == 5
    assert len(_history(out)) == 1
