"""The fastai learner of this project: several label columns on one body, checkpoints, precision."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.distributed import DistributedTrainer
from fastai.imports import noop
from fastai.learner import AvgMetric, Learner
from fastai.torch_core import num_distrib, rank_distrib
from torch import Tensor, nn
from torch.nn import functional as F

from shopwindow.dataset.dataset import Dataset
from shopwindow.training.callbacks import mixed_precision
from shopwindow.training.loaders import SeededDistributedDL
from shopwindow.training.network import Classifier, Splitter
from shopwindow.training.run import FINDER_DIR, Run


class ColumnsLoss(nn.Module):
    """Cross-entropy of the main label column plus that of the attributes at a smaller weight.

    Args:
        sizes: Number of labels of each column; the main one first.
        attribute_weight: Weight of the mean loss of the attribute columns.
        label_smoothing: Szegedy et al. 2015, arXiv:1512.00567.
    """

    def __init__(
        self, sizes: tuple[int, ...], attribute_weight: float = 0.3, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.attribute_weight = attribute_weight
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, codes: Tensor) -> Tensor:
        """(B, sum(sizes)) logits and (B, columns) codes, -1 where missing -> a scalar."""
        losses = [
            F.cross_entropy(
                part,
                codes[:, column],
                ignore_index=-1,
                label_smoothing=self.label_smoothing,
                reduction="sum",
            )
            # Not fastai's mean: a batch in which a column is missing everywhere has none.
            / (codes[:, column] >= 0).sum().clamp(min=1)
            for column, part in enumerate(torch.split(logits, list(self.sizes), dim=1))
        ]
        if len(losses) == 1:
            return losses[0]
        return losses[0] + self.attribute_weight * torch.stack(losses[1:]).mean()


def column_accuracy(sizes: tuple[int, ...], column: int, name: str) -> AvgMetric:
    """Return a fastai metric: the share of images whose best label of `column` is right.

    Images without a label in that column are left out; a batch without any counts as nothing right.
    """

    def accuracy(logits: Tensor, codes: Tensor) -> Tensor:
        best = torch.split(logits, list(sizes), dim=1)[column].argmax(dim=1)
        known = codes[:, column] >= 0
        right = (best == codes[:, column]) & known
        return right.sum() / known.sum().clamp(min=1)

    accuracy.__name__ = name  # what fastai calls the metric
    return AvgMetric(accuracy)


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
    dataset: Dataset,
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
        column_accuracy(sizes, index, "accuracy" if index == 0 else f"{name}_accuracy")
        for index, name in enumerate(dataset.label_columns)
    ]
    learn = ColumnsLearner(
        loaders,
        model,
        loss_func=ColumnsLoss(sizes, label_smoothing=label_smoothing),
        opt_func=opt_func,
        splitter=splitter,
        metrics=metrics,
        path=run.folder,
        model_dir=FINDER_DIR,
        wd=wd,
        moms=moms,
        cbs=[ChannelsLast(), *mixed_precision(loaders.device)],
    )
    learn.remove_cb(ProgressCallback)
    learn.logger = noop  # our own callback prints the line of an epoch
    return learn


def is_main_process() -> bool:
    """Whether this process is the one that writes files and prints."""
    return int(rank_distrib()) == 0
