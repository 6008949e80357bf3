"""The loss over several label columns, and their accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fastai.learner import AvgMetric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F


class ColumnsLoss(nn.Module):
    """Cross-entropy of the main label column plus that of the attributes at a smaller weight.

    An image with several possible labels costs the negative logarithm of their summed probability
    (a "partial label": Jin, Ghahramani 2002). One that shows none of the labels costs the
    cross-entropy with the uniform distribution (Hendrycks et al. 2019, arXiv:1812.04606).

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
        parts = torch.split(logits, list(self.sizes), dim=1)
        first, *others = (
            (self._one_label(part, column_codes) + self._sets(part, column_codes, sets))
            # Not a plain mean, which is undefined where no image of a batch has a label.
            / (column_codes >= 0).sum().clamp(min=1)
            for part, column_codes, sets in zip(parts, codes.unbind(1), self.sets, strict=True)
        )
        return first + self.attribute_weight * torch.stack(others).mean() if others else first

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
        log_probs = logits[rows].log_softmax(dim=1)
        allowed = sets.to(logits.device)[codes[rows] - logits.shape[1]]
        some = allowed.any(dim=1)
        inside = log_probs[some].masked_fill(~allowed[some], -torch.inf).logsumexp(dim=1)
        return -inside.sum() - log_probs[~some].mean(dim=1).sum()


def column_accuracy(
    sizes: tuple[int, ...],
    column: int,
    name: str,
    sets: Sequence[NDArray[np.bool_]] | None = None,
) -> AvgMetric:
    """Return a fastai metric: the fraction of images whose best label of `column` is right.

    Images without a label in that column are left out; a batch of only these counts as 0.
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
