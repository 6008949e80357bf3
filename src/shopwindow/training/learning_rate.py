"""What the learning-rate finder suggests."""

from __future__ import annotations

import math

from fastai.callback.schedule import valley

from shopwindow.errors import TrainingError


def suggest_learning_rate(rates: list[float], losses: list[float]) -> float:
    """Fastai's valley, over the part of the curve before it diverges.

    Args:
        rates: Learning rates tried, rising.
        losses: Smoothed loss at each.

    Raises:
        TrainingError: The loss was never a number; there is nothing to suggest.
    """
    # fastai cuts the same margins: the first tenth is noise, the last five points are divergence.
    usable = [
        (rate, loss)
        for rate, loss in list(zip(rates, losses, strict=True))[len(rates) // 10 : -5]
        if math.isfinite(loss)
    ]
    if len(usable) < 10:
        raise TrainingError(
            f"learning-rate finder: expected a loss that falls before it diverges, got "
            f"{len(usable)} usable steps; give a learning rate with --lr"
        )
    suggestion, _ = valley([r for r, _ in usable], [v for _, v in usable], len(usable))
    return float(suggestion)
