"""Starting a run, continuing one, and looking for a learning rate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import PartialState
from fastai.torch_core import num_distrib

from shopwindow.bundle import read_bundle
from shopwindow.plain_text import counted, percent
from shopwindow.training.export import export_trained
from shopwindow.training.held_out import find_other_split
from shopwindow.training.learner import is_main_process
from shopwindow.training.memory import keep_freed_memory
from shopwindow.training.options import TrainingOptions
from shopwindow.training.pictures import draw_curves
from shopwindow.training.probe_run import train_probe
from shopwindow.training.recipes import RECIPES, learner_for_finder
from shopwindow.training.run import Run
from shopwindow.training.trainer import Trainer
from shopwindow.training.warm_start import is_bundle


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
    if options.recipe == "probe":
        return train_probe(Run.create(options)).parent
    # Under `accelerate launch` every process comes here, and one of them makes the folder.
    run = Run.create(options) if is_main_process() else Run(options.run_dir, options)
    return _go_on(run)


def resume(run: Run | Path) -> Path:
    """Continue a run from its last checkpoint, to the same end.

    Args:
        run: The run, or its folder.

    Raises:
        TrainingError: There is no run, or it does not fit this version or the data any more.
    """
    run = Run.open(run) if isinstance(run, Path) else run
    return train_probe(run).parent if run.options.recipe == "probe" else _go_on(run)


def _go_on(run: Run) -> Path:
    keep_freed_memory()
    with _connected_processes():
        trainer = _open(run)
        if is_main_process():
            dataset, split = trainer.dataset, trainer.split
            labels = dataset.vocabularies[dataset.label_columns[0]]
            print(
                f"{counted(len(dataset), 'image')}, {counted(len(labels), 'label')}; "
                f"{len(split.train):,} to train on, {len(split.valid):,} to validate; "
                f"{_left_out(trainer)}{_corrections(trainer)}"
                f"{trainer.arch} on {trainer.device}; run folder {run.folder}",
                flush=True,
            )
            for line in dataset.notes:
                print(line, flush=True)
            sys.stderr.write(note_on_weights(trainer))
        RECIPES[run.options.recipe](trainer)
        if is_main_process():
            draw_curves(run.folder / "curves.png", trainer.history)
            if (note := _kept(trainer)) is not None:
                print(note, flush=True)
            export_trained(trainer, run.folder / "model.onnx")
    return run.folder


def _kept(trainer: Trainer) -> str | None:
    """Say whether training was worth it, by the held-out images."""
    facts = trainer.run.facts
    if "kept" not in facts:
        return None
    start = "the linear probe" if trainer.options.start_from is None else "the bundle"
    before, after = (percent(share, 1) for share in facts["right"].values())
    figures = f"{after} of {len(trainer.split.valid):,} held-out images are right, {before} before"
    if facts["kept"] == "stage-1":
        return f"Fine-tuning made it worse ({figures}), so {start} that it began with is exported"
    return f"Fine-tuned: {figures}, with {start} that it began with"


def _left_out(trainer: Trainer) -> str:
    return "".join(
        f"{count:,} images of {extra.spec.data.name} left out (another data set has the same "
        "ones on the other side of its split); "
        for extra in trainer.mix.extras
        if (count := len(extra.elsewhere))
    )


def _corrections(trainer: Trainer) -> str:
    facts = trainer.run.facts.get("corrections")
    if facts is None:
        return ""
    learned, held_back = facts["train"], facts["held_back"]
    more = f" ({held_back:,} more show held-out images)" if held_back else ""
    return f"{counted(learned, 'correction')} to learn from{more}; "


def note_on_weights(trainer: Trainer) -> str:
    """Return what to say where the weights may know images that the model will be judged by."""
    if (
        trainer.has_begun
        or trainer.options.start_from is not None
        or not is_bundle(trainer.weights)
    ):
        return ""
    bundle = read_bundle(Path(trainer.weights))
    name = find_other_split(bundle, trainer.parts)
    if name is None:
        return ""
    return (
        f"Note: {bundle.info.name} {bundle.info.version}, which this starts from, was trained on "
        f"data called {name} too, of which other images were held out. It may have learned from "
        "some that will judge this model, whose figures then come out too good. With --start-from, "
        "the same images of DATA are held out.\n"
    )


def _open(run: Run) -> Trainer:
    """Load data and network; the main process first, so that images are decoded only once."""
    shared = torch.distributed.is_initialized()
    if shared and not is_main_process():
        torch.distributed.barrier()
    trainer = Trainer(run)
    if is_main_process():
        trainer.save()
        run.remove_leftovers()
        if shared:
            torch.distributed.barrier()
    return trainer


@contextmanager
def _connected_processes() -> Iterator[None]:
    """Connect the processes of `accelerate launch`, and give each its GPU; alone, do nothing."""
    if num_distrib() < 2:
        yield
        return
    # The main process may decode or export for long while the others wait.
    PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=6))
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def find_learning_rate(options: TrainingOptions) -> tuple[float, Path]:
    """Run fastai's learning-rate finder on the fresh head of `transfer`.

    Args:
        options: As for `train`, with the recipe `transfer`; `out` says where lr-find.png goes
            (default: the current folder).

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
