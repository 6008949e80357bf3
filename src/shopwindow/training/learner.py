"""The fastai learner of this project: several label columns on one body, checkpoints, precision."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from fastai.callback.channelslast import ChannelsLast
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.distributed import DistributedTrainer
from fastai.imports import noop
from fastai.learner import Learner
from fastai.torch_core import num_distrib, rank_distrib

from shopwindow.training.callbacks import mixed_precision
from shopwindow.training.loaders import SeededDistributedDL
from shopwindow.training.loss import ColumnsLoss, column_accuracy
from shopwindow.training.mix import TrainingMix
from shopwindow.training.network import Classifier, Splitter
from shopwindow.training.run import FINDER_DIR, Run


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
        # Our own callbacks choose the precision, whatever `accelerate config` says.
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
    """Whether this process is the one that writes files and prints."""
    return int(rank_distrib()) == 0
