"""Is a new bundle no worse than the one in service? The images, the figures and the rule.

Two sets of images decide. The held-out part of the training data, which the bundle in service
names by its digest and neither bundle has learned from, says how good they are. The corrections say
whether the new one knows what people have put right; it may have learned from those, and should.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Bundle
from shopwindow.comparing import figure_lines, right_answers
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.errors import BundleError, DataError, PromotionError, ShopwindowError
from shopwindow.evaluation.comparison import Compared, compare_answers
from shopwindow.fairness import standing_of
from shopwindow.grading import (
    allowed_in,
    is_no_better_than_commonest,
    read_dataset,
)
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import counted

# A loss that is too small to be told from chance is let pass up to here, in points of accuracy.
MARGIN_POINTS = 0.5
_TITLES = ("in service", "new", "difference")


@dataclass(frozen=True)
class PromotionReport:
    """How a new bundle fared beside the one in service.

    Attributes:
        held_out: On the held-out images.
        corrections: On the corrections; None where there are none.
        margin_points: How many points of accuracy may be lost on the held-out images.
        notes: What else a reader must know.
        engines: What computed the answers, of the bundle in service and of the new one; see
            `Predictor.engine_name`.
    """

    held_out: Compared
    corrections: Compared | None
    margin_points: float
    notes: tuple[str, ...]
    engines: tuple[str, str]

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the new bundle is worse, in words; empty where it may go into service."""
        lost = []
        points = 100 * self.held_out.counts.difference
        low, high = (100 * edge for edge in self.held_out.interval)
        if high < 0:
            lost.append(
                f"it is worse on the held-out images, by {-points:.2f} points (95 % interval of "
                f"the difference {low:+.2f} to {high:+.2f})"
            )
        elif points < -self.margin_points:
            lost.append(
                f"it loses {-points:.2f} points on the held-out images, and {self.margin_points:g} "
                "may be lost"
            )
        if self.corrections is not None and self.corrections.counts.difference < 0:
            counts = self.corrections.counts
            lost.append(
                f"it is right on {counts.both + counts.only_b:,} of "
                f"{counted(counts.images, 'correction')}, "
                f"and the one in service on {counts.both + counts.only_a:,}"
            )
        return tuple(lost)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        return {
            "held_out": self.held_out.as_json(),
            "corrections": None if self.corrections is None else self.corrections.as_json(),
            "margin_points": self.margin_points,
            "notes": list(self.notes),
            "engines": list(self.engines),
        }

    def lines(self) -> list[str]:
        """Return what a person wants to see in a terminal, as aligned lines."""
        lines = [
            f"with {' and '.join(dict.fromkeys(self.engines))}, on "
            f"{self.held_out.counts.images:,} held-out images"
        ]
        lines += figure_lines(self.held_out, _TITLES)
        if self.corrections is None:
            lines.append("on no corrections")
        else:
            lines.append(f"on {counted(self.corrections.counts.images, 'correction')}")
            lines += figure_lines(self.corrections, _TITLES)
        return [*lines, *(f"  note: {note}" for note in self.notes)]


def judge(
    in_service: Bundle,
    new: Bundle,
    data: Path,
    *,
    readings: tuple[DataSpec, DataSpec],
    corrections: Path | None = None,
    margin_points: float = MARGIN_POINTS,
    cache_dir: Path | None = None,
    progress: bool = True,
    engine: EngineName = "auto",
) -> PromotionReport:
    """Ask both bundles about the held-out images and the corrections.

    Args:
        in_service: Its card names the held-out images.
        new: What is to take its place.
        data: What `in_service` was trained on.
        readings: How to read `data` as for the training of either.
        corrections: A folder as `shopwindow feedback export` writes it.
        margin_points: Points of accuracy, 0 to 100, that may be lost on the held-out images.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundles; see `choose_engine`.

    Raises:
        PromotionError: The held-out images cannot be found again, `new` may have learned from
            them, or it is no better than always naming the commonest label.
        BundleError: `new` cannot be run.
        DataError: There are no images.
    """
    if is_no_better_than_commonest(new.info):
        commonest = new.info.quality["commonest"]["label"]
        raise PromotionError(
            f"{new.info.name} {new.info.version}: expected a model that has learned something, but "
            f"by its own figures it is right no more often than always answering {commonest!r}; "
            "train it on more, or on better labelled, photos"
        )
    asked = Predictor(in_service, engine=engine), _open(new, engine)  # fails early, if at all
    dataset = read_dataset(in_service, readings[0], cache_dir=cache_dir, progress=progress)
    held_out = _held_out(in_service, dataset, data)
    other = dataset
    # A split is found again only in data that was read as for the training, at the same size.
    if (new.info.rule, readings[1]) != (in_service.info.rule, readings[0]):
        other = read_dataset(new, readings[1], cache_dir=cache_dir, progress=progress)
    held_out = _fair_to_both(in_service, new, dataset, other, held_out)
    notes = list(_losses(in_service, new))
    compare = partial(_compare, *asked, progress=progress)
    compared = None
    if corrections is not None:
        with TemporaryDirectory(prefix="shopwindow-") as cache:
            # Photos of visitors: decoded for this, and kept nowhere.
            found = _read_corrections(corrections, in_service, new, Path(cache), progress, notes)
            if found is not None:
                everything = np.arange(len(found), dtype=np.int64)
                compared = compare(found, everything)
    return PromotionReport(
        held_out=compare(dataset, held_out),
        corrections=compared,
        margin_points=margin_points,
        notes=tuple(notes),
        engines=(asked[0].engine_name, asked[1].engine_name),
    )


def _read_corrections(
    folder: Path, in_service: Bundle, new: Bundle, cache: Path, progress: bool, notes: list[str]
) -> Dataset | None:
    labels = dict.fromkeys([*in_service.info.main.labels, *new.info.main.labels])
    try:
        found = DataSpec(folder).load(
            rule=in_service.info.rule,
            vocabularies={"label": tuple(labels)},
            cache_dir=cache,
            progress=progress,
        )
    except DataError as error:
        notes.append(f"no correction can be used: {error}")
        return None
    if found.dropped:
        notes.append(f"{len(found.dropped):,} corrections could not be used")
    return found


def _held_out(in_service: Bundle, dataset: Dataset, data: Path) -> NDArray[np.int64]:
    """Return (n,) the images that the bundle in service may be judged by."""
    if not in_service.info.data.get("split"):
        raise PromotionError(
            f"{in_service.info.name}: expected a bundle in service whose card names the images "
            "that were held out of its training, found none (an imported model has none); replace "
            "it by hand once, with one that shopwindow train made"
        )
    standing = standing_of(in_service, dataset)
    if not standing.judges.any():
        raise PromotionError(
            f"--data {data}: expected the images that {in_service.info.name} was trained on, with "
            "the held-out ones that its card names, found others; give the data as they were then"
        )
    # Of one that was cross-validated, photos that came since are as fair; those that another one
    # held out are to stay the only judges, since a new one may well have learned from the rest.
    return np.flatnonzero(standing.fair if standing.answered.any() else standing.judges)


def _fair_to_both(
    in_service: Bundle, new: Bundle, dataset: Dataset, other: Dataset, held_out: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those of the held-out images that the new bundle may be judged by too.

    Raises:
        PromotionError: It may have learned from some, and the one in service held them out: then
            they are to stay held out.
    """
    unseen = {other.references[i] for i in np.flatnonzero(standing_of(new, other).fair)}
    fair = np.array([i for i in held_out if dataset.references[i] in unseen], np.int64)
    learned = len(held_out) - len(fair)
    if learned and not (len(fair) and standing_of(in_service, dataset).answered.any()):
        raise PromotionError(
            f"{new.info.name} {new.info.version}: expected a bundle that has not learned from the "
            f"{len(held_out):,} held-out images, but as far as its card says it may have from "
            f"{learned:,} of them; train it with --start-from the bundle in service"
        )
    return fair


def _losses(in_service: Bundle, new: Bundle) -> Iterator[str]:
    """Say what clients would miss, which no accuracy shows."""
    known = {column.name for column in new.info.columns[1:]}
    gone = [column.name for column in in_service.info.columns[1:] if column.name not in known]
    if gone:
        yield f"the new one does not tell {', '.join(gone)}"
    labels = set(new.info.main.labels)
    if missing := [label for label in in_service.info.main.labels if label not in labels]:
        more = ", ..." if len(missing) > 5 else ""
        yield (
            f"the new one lacks {counted(len(missing), 'label')} ({', '.join(missing[:5])}{more}), "
            "and is wrong on each image that has one"
        )


def _compare(
    in_service: Predictor,
    new: Predictor,
    dataset: Dataset,
    indices: NDArray[np.int64],
    *,
    progress: bool,
) -> Compared:
    column = dataset.label_columns[0]
    allowed = allowed_in(dataset, column, indices)
    right_a = right_answers(in_service, dataset, indices, allowed, progress=progress)
    with _answering(new.bundle):
        right_b = right_answers(new, dataset, indices, allowed, progress=progress)
    targets = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    return compare_answers(right_a, right_b, targets, dataset.vocabularies[column]).overall


def _open(bundle: Bundle, engine: EngineName) -> Predictor:
    with _answering(bundle):
        return Predictor(bundle, engine=engine)


@contextlib.contextmanager
def _answering(bundle: Bundle) -> Iterator[None]:
    """Say of a bundle that cannot be run what to do about it."""
    try:
        yield
    except (ShopwindowError, OSError):
        raise
    except Exception as error:  # the engines' own classes share no base but Exception
        raise BundleError(
            f"{bundle.path}: expected a bundle that answers, found one that cannot be run "
            f"({str(error)[:200]}); export it again"
        ) from error
