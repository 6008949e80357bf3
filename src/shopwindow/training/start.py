"""Starting a run, continuing one, and looking for a learning rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from shopwindow.training.export import export_trained
from shopwindow.training.learner import is_main_process
from shopwindow.training.options import TrainingOptions
from shopwindow.training.pictures import draw_curves
from shopwindow.training.recipes import RECIPES, learner_for_finder
from shopwindow.training.run import Run
from shopwindow.training.trainer import Trainer


def train(options: TrainingOptions) -> Path:
    """Train a classifier and export it.

    Args:
        options: What to train, on what, and how.

    Returns:
        The run folder; the bundle is `model.onnx` in it.

    Raises:
        UsageError: An option that does not fit.
        DataError: A data set that cannot be used.
        TrainingError: A run in that folder already; weights that cannot be had; stopped by the
            user (everything is saved); an export that differs from the trained model.
    """
    # Under `accelerate launch` every process comes here, and one of them makes the folder.
    run = Run.create(options) if is_main_process() else Run(options.run_dir, options)
    return _go_on(run)


def resume(folder: Path) -> Path:
    """Continue the run in `folder` from its last checkpoint, to the same end.

    Raises:
        TrainingError: There is no run, or it does not fit this version or the data any more.
    """
    return _go_on(Run.open(folder))


def _go_on(run: Run) -> Path:
    trainer = Trainer(run)
    trainer.save()
    if is_main_process():
        dataset, split = trainer.dataset, trainer.split
        labels = dataset.vocabularies[dataset.label_columns[0]]
        print(
            f"{len(dataset):,} images, {len(labels)} labels; {len(split.train):,} to train on, "
            f"{len(split.valid):,} to validate; {trainer.arch} on {trainer.device}; "
            f"run folder {run.folder}",
            flush=True,
        )
    RECIPES[run.options.recipe](trainer)
    if is_main_process():
        draw_curves(run.folder / "curves.png", run.read_history())
        export_trained(trainer, run.folder / "model.onnx")
    return run.folder


def find_learning_rate(options: TrainingOptions) -> tuple[float, Path]:
    """Run fastai's learning-rate finder on the head of a fresh network.

    Args:
        options: As for `train`; `out` says where lr-find.png goes (default: the current folder).

    Returns:
        The suggested peak learning rate, and the path of the picture.
    """
    folder = options.out or Path()
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        trainer = Trainer(Run.create(replace(options, out=Path(scratch) / "run", lr=None)))
        trainer.save()
        suggestion = trainer.learning_rate(learner_for_finder(trainer))
        picture = folder / "lr-find.png"
        picture.write_bytes((trainer.run.folder / "lr-find.png").read_bytes())
    return suggestion, picture
