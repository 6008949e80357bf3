"""The fastai learner of this project: several label columns on one body, checkpoints, precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.distributed import DistributedTrainer
from fastai.imports import noop
from fastai.learner import AvgMetric, Learner
from fastai.torch_core import num_distrib, rank_distrib
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from shopwindow.training.callbacks import mixed_precision
from shopwindow.training.loaders import SeededDistributedDL
from shopwindow.training.mixture import Mixture
from shopwindow.training.network import Classifier, Splitter
from shopwindow.training.run import FINDER_DIR, Run


class ColumnsLoss(nn.Module):
    """Cross-entropy of the main label column plus that of the attributes at a smaller weight.

    Where an image allows several labels, it is the negative logarithm of their summed probability
    (a "partial label": Jin, Ghahramani 2002); where it shows none of them, the cross-entropy with
    the even distribution (Hendrycks et al. 2019, arXiv:1812.04606).

    Args:
        sizes: Number of labels of each column; the main one first.
        sets: Per column (K, C) bool: the labels that a code from C on allows. None: no such codes.
        attribute_weight: Weight of the mean loss of the attribute columns.
        label_smoothing: Szegedy et al. 2015, arXiv:1512.00567; for images with one label.
    """

    def __init__(
        self,
        sizes: tuple[int, ...],
        sets: Sequence[NDArray[np.bool_]] | None = None,
        *,
        attribute_weight: float = 0.3,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.sets = _as_tensors(sizes, sets)
        self.attribute_weight = attribute_weight
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, codes: Tensor) -> Tensor:
        """(B, sum(sizes)) logits and (B, columns) codes, -1 where missing -> a scalar."""
        losses = [
            (self._one_label(part, column_codes) + self._sets(part, column_codes, sets))
            # Not fastai's mean: a batch in which a column is missing everywhere has none.
            / (column_codes >= 0).sum().clamp(min=1)
            for part, column_codes, sets in zip(
                torch.split(logits, list(self.sizes), dim=1),
                codes.unbind(1),
                self.sets,
                strict=True,
            )
        ]
        if len(losses) == 1:
            return losses[0]
        return losses[0] + self.attribute_weight * torch.stack(losses[1:]).mean()

    def _one_label(self, logits: Tensor, codes: Tensor) -> Tensor:
        return F.cross_entropy(
            logits,
            codes.where(codes < logits.shape[1], -1),
            ignore_index=-1,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )

    def _sets(self, logits: Tensor, codes: Tensor, sets: Tensor) -> Tensor | float:
        if len(sets) == 0:
            return 0.0
        rows = (codes >= logits.shape[1]).nonzero()[:, 0]
        log_shares = logits[rows].log_softmax(dim=1)
        allowed = sets.to(logits.device)[codes[rows] - logits.shape[1]]
        some = allowed.any(dim=1)
        inside = log_shares[some].masked_fill(~allowed[some], -torch.inf).logsumexp(dim=1)
        return -inside.sum() - log_shares[~some].mean(dim=1).sum()


def column_accuracy(
    sizes: tuple[int, ...],
    column: int,
    name: str,
    sets: Sequence[NDArray[np.bool_]] | None = None,
) -> AvgMetric:
    """Return a fastai metric: the share of images whose best label of `column` is right.

    Images without a label in that column are left out; a batch without any counts as nothing right.
    """
    table = _as_tensors(sizes, sets)[column]
    # The last row is for code -1: no label is right.
    right = torch.cat(
        [torch.eye(sizes[column]).bool(), table, torch.zeros(1, sizes[column]).bool()]
    )

    def accuracy(logits: Tensor, codes: Tensor) -> Tensor:
        best = torch.split(logits, list(sizes), dim=1)[column].argmax(dim=1)
        hits = right.to(logits.device)[codes[:, column], best]
        return hits.sum() / (codes[:, column] >= 0).sum().clamp(min=1)

    accuracy.__name__ = name  # what fastai calls the metric
    return AvgMetric(accuracy)


def _as_tensors(
    sizes: Sequence[int], sets: Sequence[NDArray[np.bool_]] | None
) -> tuple[Tensor, ...]:
    if sets is None:
        return tuple(torch.zeros(0, size, dtype=torch.bool) for size in sizes)
    return tuple(torch.from_numpy(table) for table in sets)


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
    mixture: Mixture,
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
        column_accuracy(
            sizes, index, "accuracy" if index == 0 else f"{name}_accuracy", mixture.sets
        )
        for index, name in enumerate(mixture.dataset.label_columns)
    ]
    learn = ColumnsLearner(
        loaders,
        model,
        loss_func=ColumnsLoss(sizes, mixture.sets, label_smoothing=label_smoothing),
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
