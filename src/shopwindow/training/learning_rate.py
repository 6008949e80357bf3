"""What the learning-rate finder suggests, and what it needs around it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def single_process() -> Iterator[None]:
    """Let fastai believe that this process is alone.

    It asks the environment whether to wait for other processes, and would wait for ever for those
    that have nothing to do here.
    """
    hidden = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
