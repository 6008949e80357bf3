"""fastai's distributed context under `accelerate launch`: two processes, one model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shopwindow.runs import TrainingOptions

# Trains, and tells what this process holds in the end.
TRAIN = """
import json, sys, torch
from shopwindow.runs import Run, TrainingOptions
from shopwindow.training import recipes
from shopwindow.training.fine_tuning import train
def train_and_tell(trainer, recipe=recipes.RECIPES[sys.argv[2]]):
    recipe(trainer)
    total = sum(p.double().abs().sum().item() for p in trainer.model.parameters())
    print(f"rank {torch.distributed.get_rank()} of {torch.distributed.get_world_size()}: "
          f"{total:.9f}", flush=True)
    if sys.argv[2] == "finetune" and torch.distributed.get_rank() == 0:
        state = torch.load(trainer.run.folder / "checkpoint.pt", weights_only=True)
        print("averaged steps:", state["average"]["steps"], flush=True)
recipes.RECIPES[sys.argv[2]] = train_and_tell
options = TrainingOptions.from_json(json.loads(sys.argv[1]))
train(Run(options.run_dir, options))  # the folder is new, and one process makes it
"""


@pytest.mark.parametrize("recipe", ["finetune", pytest.param("transfer", marks=pytest.mark.slow)])
def test_two_processes_train_one_model_together(
    recipe: str,
    tmp_path: Path,
    shapes_options: TrainingOptions,
    transfer_options: TrainingOptions,
) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    options = replace(
        shapes_options if recipe == "finetune" else transfer_options,
        out=tmp_path / "run",
        epochs=(1,) if recipe == "finetune" else (1, 1),
        batch_size=8,
    )
    if recipe == "finetune":  # with all that has to be the same on both
        options = replace(options, balance=0.5)
    launched = subprocess.run(
        [
            # accelerate's word for "several processes here", also without a GPU
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
            *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
            *("--dynamo_backend", "no", "--main_process_port", "0"),
            *(str(script), json.dumps(options.as_json()), recipe),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    ends = dict(re.findall(r"rank (\d) of 2: (\S+)", launched.stdout))
    assert sorted(ends) == ["0", "1"]
    assert ends["0"] == ends["1"]
    assert (tmp_path / "run" / "model.onnx").exists()
    if recipe == "finetune":
        # 72 images are 36 for each process: four batches of 8.
        assert "averaged steps: 4\n" in launched.stdout
