"""A training that is killed as it saves for the nth time, so that the moment is always the same."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from shopwindow.errors import ShopwindowError
from shopwindow.runs import Run, TrainingOptions
from shopwindow.training import checkpointing
from shopwindow.training.fine_tuning import train

# Each training is a process of its own, forked from one that has loaded torch: that takes seconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["shopwindow.training.fine_tuning"])
_PATIENCE_S = 300


def train_until(options: TrainingOptions, saves: int, kill_with: int, said: Path) -> int | None:
    """Train until the nth save; return how that ended, as `subprocess` does.

    Args:
        options: What to train.
        saves: At which save the process is killed.
        kill_with: SIGKILL, once it has saved, or SIGINT, before it does.
        said: Where its stderr goes.
    """
    process = _PROCESSES.Process(
        target=_train, args=(options.as_json(), saves, int(kill_with), said)
    )
    process.start()
    process.join(_PATIENCE_S)
    code = process.exitcode
    process.kill()
    return code


def _train(options: dict[str, Any], saves: int, kill_with: int, said: Path) -> None:
    sys.stderr = said.open("w", buffering=1)
    checkpointing.CHECKPOINT_EVERY_S = 0.0
    save, count = checkpointing.Checkpoint._save, 0

    def save_and_die(self: checkpointing.Checkpoint, epoch: int, batch: int) -> None:
        nonlocal count
        count += 1
        if count == saves and kill_with == signal.SIGINT:
            os.kill(os.getpid(), kill_with)
        save(self, epoch, batch)
        if count == saves and kill_with == signal.SIGKILL:
            os.kill(os.getpid(), kill_with)

    checkpointing.Checkpoint._save = save_and_die  # type: ignore[method-assign]
    try:
        train(Run.create(TrainingOptions.from_json(options)))
    except ShopwindowError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
