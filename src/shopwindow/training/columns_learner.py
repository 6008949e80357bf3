"""The fastai learner of this project: several label columns, precision, several processes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.distributed import DistributedTrainer
from fastai.imports import noop
from fastai.learner import Learner
from fastai.torch_core import num_distrib, rank_distrib, to_float
from torch import nn

from shopwindow.runs.mix import TrainingMix
from shopwindow.runs.run_folder import FINDER_DIR, Run
from shopwindow.training.loaders import SeededDistributedDL
from shopwindow.training.loss import ColumnsLoss, column_accuracy
from shopwindow.training.network import Classifier, Splitter


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
    """Return the reduced precision that is fast on `device`: bfloat16, float16 or None."""
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
    """Return the callbacks that train `model` in the fastest precision of `device`."""
    dtype = fast_dtype(device)
    # Processors have no fast backward pass for depthwise convolutions in bfloat16: lite0 at 128x96
    # trains at 64 images a second in it, and at 81 in float32.
    depthwise = any(m.groups > 1 for m in model.modules() if isinstance(m, nn.Conv2d))
    if dtype is None or (device.type == "cpu" and depthwise):
        return []
    if device.type == "cpu":
        return [CpuBfloat16()]
    return [MixedPrecision(AMPMode.BF16 if dtype is torch.bfloat16 else AMPMode.FP16)]


class SharedTrainer(DistributedTrainer):  # type: ignore[misc]
    """fastai's distributed callback, with loaders that also work without CUDA."""

    def _wrap_dl(self, dl: Any) -> Any:
        if isinstance(dl, SeededDistributedDL):
            return dl
        return SeededDistributedDL(dl, device=self.learn.model.device)


class ColumnsLearner(Learner):  # type: ignore[misc]
    """A fastai `Learner` whose distributed context uses `SharedTrainer`."""

    def to_distributed(self, sync_bn: bool = True, **kwargs: Any) -> ColumnsLearner:
        """Called by fastai's `distrib_ctx`."""
        on_gpu = self.dls.device.type == "cuda"
        # SyncBatchNorm exists for CUDA only; on processors each rank keeps its own statistics.
        # Our own callbacks choose the precision, not `accelerate config`.
        self.add_cb(
            SharedTrainer(
                sync_bn=sync_bn and on_gpu, cpu=not on_gpu, mixed_precision="no", **kwargs
            )
        )
        return self

    def detach_distributed(self) -> ColumnsLearner:
        """Called by fastai's `distrib_ctx` at its end."""
        self.remove_cb(SharedTrainer)
        return self

    def distributed_if_launched(self) -> Any:
        """Return fastai's distributed context under `accelerate launch`, else an empty one."""
        return self.distrib_ctx() if num_distrib() > 1 else nullcontext(self)


def build_learner(
    mix: TrainingMix,
    loaders: DataLoaders,
    model: Classifier,
    splitter: Splitter,
    run: Run,
    *,
    opt_func: Any,
    label_smoothing: float,
    wd: float,
    moms: tuple[float, float, float],
) -> ColumnsLearner:
    """Put data, network, loss, metrics and precision together."""
    sizes = model.sizes
    metrics = [
        column_accuracy(sizes, index, "accuracy" if index == 0 else f"{name}_accuracy", mix.sets)
        for index, name in enumerate(mix.dataset.label_columns)
    ]
    learn = ColumnsLearner(
        loaders,
        model,
        loss_func=ColumnsLoss(sizes, mix.sets, label_smoothing=label_smoothing),
        opt_func=opt_func,
        splitter=splitter,
        metrics=metrics,
        path=run.folder,
        model_dir=FINDER_DIR,
        wd=wd,
        moms=moms,
        cbs=[ChannelsLast(), *mixed_precision(loaders.device, model)],
    )
    learn.remove_cb(ProgressCallback)
    learn.logger = noop  # our own callback prints the line of an epoch
    return learn


def is_main_process() -> bool:
    """Return whether this process is the one that writes files and prints."""
    return int(rank_distrib()) == 0
