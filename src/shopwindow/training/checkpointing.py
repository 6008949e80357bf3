"""Exact checkpoints: a run that was stopped at any moment continues as if it had never stopped."""

from __future__ import annotations

import csv
import io
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import num_distrib, rank_distrib
from torch import Tensor
from tqdm import tqdm

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import TrainingError
from shopwindow.training.callbacks import unwrapped

CHECKPOINT_EVERY_S = 60.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def save_state(folder: Path, name: str, state: dict[str, Any]) -> None:
    """Write a state to `<name>.pt` in the run folder."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / f"{name}.pt", buffer.getbuffer())


def load_state(folder: Path, name: str) -> dict[str, Any] | None:
    """Read what `save_state` wrote; None where there is nothing yet.

    Raises:
        TrainingError: The file is damaged.
    """
    path = folder / f"{name}.pt"
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path}: expected a checkpoint of this version, got {type(error).__name__}; "
            "remove it to go back to the last finished stage"
        ) from error
    return dict(state)


def write_history(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write history.csv, one line per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "history.csv", text.getvalue().encode())


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return what `write_history` wrote, of the stages that are finished."""
    path = folder / "history.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {key: value if key == "stage" else float(value) for key, value in row.items()}
            | {"epoch": int(row["epoch"])}
            for row in csv.DictReader(file)
            if (folder / f"{row['stage']}.pt").exists()
        ]


class Checkpoint(Callback):  # type: ignore[misc]
    """Saves the exact state every minute and after each epoch, and prints a line per epoch.

    A state holds the stage, the epoch and how many of its batches were trained on; the batches of
    `CachedLoader` depend on these alone. So a run that is killed and continued gets the weights of
    one that never stopped: bit for bit on a processor, within rounding on a GPU, whose sums have no
    fixed order.

    Args:
        folder: The run folder.
        stage: Name of the stage.
        epochs: Epochs of this stage.
        epochs_left: Epochs of this and the later stages, for the time left.
        state: The state to continue from, if it belongs to this stage.
        history: The rows of earlier epochs.
    """

    order = 80

    def __init__(
        self,
        folder: Path,
        stage: str,
        epochs: int,
        epochs_left: int,
        state: dict[str, Any] | None,
        history: list[dict[str, Any]],
    ) -> None:
        self.folder, self.stage, self.epochs, self.history = folder, stage, epochs, history
        self.state = state or {"epoch": 0, "batch": 0, "loss_sum": 0.0, "seconds": 0.0}
        self.epochs_left = epochs_left
        self.stop_requested = self.diverged = False

    @property
    def start_epoch(self) -> int:
        """The first epoch that is not finished."""
        return int(self.state["epoch"])

    def before_fit(self) -> None:
        """Load the saved state, and start the progress bar."""
        if "model" in self.state:
            unwrapped(self.learn.model).load_state_dict(self.state["model"])
            self.learn.opt.load_state_dict(_on_device(self.state["opt"], self.learn.model))
        steps = len(self.learn.dls.train)
        self.bar = tqdm(
            total=self.epochs_left * steps,
            initial=self.start_epoch * steps + int(self.state["batch"]),
            desc=self.stage,
            unit="batch",
            disable=rank_distrib() > 0,
            leave=False,  # the lines of the epochs remain
            smoothing=0.05,
            # In a log file, a line every half minute.
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        )

    def before_train(self) -> None:
        """Set the loader and the schedule to the next batch."""
        resumed = self.learn.epoch == self.start_epoch
        self.batch = int(self.state["batch"]) if resumed else 0
        # A tensor, so that the sum does not wait for the device after each batch.
        self.loss_sum = torch.tensor(float(self.state["loss_sum"]) if resumed else 0.0)
        self.seconds_before = float(self.state["seconds"]) if resumed else 0.0
        self.started = self.saved = time.monotonic()
        steps = len(self.learn.dls.train)
        for _ in range(self.batch):  # added up as in fastai, for the same rounding
            self.learn.pct_train += 1.0 / (steps * self.learn.n_epoch)
        _loader(self.learn).start_epoch(self.stage, self.learn.epoch, self.batch)

    def after_batch(self) -> None:
        """Count, and save when a minute has passed or the user asked to stop."""
        if not self.learn.training:
            return
        self.batch += 1
        self.loss_sum = self.loss_sum.to(self.learn.loss.device) + self.learn.loss.detach()
        self.bar.update()
        if self.stop_requested or time.monotonic() - self.saved > CHECKPOINT_EVERY_S:
            self._stop_if_diverged()
            self._save(self.learn.epoch, self.batch)
        if self.stop_requested:
            raise CancelFitException

    def after_epoch(self) -> None:
        """Write and print the row of this epoch."""
        if self.learn.epoch < self.start_epoch:
            return
        self._stop_if_diverged()
        seconds = self._seconds()
        _, valid_loss, *accuracies = self.learn.recorder.final_record
        names = [metric.name for metric in self.learn.metrics]
        row: dict[str, Any] = {
            "stage": self.stage,
            "epoch": self.learn.epoch + 1,
            "train_loss": round(float(self.loss_sum) / max(self.batch, 1), 5),
            "valid_loss": round(float(valid_loss), 5),
            **{name: round(float(value), 5) for name, value in zip(names, accuracies, strict=True)},
            "seconds": round(seconds, 1),
        }
        self.history.append(row)
        if rank_distrib() == 0:
            write_history(self.folder, self.history)
            self.bar.write(
                f"{self.stage} epoch {row['epoch']}/{self.epochs}  train loss "
                f"{row['train_loss']:.4f}  valid loss {row['valid_loss']:.4f}  accuracy "
                f"{100 * row['accuracy']:.2f} %  {seconds:.0f} s",
                file=sys.stdout,
            )
            sys.stdout.flush()
        self._save(self.learn.epoch + 1, 0)
        if self.stop_requested:  # during validation
            raise CancelFitException

    def _stop_if_diverged(self) -> None:
        """Never replace a good checkpoint by one of a network that has diverged."""
        if not math.isfinite(float(self.loss_sum)):
            self.diverged = True
            raise CancelFitException

    def after_fit(self) -> None:
        """Close the bar."""
        self.bar.close()

    def _save(self, epoch: int, batch: int) -> None:
        if rank_distrib() == 0:
            state = {
                "stage": self.stage,
                "epoch": epoch,
                "batch": batch,
                "loss_sum": float(self.loss_sum) if batch else 0.0,
                "seconds": self._seconds() if batch else 0.0,
                "model": unwrapped(self.learn.model).state_dict(),
                "opt": _optimiser_state(self.learn.opt),
                "average": None,
                "history": self.history,
                "processes": max(1, num_distrib()),
            }
            average = getattr(self.learn, "weight_average", None)
            if average is not None:
                state["average"] = {"steps": average.steps, "tensors": average.average}
            save_state(self.folder, "checkpoint", state)
        self.saved = time.monotonic()

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let a first Ctrl-C or SIGTERM finish the batch and save, and a second one stop at once.

        Python delivers signals to the main thread only; in other threads this changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(signum: int, frame: FrameType | None) -> None:
            self.stop_requested = True
            signal.signal(signum, previous[signal.Signals(signum)])

        # SIGTERM is the same request from a container, a service manager or a job queue.
        previous = {number: signal.signal(number, request) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _loader(learn: Any) -> Any:
    """Return the training loader itself, also where fastai has wrapped it for several processes."""
    return getattr(learn.dls.train, "dl", learn.dls.train)


def _optimiser_state(optimiser: Any) -> dict[str, Any]:
    """Return the state in plain types: without pickled code, a file holds no NumPy scalars."""
    state = optimiser.state_dict()
    return {
        "state": [dict(entry) for entry in state["state"]],
        "hypers": [
            {k: v.item() if hasattr(v, "item") else v for k, v in hyper.items()}
            for hyper in state["hypers"]
        ],
    }


def _on_device(state: dict[str, Any], model: Any) -> dict[str, Any]:
    device = next(model.parameters()).device
    return {
        "hypers": state["hypers"],
        "state": [
            {k: v.to(device) if isinstance(v, Tensor) else v for k, v in entry.items()}
            for entry in state["state"]
        ],
    }
