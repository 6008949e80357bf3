"""A run with its data and network in memory, and a `fit` that can be continued."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device, num_distrib

from shopwindow.bundle import bundled_model_path
from shopwindow.data.dataset import Dataset
from shopwindow.data.split import Split, split_images
from shopwindow.errors import DataError, TrainingError
from shopwindow.runs import Run, TrainingOptions
from shopwindow.runs.mix import TrainingMix
from shopwindow.runs.run_folder import StoppedError
from shopwindow.runs.start_from import check_agrees, note_start_and_card
from shopwindow.runs.training_data import check_labels, open_dataset, open_mix
from shopwindow.runs.training_options import DEFAULTS
from shopwindow.training.callbacks import KeepStatistics, WeightAverage
from shopwindow.training.checkpointing import Checkpoint, load_state, read_history, save_state
from shopwindow.training.columns_learner import ColumnsLearner, build_learner, is_main_process
from shopwindow.training.learning_rate import find_with_curve, single_process
from shopwindow.training.linear_head import accuracy_of, fit_linear_head
from shopwindow.training.loaders import build_loaders
from shopwindow.training.network import Classifier, Splitter, build_classifier
from shopwindow.training.warm_start import arch_of, is_bundle, load_bundle_weights

LAST_STAGE = "stage-2"  # of every recipe: the head first, then the whole network


def open_trainer(run: Run) -> Trainer:
    """Read the data of a run, split it, and build its network.

    Args:
        run: Its options decide everything; what is found out is noted in its facts.

    Raises:
        UsageError: An option does not fit the recipe or the data.
        DataError: The data cannot be used, or is no longer what the run was started with.
        TrainingError: The run does not fit the data or this number of processes any more.
    """
    options, defaults = run.options, DEFAULTS[run.options.recipe]
    note_start_and_card(run)
    weights = _start_weights(options)
    if "arch" not in run.facts:  # noted, since a bundle may be gone when the run continues
        run.facts["arch"] = options.arch or arch_of(weights) or defaults.arch
    size_px = options.size or defaults.size

    dataset = open_dataset(run, size_px)
    check_labels(dataset)
    split = _open_split(run, dataset)
    check_agrees(run, dataset, split)
    batch_size = _batch_size(options, len(split.train))
    is_finished = (run.folder / f"{LAST_STAGE}.pt").exists()
    mix = open_mix(run, dataset, split, batch_size=batch_size, learns=not is_finished)

    torch.manual_seed(options.seed)
    state = load_state(run.folder, "checkpoint")
    if not is_finished:
        _check_processes(run, state)
    has_begun = state is not None or (run.folder / "stage-1.pt").exists()
    model, splitter = _open_network(run, dataset, size_px, "none" if has_begun else weights)
    epochs = _epochs(options, len(split.train))
    return Trainer(
        run=run,
        mix=mix,
        weights=weights,
        epochs=epochs,
        batch_size=batch_size,
        device=default_device(),
        model=model,
        splitter=splitter,
        state=state,
        # Whoever removes the checkpoint goes back to the last finished stage.
        history=list(state["history"]) if state else read_history(run.folder),
        has_begun=has_begun,
        epochs_left=sum(epochs),
    )


def _start_weights(options: TrainingOptions) -> str:
    if options.start_from is not None:
        return str(options.start_from)
    weights = options.weights or DEFAULTS[options.recipe].weights
    return str(bundled_model_path()) if weights == "bundled" else weights


def _open_split(run: Run, dataset: Dataset) -> Split:
    path = run.folder / "split.json"
    if path.exists():
        return Split.read(path, dataset)
    method = run.options.split
    return split_images(dataset, seed=run.options.seed, method=method)  # type: ignore[arg-type]


def _batch_size(options: TrainingOptions, images: int) -> int:
    # Under `accelerate launch` the processes divide the images among them.
    per_process = images // max(1, int(num_distrib()))
    if per_process < 2:
        raise DataError(
            f"expected at least two images to train on for each process, found {per_process}; "
            "add images"
        )
    # At least eight steps an epoch, however few the images: a single step would change little.
    usual = min(DEFAULTS[options.recipe].batch_size, max(4, per_process // 8))
    return min(options.batch_size or usual, per_process)


def _epochs(options: TrainingOptions, images: int) -> tuple[int, ...]:
    defaults = DEFAULTS[options.recipe]
    if options.epochs:
        return options.epochs
    if options.start_from is not None:
        return defaults.more_epochs
    return (enough_epochs(images),) if options.recipe == "finetune" else defaults.epochs


def enough_epochs(images: int) -> int:
    """Return for how many epochs to fine-tune: the fewer images, the more often each is seen."""
    return int(min(20, max(6, round(300 / images**0.5))))


def _check_processes(run: Run, state: dict[str, Any] | None) -> None:
    now = max(1, num_distrib())
    before = now if state is None else state.get("processes", 1)
    if now != before:
        raise TrainingError(
            f"{run.folder}: expected {before} process(es), as the run was started with, "
            f"got {now}; the images of a batch depend on the number of processes"
        )


def _open_network(
    run: Run, dataset: Dataset, size_px: tuple[int, int], weights: str
) -> tuple[Classifier, Splitter]:
    vocabularies = {name: list(labels) for name, labels in dataset.vocabularies.items()}
    if run.facts.setdefault("vocabularies", vocabularies) != vocabularies:
        raise TrainingError(
            f"{run.folder}: expected the labels that the run was started with, but the data has "
            "others now; start a new run"
        )
    from_bundle = is_bundle(weights)
    model, splitter = build_classifier(
        run.facts["arch"],
        [len(labels) for labels in vocabularies.values()],
        size_px=size_px,
        weights="none" if from_bundle else weights,
        linear=run.options.recipe == "finetune",
    )
    if from_bundle:
        load_bundle_weights(model, Path(weights), vocabularies, size_px)
    return model, splitter


@dataclass
class Trainer:
    """A run with its data and network in memory; `open_trainer` makes one.

    Attributes:
        run: The run folder, options and facts.
        mix: The data.
        weights: `imagenet`, `none` or the path that the network started from.
        epochs: Epochs of each stage.
        batch_size: Images in a step, of one process.
        device: Where the network is trained.
        model: The network.
        splitter: Divides its parameters into groups with learning rates of their own.
        state: The checkpoint to continue from.
        history: A row for each epoch, of all stages.
        has_begun: Whether the run has weights of its own; those it started from may be gone.
        epochs_left: Epochs of the stages that are not finished.
    """

    run: Run
    mix: TrainingMix
    weights: str
    epochs: tuple[int, ...]
    batch_size: int
    device: torch.device
    model: Classifier
    splitter: Splitter
    state: dict[str, Any] | None
    history: list[dict[str, Any]]
    has_begun: bool
    epochs_left: int

    @property
    def options(self) -> TrainingOptions:
        """What the run was asked to do."""
        return self.run.options

    @property
    def dataset(self) -> Dataset:
        """The main data set."""
        return self.mix.dataset

    @property
    def split(self) -> Split:
        """The split of the main data set."""
        return self.mix.split

    @property
    def arch(self) -> str:
        """A torchvision or timm name."""
        return str(self.run.facts["arch"])

    def learner(self, **settings: Any) -> ColumnsLearner:
        """Return the fastai learner; `settings` are those of `build_learner`."""
        loaders = build_loaders(
            self.mix,
            self.batch_size,
            seed=self.options.seed,
            device=self.device,
            path=self.run.folder,
        )
        learn = build_learner(self.mix, loaders, self.model, self.splitter, self.run, **settings)
        if is_bundle(self.weights):
            learn.add_cb(KeepStatistics())
        return learn

    def learning_rate(self, learn: ColumnsLearner) -> float:
        """Return the learning rate that was given, or found before, or is found now by fastai.

        The suggestion is the "valley": a point in the longest falling stretch of the loss
        (fastai's default since 2021). The curve is saved as lr-find.png.
        """
        if self.options.lr is not None:
            return self.options.lr
        if "learning_rate" not in self.run.facts:
            found = torch.zeros(1, dtype=torch.float64, device=self.device)
            if is_main_process():
                with single_process():
                    found += find_with_curve(learn, self.run.folder / "lr-find.png")
            if torch.distributed.is_initialized():
                torch.distributed.broadcast(found, src=0)
            self.run.facts["learning_rate"] = float(found)
            self.save()
        return float(self.run.facts["learning_rate"])

    def fit_linear_head(self, stage: str) -> None:
        """Fit the last layer to the features of the frozen body, or load it if that was done.

        A training that starts from a bundle of the same labels keeps the head of the bundle.
        """
        done = load_state(self.run.folder, stage)
        if done is None:
            if self.options.start_from is None:
                fit_linear_head(self.model, self.mix)
            done = {"model": self.model.state_dict()}
            if is_main_process():
                save_state(self.run.folder, stage, done)
        self.model.load_state_dict(done["model"])

    def keep_the_better(self, before: str, after: str) -> None:
        """Go back to the weights before a stage if they are right on more held-out images."""
        if not is_main_process():  # the others neither evaluate nor export
            return
        facts = self.run.facts
        if "kept" not in facts:
            accuracies = {}
            for stage in (before, after):
                state = load_state(self.run.folder, stage)
                assert state is not None  # noqa: S101 (both stages are finished)
                self.model.load_state_dict(state["model"])
                accuracies[stage] = accuracy_of(self.model, self.dataset, self.split.valid)
            facts["kept"] = before if accuracies[before] > accuracies[after] else after
            facts["right"] = accuracies
            self.save()
        state = load_state(self.run.folder, facts["kept"])
        assert state is not None  # noqa: S101
        self.model.load_state_dict(state["model"])

    def fit(
        self,
        learn: ColumnsLearner,
        stage: str,
        epochs: int,
        lr: float | slice,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        """Train for one cycle, continue where a killed run stopped, or load what is finished.

        Args:
            learn: The learner, with the right layers frozen.
            stage: Name of the stage, and of the weights that it saves.
            epochs: Epochs of the cycle.
            lr: Peak learning rate, or a slice of it from the first to the last layers.
            callbacks: Further callbacks of this stage.

        Raises:
            StoppedError: The user asked to stop.
        """
        done = load_state(self.run.folder, stage)
        if done is not None:
            learn.model.load_state_dict(done["model"])
            self.epochs_left -= epochs
            return
        state = self.state if self.state and self.state["stage"] == stage else None
        checkpoint = Checkpoint(
            self.run.folder, stage, epochs, self.epochs_left, state, self.history
        )
        for callback in callbacks:
            if isinstance(callback, WeightAverage) and state is not None:
                callback.average = list(state["average"]["tensors"])
                callback.steps = int(state["average"]["steps"])
        if stage != "stage-1" and self._worth_compiling(epochs * len(learn.dls.train)):
            self.model.compile_body()
        with learn.distributed_if_launched(), checkpoint.stoppable():
            learn.fit_one_cycle(
                epochs, lr, cbs=[*callbacks, checkpoint], start_epoch=checkpoint.start_epoch
            )
        if checkpoint.diverged:
            raise TrainingError(
                f"{stage}: expected a finite training loss, but the network diverged; start a new "
                "run with a smaller --lr"
            )
        if checkpoint.stop_requested:
            raise StoppedError(self.run.folder)
        self.epochs_left -= epochs
        if is_main_process():
            save_state(self.run.folder, stage, {"model": learn.model.state_dict()})

    def _worth_compiling(self, steps: int) -> bool:
        """Whether a stage of so many steps saves more than the minute or two of compiling."""
        compiler = shutil.which("c++") or shutil.which("g++")
        depthwise = self.arch.startswith("tf_efficientnet_lite")
        return self.device.type == "cpu" and depthwise and bool(compiler) and steps >= 500

    def save(self) -> None:
        """Write run.json and split.json, in the main process."""
        if is_main_process():
            self.run.save()
            split = self.run.folder / "split.json"
            if not split.exists():
                self.split.write(split, self.dataset)
