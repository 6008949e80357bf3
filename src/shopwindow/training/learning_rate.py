"""The learning-rate finder of fastai, and its suggestion."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastai.callback.schedule import Learner, valley  # with lr_find

from shopwindow.errors import TrainingError
from shopwindow.training.pictures import draw_learning_rates

# With few images the loss hardly falls while the finder runs, and it suggests far too little: for
# sixty photos 8.6e-5, with which a head learns nothing. fastai's own default is 1e-3.
LEAST_RATE = 5e-4


def find_with_curve(learn: Learner, picture: Path) -> float:
    """Let fastai try rising learning rates, draw the loss over them, and return its suggestion.

    Weights and optimiser are put back as they were.

    Raises:
        TrainingError: As `suggest_learning_rate`.
    """
    steps = min(100, max(30, 4 * len(learn.dls.train)))
    with warnings.catch_warnings():
        # fastai reads the optimiser's numbers back by a name that NumPy has renamed.
        warnings.filterwarnings("ignore", "numpy.core is deprecated", DeprecationWarning)
        learn.lr_find(num_it=steps, show_plot=False, suggest_funcs=None)
    learn.opt.clear_state()
    rates = [float(value) for value in learn.recorder.lrs]
    losses = [float(value) for value in learn.recorder.losses]
    suggestion = suggest_learning_rate(rates, losses)
    draw_learning_rates(picture, rates, losses, suggestion)
    return suggestion


def suggest_learning_rate(rates: list[float], losses: list[float]) -> float:
    """Fastai's valley, over the part of the curve before it diverges; never below `LEAST_RATE`.

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
    return max(float(suggestion), LEAST_RATE)


@contextmanager
def single_process() -> Iterator[None]:
    """Hide the other processes from fastai, which would wait for them for ever."""
    hidden = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
