"""fastai callbacks: exact checkpoints, one line per epoch, precision, averaging."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.torch_core import num_distrib, rank_distrib, to_float
from torch import Tensor, nn
from tqdm import tqdm

from shopwindow.training.run import Run

CHECKPOINT_EVERY_S = 60.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CpuBfloat16(Callback):  # type: ignore[misc]
    """bfloat16 autocast on the processor; fastai's own `MixedPrecision` knows CUDA only."""

    order = MixedPrecision.order

    def before_batch(self) -> None:
        """Enter autocast."""
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.autocast.__enter__()  # type: ignore[no-untyped-call]

    def after_pred(self) -> None:
        """Compute the loss in float32."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Leave autocast before the backward pass, as PyTorch advises."""
        self.autocast.__exit__(None, None, None)


def fast_dtype(device: torch.device) -> torch.dtype | None:
    """Return what `device` computes fast besides float32: bfloat16, else float16, else None."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    # oneDNN emulates bfloat16 where the processor lacks it, many times slower than float32.
    if device.type == "cpu" and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    ):
        return torch.bfloat16
    return None


def mixed_precision(device: torch.device, model: nn.Module) -> list[Callback]:
    """The callbacks for the best precision that `device` computes `model` fast in."""
    dtype = fast_dtype(device)
    # Processors have no fast backward pass of depthwise convolutions in bfloat16: lite0 at 128x96
    # trains at 64 images a second so, and at 81 in float32.
    depthwise = any(m.groups > 1 for m in model.modules() if isinstance(m, nn.Conv2d))
    if dtype is None or (device.type == "cpu" and depthwise):
        return []
    if device.type == "cpu":
        return [CpuBfloat16()]
    return [MixedPrecision(AMPMode.BF16 if dtype is torch.bfloat16 else AMPMode.FP16)]


class WeightAverage(Callback):  # type: ignore[misc]
    """Exponential moving average of weights and batch statistics; validates and ends with it.

    The decay warms up as (1 + step) / (10 + step), so that early steps do not linger (Polyak and
    Juditsky 1992; the schedule is that of TensorFlow's ExponentialMovingAverage).
    """

    order = 65
    run_valid = False

    def __init__(self, decay: float = 0.999) -> None:
        self.decay, self.steps = decay, 0
        self.average: list[Tensor] = []

    def _tensors(self) -> list[Tensor]:
        state = _inner(self.learn.model).state_dict()
        return [tensor.data for tensor in state.values() if tensor.is_floating_point()]

    def before_fit(self) -> None:
        """Start from the weights as they are, or go on with a loaded average."""
        if self.average:
            self.average = [
                a.to(t.device) for a, t in zip(self.average, self._tensors(), strict=True)
            ]
        else:
            self.average = [t.clone() for t in self._tensors()]

    def after_step(self) -> None:
        """Move the average towards the new weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, self._tensors(), 1 - decay)

    def _swap(self) -> None:
        for average, tensor in zip(self.average, self._tensors(), strict=True):
            kept = tensor.clone()
            tensor.copy_(average)
            average.copy_(kept)

    def after_train(self) -> None:
        """Validate with the average."""
        self._swap()

    def after_epoch(self) -> None:
        """Go back to the weights that are being trained."""
        if self.validated:
            self._swap()

    def before_epoch(self) -> None:
        """Know whether this epoch is run or skipped."""
        self.validated = False

    def before_train(self) -> None:
        """This epoch is run."""
        self.validated = True

    def after_fit(self) -> None:
        """Keep the average as the result."""
        for average, tensor in zip(self.average, self._tensors(), strict=True):
            tensor.copy_(average)


class KeepStatistics(Callback):  # type: ignore[misc]
    """Leaves the statistics of batch normalisation as they are; scales and shifts go on learning.

    Those of ImageNet are better than what a few small batches of a few images say, and a network
    that starts from a bundle has none any more.
    """

    run_valid = False

    def before_train(self) -> None:
        """After fastai has put everything into training mode."""
        for module in self.learn.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class Checkpoint(Callback):  # type: ignore[misc]
    """Saves the exact state every minute and after each epoch, and prints a line per epoch.

    A state names the stage, the epoch and how many of its batches were trained on. Together with
    `CachedLoader`, whose batches depend on these alone, a run that is killed and continued passes
    through the same weights as one that never stopped: to the last bit on a processor, within
    rounding on a GPU, whose sums have no fixed order.

    Args:
        run: Where to save.
        stage: Name of the stage.
        epochs: Epochs of this stage.
        epochs_left: Epochs of this and the later stages, for the time left.
        state: The state to continue from, if it is one of this stage.
        history: The lines of the epochs before.
    """

    order = 80

    def __init__(
        self,
        run: Run,
        stage: str,
        epochs: int,
        epochs_left: int,
        state: dict[str, Any] | None,
        history: list[dict[str, Any]],
    ) -> None:
        self.record, self.stage, self.epochs, self.history = run, stage, epochs, history
        self.state = state or {"epoch": 0, "batch": 0, "loss_sum": 0.0, "seconds": 0.0}
        self.epochs_left = epochs_left
        self.stop_requested = self.diverged = False

    @property
    def start_epoch(self) -> int:
        """The first epoch that is not finished."""
        return int(self.state["epoch"])

    def before_fit(self) -> None:
        """Take up the saved state, and start the bar."""
        if "model" in self.state:
            _inner(self.learn.model).load_state_dict(self.state["model"])
            self.learn.opt.load_state_dict(_on_device(self.state["opt"], self.learn.model))
        steps = len(self.learn.dls.train)
        self.bar = tqdm(
            total=self.epochs_left * steps,
            initial=self.start_epoch * steps + int(self.state["batch"]),
            desc=self.stage,
            unit="batch",
            disable=rank_distrib() > 0,
            leave=False,  # the lines of the epochs say all that stays
            smoothing=0.05,
            # A bar in a log file is a line every half minute, not a flood.
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        )

    def before_train(self) -> None:
        """Tell the loader which batches come, and the schedule where it stands."""
        resumed = self.learn.epoch == self.start_epoch
        self.batch = int(self.state["batch"]) if resumed else 0
        # A tensor, so that the sum does not wait for the device after each batch.
        self.loss_sum = torch.tensor(float(self.state["loss_sum"]) if resumed else 0.0)
        self.seconds_before = float(self.state["seconds"]) if resumed else 0.0
        self.started = self.saved = time.monotonic()
        steps = len(self.learn.dls.train)
        for _ in range(self.batch):  # as fastai adds it up, so that rounding is the same
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
        """Write the line of this epoch."""
        if self.learn.epoch < self.start_epoch:
            return
        self._stop_if_diverged()
        seconds = self.seconds_before + time.monotonic() - self.started
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
            self.record.write_history(self.history)
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
        """Never replace a good checkpoint by one of a network that is lost."""
        if not math.isfinite(float(self.loss_sum)):
            self.diverged = True
            raise CancelFitException

    def after_fit(self) -> None:
        """Close the bar."""
        self.bar.close()

    def _save(self, epoch: int, batch: int) -> None:
        if rank_distrib() == 0:
            average = getattr(self.learn, "weight_average", None)
            optimiser = self.learn.opt.state_dict()
            self.record.save_tensors(
                "checkpoint",
                {
                    "stage": self.stage,
                    "epoch": epoch,
                    "batch": batch,
                    "loss_sum": float(self.loss_sum) if batch else 0.0,
                    "seconds": (self.seconds_before + time.monotonic() - self.started)
                    if batch
                    else 0.0,
                    "model": _inner(self.learn.model).state_dict(),
                    "opt": {
                        "state": [dict(state) for state in optimiser["state"]],
                        # Plain floats: the schedules leave NumPy scalars, which a file that is
                        # read without pickled code cannot hold.
                        "hypers": [
                            {k: v.item() if hasattr(v, "item") else v for k, v in hyper.items()}
                            for hyper in optimiser["hypers"]
                        ],
                    },
                    "average": None
                    if average is None
                    else {"steps": average.steps, "tensors": average.average},
                    "history": self.history,
                    "processes": max(1, num_distrib()),
                },
            )
        self.saved = time.monotonic()

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let a first Ctrl-C or SIGTERM finish the batch and save, a second one break off.

        Python delivers signals to the main thread only; in another one this changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(signum: int, frame: FrameType | None) -> None:
            self.stop_requested = True
            signal.signal(signum, previous[signal.Signals(signum)])

        # SIGTERM is how containers, services and queues of jobs say the same.
        previous = {number: signal.signal(number, request) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _loader(learn: Any) -> Any:
    """The training loader, also where fastai has wrapped it to share it between processes."""
    return getattr(learn.dls.train, "dl", learn.dls.train)


def _inner(model: Any) -> Any:
    return getattr(model, "module", model)


def _on_device(state: dict[str, Any], model: Any) -> dict[str, Any]:
    device = next(model.parameters()).device
    return {
        "hypers": state["hypers"],
        "state": [
            {k: v.to(device) if isinstance(v, Tensor) else v for k, v in entry.items()}
            for entry in state["state"]
        ],
    }
