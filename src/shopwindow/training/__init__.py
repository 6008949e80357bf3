"""Training with fastai.

Nothing here is imported by what serves. `shopwindow.cli` imports it when a command needs it and
says what to install where it cannot be. torch and fastai take seconds to import, so that a name is
looked up when it is first used (PEP 562): much that is wrong with options is said without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shopwindow.training.options import TrainingOptions
from shopwindow.training.start_from import settle_options

if TYPE_CHECKING:
    from shopwindow.training.export import export_run, run_probabilities
    from shopwindow.training.quantising import quantise_bundle, quantise_run
    from shopwindow.training.start import find_learning_rate, resume, train

__all__ = [
    "TrainingOptions",
    "export_run",
    "find_learning_rate",
    "quantise_bundle",
    "quantise_run",
    "resume",
    "run_probabilities",
    "settle_options",
    "train",
]

_HOMES = {
    "export": ("export_run", "run_probabilities"),
    "quantising": ("quantise_bundle", "quantise_run"),
    "start": ("find_learning_rate", "resume", "train"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
