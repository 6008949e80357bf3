"""What all recipes have in common, without torch: options, data, and the folder of a run."""

from shopwindow.runs.run_folder import Run
from shopwindow.runs.start_from import settle_options
from shopwindow.runs.training_options import TrainingOptions

__all__ = ["Run", "TrainingOptions", "settle_options"]
