"""What the recipes work with: data, split, network and run, and a `fit` that can be continued."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device, num_distrib

from shopwindow.bundle import bundled_model_path, read_bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.split import Split, split_images
from shopwindow.errors import DataError, TrainingError
from shopwindow.training.callbacks import Checkpoint, KeepStatistics, WeightAverage
from shopwindow.training.learner import ColumnsLearner, build_learner, is_main_process
from shopwindow.training.learning_rate import find_with_curve, single_process
from shopwindow.training.linear_head import accuracy_of, fit_linear_head
from shopwindow.training.loaders import build_loaders
from shopwindow.training.network import Classifier, Splitter, build_classifier
from shopwindow.training.options import DEFAULTS, read_card
from shopwindow.training.reading import check_labels, open_dataset, open_mix
from shopwindow.training.run import Run, StoppedError
from shopwindow.training.start_from import check_agrees, describe_start
from shopwindow.training.warm_start import arch_of, is_bundle, load_bundle_weights

LAST_STAGE = "stage-2"  # of every recipe: the head first, then the whole network


def enough_epochs(images: int) -> int:
    """Return for how many epochs to fine-tune: the fewer images, the more often each is seen."""
    return int(min(20, max(6, round(300 / images**0.5))))


class Trainer:
    """A run with its data and network in memory.

    Args:
        run: The run; its options decide everything.

    Raises:
        UsageError: An option does not fit the recipe or the data.
        DataError: The data cannot be used, or is no longer what the run was started with.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        options = self.options = run.options
        defaults = DEFAULTS[options.recipe]
        self.weights = options.weights or defaults.weights
        if self.weights == "bundled":
            self.weights = str(bundled_model_path())
        self.epochs = options.epochs or defaults.epochs
        if options.start_from is not None:
            self.weights = str(options.start_from)
            self.epochs = options.epochs or defaults.more_epochs
            if "start" not in run.facts:
                run.facts["start"] = describe_start(read_bundle(options.start_from))
        if "arch" not in run.facts:  # noted, since a bundle may be gone when the run goes on
            run.facts["arch"] = options.arch or arch_of(self.weights) or defaults.arch
        self.arch: str = run.facts["arch"]
        self.size = options.size or defaults.size
        if "card" not in run.facts:
            inherited = run.facts["start"]["card"] if options.start_from else {}
            run.facts["card"] = read_card(options.card) if options.card else inherited
        self.dataset = open_dataset(options, self.size)
        check_labels(self.dataset)
        self.split = self._split()
        if options.start_from is not None:
            check_agrees(run.facts["start"], self.dataset, self.split)
        # Under `accelerate launch` each process has its share, and needs a batch of it.
        share = len(self.split.train) // max(1, num_distrib())
        if share < 2:
            raise DataError(
                f"expected at least two images to train on for each process, found {share}; "
                "add images"
            )
        # Eight steps an epoch or more, however few the images: one would hardly move anything.
        usual = min(defaults.batch_size, max(4, share // 8))
        self.batch_size = min(options.batch_size or usual, share)
        if options.recipe == "finetune" and not (options.epochs or options.start_from):
            self.epochs = (enough_epochs(len(self.split.train)),)
        self.mix = open_mix(
            run, self.dataset, self.split, batch_size=self.batch_size, learns=not self._is_finished
        )
        self.device: torch.device = default_device()
        torch.manual_seed(options.seed)
        self.state = run.load_tensors("checkpoint")
        self._check_processes()
        # Who removes the checkpoint goes back to the last finished stage.
        self.history: list[dict[str, Any]] = (
            list(self.state["history"]) if self.state else run.read_history()
        )
        self.epochs_left = sum(self.epochs)
        self.model, self._splitter = self._network()

    def _split(self) -> Split:
        path = self.run.folder / "split.json"
        if path.exists():
            return Split.read(path, self.dataset)
        return split_images(
            self.dataset,
            seed=self.options.seed,
            method=self.options.split,  # type: ignore[arg-type]
        )

    @property
    def parts(self) -> list[tuple[str, Dataset, Split]]:
        """Name, images and split of the data sets; the main one first."""
        extras = self.mix.extras
        return [
            (self.options.data.name, self.dataset, self.split),
            *((extra.spec.data.name, extra.dataset, extra.split) for extra in extras),
        ]

    @property
    def has_begun(self) -> bool:
        """Whether the run has weights of its own; those it started from may be gone by now."""
        return self.state is not None or (self.run.folder / "stage-1.pt").exists()

    @property
    def _is_finished(self) -> bool:
        return (self.run.folder / f"{LAST_STAGE}.pt").exists()

    def _check_processes(self) -> None:
        now = max(1, num_distrib())
        before = now if self.state is None else self.state.get("processes", 1)
        if now != before and not self._is_finished:
            raise TrainingError(
                f"{self.run.folder}: expected {before} process(es), as the run was started with, "
                f"got {now}; a batch means another set of images for each number of processes"
            )

    def _network(self) -> tuple[Classifier, Splitter]:
        vocabularies = {name: list(v) for name, v in self.dataset.vocabularies.items()}
        known = self.run.facts.setdefault("vocabularies", vocabularies)
        if known != vocabularies:
            raise TrainingError(
                f"{self.run.folder}: expected the labels that the run was started with, but the "
                "data has others now; start a new run"
            )
        weights = "none" if self.has_begun else self.weights
        from_bundle = is_bundle(weights)
        model, splitter = build_classifier(
            self.arch,
            [len(v) for v in vocabularies.values()],
            size_px=self.size,
            weights="none" if from_bundle else weights,
            linear=self.options.recipe == "finetune",
        )
        if from_bundle:
            load_bundle_weights(model, Path(weights), vocabularies, self.size)
        return model, splitter

    def learner(self, **settings: Any) -> ColumnsLearner:
        """Return the fastai learner; `settings` are those of `build_learner`."""
        loaders = build_loaders(
            self.mix,
            self.batch_size,
            seed=self.options.seed,
            device=self.device,
            path=self.run.folder,
        )
        learn = build_learner(self.mix, loaders, self.model, self._splitter, self.run, **settings)
        if is_bundle(self.weights):
            learn.add_cb(KeepStatistics())
        return learn

    def learning_rate(self, learn: ColumnsLearner) -> float:
        """The learning rate given, found before, or found now with fastai's finder.

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
        """Fit the last layer on the features of the body as it is, or load it where it is done.

        A training that starts from a bundle of the same labels has a head already, and keeps it.
        """
        done = self.run.load_tensors(stage)
        if done is None:
            if self.options.start_from is None:
                fit_linear_head(self.model, self.mix)
            done = {"model": self.model.state_dict()}
            if is_main_process():
                self.run.save_tensors(stage, done)
        self.model.load_state_dict(done["model"])

    def keep_the_better(self, before: str, after: str) -> None:
        """Go back to the weights before a stage, where they are right on more held-out images."""
        if not is_main_process():  # the others neither judge nor export
            return
        facts = self.run.facts
        if "kept" not in facts:
            shares = {}
            for stage in (before, after):
                state = self.run.load_tensors(stage)
                assert state is not None  # noqa: S101 (both stages have been saved)
                self.model.load_state_dict(state["model"])
                shares[stage] = accuracy_of(self.model, self.dataset, self.split.valid)
            facts["kept"] = before if shares[before] > shares[after] else after
            facts["right"] = shares
            self.save()
        state = self.run.load_tensors(facts["kept"])
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
        """Train for one cycle, or go on where a killed run stood, or pass where it is done.

        Args:
            learn: The learner, with the right layers frozen.
            stage: Name of the stage, and of the weights it leaves.
            epochs: Epochs of the cycle.
            lr: Peak learning rate, or a slice of it from the first to the last layers.
            callbacks: What this stage needs besides.

        Raises:
            StoppedError: The user asked to stop.
        """
        done = self.run.load_tensors(stage)
        if done is not None:
            learn.model.load_state_dict(done["model"])
            self.epochs_left -= epochs
            return
        state = self.state if self.state and self.state["stage"] == stage else None
        checkpoint = Checkpoint(self.run, stage, epochs, self.epochs_left, state, self.history)
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
            self.run.save_tensors(stage, {"model": learn.model.state_dict()})

    def _worth_compiling(self, steps: int) -> bool:
        """Whether a minute or two of compiling come back within a stage of so many steps."""
        compiler = shutil.which("c++") or shutil.which("g++")
        depthwise = self.arch.startswith("tf_efficientnet_lite")
        return self.device.type == "cpu" and depthwise and bool(compiler) and steps >= 500

    def save(self) -> None:
        """Write what the run has found out, from the main process."""
        if is_main_process():
            self.run.save()
            split = self.run.folder / "split.json"
            if not split.exists():
                self.split.write(split, self.dataset)
