"""Training with fastai; the only part of shopwindow that knows torch.

Nothing here is imported by what serves. `shopwindow.cli` imports it when a command needs it and
says what to install where it cannot be.
"""

from shopwindow.training.export import export_run, run_probabilities
from shopwindow.training.options import TrainingOptions
from shopwindow.training.quantising import quantise_bundle, quantise_run
from shopwindow.training.start import find_learning_rate, resume, train
from shopwindow.training.start_from import settle_options

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
