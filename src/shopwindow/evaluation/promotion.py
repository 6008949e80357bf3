"""Is a new bundle no worse than the one in service? The images, the figures and the rule.

Two sets of images decide. The held-out part of the training data, from which neither bundle has
learned, says how good they are. The corrections say whether the new one knows what people have
corrected; it may have learned from those, and should.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError, PromotionError
from shopwindow.evaluation.asking import open_predictor
from shopwindow.evaluation.comparison import ask_both, figure_lines, read_for_both
from shopwindow.evaluation.leakage import exposure_of
from shopwindow.evaluation.measuring import is_no_better_than_commonest
from shopwindow.evaluation.significance import PairedTest
from shopwindow.inference.engine import EngineName
from shopwindow.plain_text import counted

# A loss that may be chance is accepted up to here, in points of accuracy.
MARGIN_POINTS = 0.5
_TITLES = ("in service", "new", "difference")


@dataclass(frozen=True)
class PromotionReport:
    """How a new bundle did compared with the one in service.

    Attributes:
        held_out: On the held-out images.
        corrections: On the corrections; None where there are none.
        margin_points: How many points of accuracy may be lost on the held-out images.
        notes: What else a reader must know.
        engines: What computed the answers, of the bundle in service and of the new one; see
            `Predictor.engine_name`.
        cross_validated: Whether the bundle in service has learned from the held-out images, and is
            graded on them by its out-of-fold predictions.
    """

    held_out: PairedTest
    corrections: PairedTest | None
    margin_points: float
    notes: tuple[str, ...]
    engines: tuple[str, str]
    cross_validated: bool = False

    @property
    def images(self) -> str:
        """What kind of images decide, in words."""
        return "cross-validated images" if self.cross_validated else "held-out images"

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the new bundle is worse, in words; empty where it may go into service."""
        lost = []
        points = 100 * self.held_out.counts.difference
        low, high = (100 * edge for edge in self.held_out.interval)
        if high < 0:
            lost.append(
                f"it is worse on the {self.images}, by {-points:.2f} points (95 % interval of "
                f"the difference {low:+.2f} to {high:+.2f})"
            )
        elif points < -self.margin_points:
            lost.append(
                f"it loses {-points:.2f} points on the {self.images}; at most "
                f"{self.margin_points:g} may be lost"
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
            f"{self.held_out.counts.images:,} {self.images}"
        ]
        lines += figure_lines(self.held_out, _TITLES)
        if self.corrections is None:
            lines.append("on no corrections")
        else:
            lines.append(f"on {counted(self.corrections.counts.images, 'correction')}")
            lines += figure_lines(self.corrections, _TITLES)
        return [*lines, *(f"  note: {note}" for note in self.notes)]


def compare_for_promotion(
    in_service: Bundle,
    new: Bundle,
    data: Path,
    *,
    specs: tuple[DataSpec, DataSpec],
    corrections: Path | None = None,
    margin_points: float = MARGIN_POINTS,
    cache_dir: Path | None = None,
    progress: bool = True,
    engine: EngineName = "auto",
) -> PromotionReport:
    """Ask both bundles about the held-out images and the corrections.

    Args:
        in_service: Its card names the held-out images.
        new: What is to replace it.
        data: What `in_service` was trained on.
        specs: How to read `data` as for the training of either.
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
            f"by its own figures it is right no more often than always predicting {commonest!r}; "
            "train it on more, or on better labelled, photos"
        )
    asked = open_predictor(in_service, engine), open_predictor(new, engine)  # fails early
    dataset, other = read_for_both(in_service, new, specs, cache_dir=cache_dir, progress=progress)
    held_out = _held_out(in_service, new, dataset, other, data)
    notes = list(_losses(in_service, new))
    compared = None
    if corrections is not None:
        with TemporaryDirectory(prefix="shopwindow-") as cache:
            # Photos of visitors: decoded for this, and kept nowhere.
            found = _read_corrections(corrections, in_service, new, Path(cache), progress, notes)
            if found is not None:
                everything = np.arange(len(found), dtype=np.int64)
                compared = ask_both(*asked, found, everything, progress=progress).overall
    return PromotionReport(
        held_out=ask_both(*asked, dataset, held_out, progress=progress).overall,
        corrections=compared,
        margin_points=margin_points,
        notes=tuple(notes),
        engines=(asked[0].engine_name, asked[1].engine_name),
        cross_validated=bool(exposure_of(in_service, dataset).out_of_fold[held_out].any()),
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


def _held_out(
    in_service: Bundle, new: Bundle, dataset: Dataset, other: Dataset, data: Path
) -> NDArray[np.int64]:
    """Return (n,) the images held out of the training of the one in service that may grade both.

    Args:
        in_service: Its card names them.
        new: Must not have learned from them.
        dataset: `data` as `in_service` sees it.
        other: `data` as `new` sees it.
        data: What was read.

    Raises:
        PromotionError: They cannot be found, or `new` may have learned from some of them.
    """
    if not in_service.info.data.get("split"):
        raise PromotionError(
            f"{in_service.info.name}: expected a bundle in service whose card names the images "
            "that were held out of its training, found none (an imported model has none); replace "
            "it by hand once, with a bundle from shopwindow train"
        )
    exposure = exposure_of(in_service, dataset)
    if not exposure.validation.any():
        raise PromotionError(
            f"--data {data}: expected the images that {in_service.info.name} was trained on, with "
            "the held-out ones that its card names, found others; give the data as it was then"
        )
    # To a cross-validated bundle, photos that came later are fair too. Of any other, only the
    # held-out images count, since the new bundle may well have learned from the rest.
    cross_validated = bool(exposure.out_of_fold.any())
    held_out = np.flatnonzero(exposure.fair if cross_validated else exposure.validation)
    unseen = {other.references[i] for i in np.flatnonzero(exposure_of(new, other).fair)}
    fair = np.array([i for i in held_out if dataset.references[i] in unseen], np.int64)
    if (learned := len(held_out) - len(fair)) and not (cross_validated and len(fair)):
        raise PromotionError(
            f"{new.info.name} {new.info.version}: expected a bundle that has not learned from the "
            f"{len(held_out):,} held-out images, but as far as its card says it may have from "
            f"{learned:,} of them; train it with --start-from the bundle in service"
        )
    return fair


def _losses(in_service: Bundle, new: Bundle) -> Iterator[str]:
    """Say what clients would miss, which accuracy does not show."""
    known = {column.name for column in new.info.columns[1:]}
    gone = [column.name for column in in_service.info.columns[1:] if column.name not in known]
    if gone:
        yield f"the new one does not answer {', '.join(gone)}"
    labels = set(new.info.main.labels)
    if missing := [label for label in in_service.info.main.labels if label not in labels]:
        more = ", ..." if len(missing) > 5 else ""
        yield (
            f"the new one lacks {counted(len(missing), 'label')} ({', '.join(missing[:5])}{more}), "
            "and is wrong on each image that has one"
        )
