"""From a run to a bundle: read the data, follow the recipe, export. Or find a learning rate."""

from __future__ import annotations

import ctypes
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

from shopwindow.bundle import Bundle, read_bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.split import Split
from shopwindow.plain_text import counted, percent
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.run_folder import StoppedError
from shopwindow.training.columns_learner import is_main_process
from shopwindow.training.export import export_trained
from shopwindow.training.pictures import draw_curves
from shopwindow.training.recipes import RECIPES, learner_for_finder
from shopwindow.training.trainer import Trainer, open_trainer
from shopwindow.training.warm_start import is_bundle

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def train(run: Run) -> Path:
    """Train a classifier and export it, or continue from the last checkpoint of a run.

    Args:
        run: A new run, or one that was opened, of a recipe that trains a network.

    Returns:
        The run folder; the bundle is `model.onnx` in it.

    Raises:
        UsageError: An option does not fit.
        DataError: A data set cannot be used.
        TrainingError: The weights cannot be fetched, the network diverged, the user stopped the
            training (everything is saved), the run does not fit this version or the data any more,
            or the bundle differs from the trained model.
    """
    _keep_freed_memory()
    try:
        with _connected_processes():
            trainer = _open_in_turn(run)
            if is_main_process():
                print(_opening(trainer), flush=True)
                sys.stderr.write(note_on_weights(trainer))
            RECIPES[run.options.recipe](trainer)
            if is_main_process():
                draw_curves(run.folder / "curves.png", trainer.history)
                if (note := _kept(trainer)) is not None:
                    print(note, flush=True)
                export_trained(trainer, run.folder / "model.onnx")
                # The last stage's own file has the weights; this is three times as large.
                (run.folder / "checkpoint.pt").unlink(missing_ok=True)
    except KeyboardInterrupt:  # before, between or after the stages, which save by themselves
        if (run.folder / "run.json").exists():
            raise StoppedError(run.folder) from None
        raise
    return run.folder


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory instead of returning it to the system.

    Each training step frees some gigabytes that the next one needs again. glibc maps large pieces
    anew each time, and the system has to clear every page: on a virtual machine short of memory,
    that took nine tenths of the time. On systems other than Linux this does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def _opening(trainer: Trainer) -> str:
    dataset, split = trainer.dataset, trainer.split
    labels = dataset.vocabularies[dataset.label_columns[0]]
    first = (
        f"{counted(len(dataset), 'image')}, {counted(len(labels), 'label')}; "
        f"{len(split.train):,} to train on, {len(split.valid):,} to validate; "
        f"{_left_out(trainer)}{_corrections(trainer)}"
        f"{trainer.arch} on {trainer.device}; run folder {trainer.run.folder}"
    )
    return "\n".join([first, *dataset.notes])


def _kept(trainer: Trainer) -> str | None:
    """Return how many held-out images were right before and after training."""
    facts = trainer.run.facts
    if "kept" not in facts:
        return None
    start = "the linear probe" if trainer.options.start_from is None else "the bundle"
    before, after = (percent(accuracy, 1) for accuracy in facts["right"].values())
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
    """Return a note if the weights may have been trained on images that are held out now."""
    if (
        trainer.has_begun
        or trainer.options.start_from is not None
        or not is_bundle(trainer.weights)
    ):
        return ""
    bundle = read_bundle(Path(trainer.weights))
    extras = [(e.spec.data.name, e.dataset, e.split) for e in trainer.mix.extras]
    parts = [(trainer.options.data.name, trainer.dataset, trainer.split), *extras]
    name = _data_split_otherwise(bundle, parts)
    if name is None:
        return ""
    return (
        f"Note: {bundle.info.name} {bundle.info.version}, which this starts from, was trained on "
        f"data called {name} too, but with other images held out. It may have learned from images "
        "that are held out now, and the figures of this model would be too good. With "
        "--start-from, the same images of DATA are held out.\n"
    )


def _data_split_otherwise(bundle: Bundle, parts: list[tuple[str, Dataset, Split]]) -> str | None:
    """Return the name of a data set of which the bundle held out other images, as it recorded."""
    also = bundle.info.data.get("also")
    records = [bundle.info.data, *(also if isinstance(also, list) else [])]
    digests: dict[object, set[object]] = {}  # two data sets may have folders of the same name
    for record in records:
        match record:
            case {"source": source, "split": {"digest": digest}}:
                digests.setdefault(source, set()).add(digest)
    for name, dataset, split in parts:
        if name in digests and split.digest(dataset) not in digests[name]:
            return name
    return None


def _open_in_turn(run: Run) -> Trainer:
    """Open the trainer in the main process first, so that images are decoded only once."""
    shared = torch.distributed.is_initialized()
    if shared and not is_main_process():
        torch.distributed.barrier()
    trainer = open_trainer(run)
    if is_main_process():
        trainer.save()
        run.remove_leftovers()
        if shared:
            torch.distributed.barrier()
    return trainer


@contextmanager
def _connected_processes() -> Iterator[None]:
    """Connect the processes of `accelerate launch` and give each its GPU; alone, do nothing."""
    if num_distrib() < 2:
        yield
        return
    # The others wait while the main process decodes or exports, which may take long.
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
        options = replace(options, out=Path(scratch) / "run", lr=None)
        trainer = open_trainer(Run.create(options))
        trainer.save()
        suggestion = trainer.learning_rate(learner_for_finder(trainer))
        picture = folder / "lr-find.png"
        picture.write_bytes((trainer.run.folder / "lr-find.png").read_bytes())
    return suggestion, picture
