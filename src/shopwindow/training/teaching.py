"""Learning from the answers of other models: distillation.

A teacher's answer says more than a label: that this shirt looks a little like a blouse, and that
one like nothing else (Hinton, Vinyals, Dean 2015, arXiv:1503.02531). Teacher and network see the
very same pixels, turned and warped by chance (Beyer et al. 2021, arXiv:2106.05237), and the teacher
also their mirror image: what flips at test time would gain is learnt once instead of paid with
every answer.

A teacher is a bundle that `shopwindow train` made. It is rebuilt in PyTorch, so it runs where the
network is trained, in the same precision; none of it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fastai.callback.core import Callback
from torch import Tensor, nn
from torch.nn import functional as F

from shopwindow.bundle import Bundle, LabelColumn, read_bundle
from shopwindow.dataset.dataset import Dataset
from shopwindow.dataset.split import Split
from shopwindow.errors import UsageError
from shopwindow.training.callbacks import GrowImages, fast_dtype, resized
from shopwindow.training.held_out import find_other_split
from shopwindow.training.loss import ColumnsLoss
from shopwindow.training.network import Classifier, build_classifier
from shopwindow.training.options import RECIPES
from shopwindow.training.warm_start import load_bundle_weights

Answers = tuple[Tensor | None, ...]  # per label column (B, C) probabilities, None for no teacher


@dataclass(frozen=True)
class Teacher:
    """A trained network that is asked about what another one learns from.

    Attributes:
        bundle: What it was rebuilt from.
        model: In evaluation mode, without gradients.
        picks: Per label column of the training (C,) int64: which of its logits belong to the labels
            of the training; None for a column that it does not have.
    """

    bundle: Bundle
    model: Classifier
    picks: tuple[Tensor | None, ...]

    def describe(self) -> dict[str, str]:
        """Return what the card says about it."""
        info = self.bundle.info
        return {"name": info.name, "version": info.version, "sha256": self.bundle.sha256}


def open_teacher(path: Path, parts: Sequence[tuple[str, Dataset, Split]]) -> Teacher:
    """Rebuild the network of a bundle, and check that it can teach.

    Args:
        path: A bundle that `shopwindow train` made.
        parts: Name, images and split of the data sets of the training; the main one first.

    Raises:
        BundleError: The file is no bundle.
        UsageError: It was not made by `shopwindow train`, lacks labels, sees images of other
            proportions, or has learned from images that are held out here.
        WeightsError: Its weights are not those of its architecture.
    """
    bundle = read_bundle(path)
    info = bundle.info
    arch = info.training.get("arch")
    if info.training.get("recipe") not in RECIPES or not isinstance(arch, str):
        raise UsageError(
            f"--distil {path}: expected a bundle that shopwindow train made, whose network can be "
            f"rebuilt, found the recipe {info.training.get('recipe')!r}; train a teacher first"
        )
    _, dataset, _ = parts[0]
    rule, own = info.rule, dataset.rule
    # To within a pixel: both were rounded.
    skewed = abs(rule.height_px * own.width_px - rule.width_px * own.height_px) > max(
        rule.height_px, rule.width_px, own.height_px, own.width_px
    )
    if skewed or rule.method != own.method:
        raise UsageError(
            f"--distil {path}: expected a teacher for images of the proportions "
            f"{own.height_px}x{own.width_px} ({own.method}), found {rule.height_px}x"
            f"{rule.width_px} ({rule.method}); choose --size alike"
        )
    if (name := find_other_split(bundle, parts)) is not None:
        raise UsageError(
            f"--distil {path}: expected a teacher for which the same images of {name} were held "
            "out, or it has learned from those that judge this model; train it on the same data "
            "with the same --seed and --split"
        )
    picks = _pick_labels(info.columns, dataset, path)
    vocabularies = {column.name: column.labels for column in info.columns}
    size_px = (rule.height_px, rule.width_px)
    model, _ = build_classifier(arch, [len(v) for v in vocabularies.values()], size_px=size_px)
    load_bundle_weights(model, path, vocabularies, np.empty((0, *size_px, 3), np.uint8))
    return Teacher(bundle, model.eval().requires_grad_(False), picks)


def _pick_labels(
    columns: Sequence[LabelColumn], dataset: Dataset, path: Path
) -> tuple[Tensor | None, ...]:
    """Find the labels of the training among the logits of a teacher, column by column."""
    first: dict[str, int] = {}  # where the logits of each column of the teacher begin
    total = 0
    for column in columns:
        first[column.name] = total
        total += len(column.labels)
    further = {column.name: column for column in columns[1:]}
    picks: list[Tensor | None] = []
    for position, (name, labels) in enumerate(dataset.vocabularies.items()):
        # Main columns belong together whatever they are called.
        theirs = columns[0] if position == 0 else further.get(name)
        if theirs is None:
            picks.append(None)
            continue
        at = {label: number for number, label in enumerate(theirs.labels, first[theirs.name])}
        if missing := [label for label in labels if label not in at]:
            raise UsageError(
                f"--distil {path}: expected a teacher that knows all labels of {name}, but "
                f"{len(missing)} of {len(labels)} are missing, such as {', '.join(missing[:3])}; "
                "train it on the same data"
            )
        picks.append(torch.tensor([at[label] for label in labels]))
    return tuple(picks)


class Distil(Callback):  # type: ignore[misc]
    """Asks the teachers about each batch of a training, and hands their mean to the loss.

    Every step costs two forward passes of each teacher.

    Args:
        teachers: At least one.
        temperature: By which logits are divided; above 1, small probabilities tell more.
    """

    order = GrowImages.order - 1  # a teacher sees images in full size
    run_valid = False

    def __init__(self, teachers: Sequence[Teacher], temperature: float) -> None:
        self.teachers, self.temperature = tuple(teachers), temperature
        self.picks = [teacher.picks for teacher in self.teachers]

    def before_fit(self) -> None:
        """Bring the teachers to where the network is."""
        device = self.learn.dls.device
        for teacher in self.teachers:
            teacher.model.to(device).to(memory_format=torch.channels_last)
        self.picks = [
            tuple(None if pick is None else pick.to(device) for pick in picks)
            for picks in self.picks
        ]

    def before_batch(self) -> None:
        """Put the answers beside the labels."""
        self.learn.yb = (*self.learn.yb, self.answers(self.learn.x))

    @torch.no_grad()
    def answers(self, images: Tensor) -> Answers:
        """(B, 3, H, W) RGB in [0, 1] -> the mean answer of all teachers that have the column."""
        found: list[list[Tensor]] = [[] for _ in self.picks[0]]
        dtype = fast_dtype(images.device)
        for teacher, picks in zip(self.teachers, self.picks, strict=True):
            rule = teacher.bundle.info.rule
            pixels = resized(images, (rule.height_px, rule.width_px))
            for view in (pixels, pixels.flip(-1)):
                with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
                    logits = teacher.model(view)
                for column, pick in zip(found, picks, strict=True):
                    if pick is not None:
                        chosen = logits.float()[:, pick] / self.temperature
                        column.append(chosen.softmax(dim=1))
        return tuple(torch.stack(column).mean(0) if column else None for column in found)


class TaughtLoss(nn.Module):
    """The usual loss, and how far the network's answers are from those of the teachers.

    `(1 - weight) * usual + weight * T^2 * KL(teachers || network)`, both at the temperature T, in
    each label column that a teacher has. The square keeps gradients of one size (Hinton et al.).
    Where an image has no label in a column, the teachers' answer is all there is to learn from.
    A picture that shows none of the labels is to be doubted whatever a teacher says about it: its
    target in the main column is the even distribution, and it has none in the others.

    Args:
        usual: The loss without teachers.
        weight: Of the teachers, 0 to 1.
        temperature: That of `Distil`.
    """

    y_int = True  # as those of the usual loss

    def __init__(self, usual: ColumnsLoss, *, weight: float, temperature: float) -> None:
        super().__init__()
        self.usual, self.weight, self.temperature = usual, weight, temperature

    def forward(self, logits: Tensor, codes: Tensor, answers: Answers | None = None) -> Tensor:
        """(B, sum(sizes)) logits, (B, columns) codes -> a scalar; without answers, the usual one.

        Args:
            logits: Of the network.
            codes: -1 where missing.
            answers: From `Distil`; there are none in validation.
        """
        losses = self.usual.by_column(logits, codes)
        if answers is None:
            return self.usual.combine(losses)
        nothing = self.usual.shows_nothing(codes)
        for number, (part, answer) in enumerate(
            zip(self.usual.split(logits), answers, strict=True)
        ):
            if answer is not None:
                if number == 0:
                    even = torch.full_like(answer, 1 / answer.shape[1])
                    apart = self._divergence(part, even.where(nothing[:, None], answer)).mean()
                else:
                    each = self._divergence(part, answer).where(~nothing, 0.0)
                    apart = each.sum() / (~nothing).sum().clamp(min=1)
                losses[number] = (1 - self.weight) * losses[number] + self.weight * apart
        return self.usual.combine(losses)

    def _divergence(self, logits: Tensor, answer: Tensor) -> Tensor:
        """(B, C) logits and probabilities -> (B,)."""
        own = (logits / self.temperature).log_softmax(dim=1)
        return self.temperature**2 * F.kl_div(own, answer, reduction="none").sum(dim=1)
