"""fastai callbacks that shape the weights: averaging them, and keeping batch statistics."""

from __future__ import annotations

from typing import Any

import torch
from fastai.callback.core import Callback
from torch import Tensor, nn


class WeightAverage(Callback):  # type: ignore[misc]
    """Exponential moving average of weights and batch statistics, for validation and the result.

    Averaging: Polyak and Juditsky 1992. The decay warms up as (1 + step) / (10 + step), as in
    TensorFlow's ExponentialMovingAverage, so that early steps do not linger.
    """

    order = 65
    run_valid = False

    def __init__(self, decay: float = 0.999) -> None:
        self.decay, self.steps = decay, 0
        self.average: list[Tensor] = []

    def _tensors(self) -> list[Tensor]:
        state = unwrapped(self.learn.model).state_dict()
        return [tensor.data for tensor in state.values() if tensor.is_floating_point()]

    def before_fit(self) -> None:
        """Start from the current weights, or continue with a loaded average."""
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
        """Go back to the weights that are trained."""
        if self.validated:
            self._swap()

    def before_epoch(self) -> None:
        """An epoch that was finished before is skipped: nothing is swapped."""
        self.validated = False

    def before_train(self) -> None:
        """This epoch is run."""
        self.validated = True

    def after_fit(self) -> None:
        """Keep the average as the result."""
        for average, tensor in zip(self.average, self._tensors(), strict=True):
            tensor.copy_(average)


class KeepStatistics(Callback):  # type: ignore[misc]
    """Freezes the statistics of batch normalisation; its scales and shifts keep learning.

    Those of ImageNet are better than estimates from small batches of few images, and a network that
    starts from a bundle has none any more.
    """

    run_valid = False

    def before_train(self) -> None:
        """After fastai has put everything into training mode."""
        for module in self.learn.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def unwrapped(model: Any) -> Any:
    """Return the network itself, also where torch has wrapped it for several processes."""
    return getattr(model, "module", model)
