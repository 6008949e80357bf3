"""Compare two bundles on a data set: read it, choose images fair to both, predict, and count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import Bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.errors import DataError
from shopwindow.evaluation.asking import allowed_in, open_predictor, right_answers
from shopwindow.evaluation.grading import read_dataset
from shopwindow.evaluation.leakage import Part, choose_images
from shopwindow.evaluation.significance import Comparison, PairedTest, compare_answers
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import aligned, counted, percent, printable

FORMAT = 1
SHOWN_LABELS = 20


@dataclass(frozen=True)
class BundleComparison:
    """Two bundles, compared on the same images.

    Attributes:
        a: The first bundle.
        b: The second.
        data: What was read.
        compared: Which images of it, and which labels, in words.
        notes: What else a reader must know, such as images that were left out and why.
        comparison: The figures.
        engines: What computed the answers of either; see `Predictor.engine_name`.
    """

    a: Bundle
    b: Bundle
    data: str
    compared: str
    notes: tuple[str, ...]
    comparison: Comparison
    engines: tuple[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON-ready data, in the shape that docs/evaluation.md promises."""
        return {
            "format": FORMAT,
            "a": self.a.named | {"engine": self.engines[0]},
            "b": self.b.named | {"engine": self.engines[1]},
            "data": self.data,
            "compared": self.compared,
            "notes": list(self.notes),
            **self.comparison.as_json(),
        }


def compare_bundles(
    a: Bundle,
    b: Bundle,
    data: Path,
    *,
    specs: tuple[DataSpec, DataSpec],
    part: Part | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
    engine: EngineName = "auto",
) -> BundleComparison:
    """Compare the main columns of two bundles, each through the predictor that serves it.

    An image is fair to both if neither learned from it, as far as the bundles say, and if its label
    is one that both can give. An answer is right if it is the image's label, or one of them.

    Args:
        a: The first bundle.
        b: The second; differences are its lead over the first.
        data: As for `load_dataset`.
        specs: How to read `data`: for A, whose labels count, and for B, to find out which
            images B learned from.
        part: `valid` or None compares on images that are in the validation part of each bundle that
            was trained on `data`; `all` compares on every image.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundles; see `choose_engine`.

    Raises:
        UsageError: `part` is `valid`, but a bundle was not trained on `data`.
        DataError: No image is fair to both.
        BundleError: One of the bundles cannot be run.
    """
    asked = open_predictor(a, engine), open_predictor(b, engine)  # fails early, if at all
    dataset, other = read_for_both(a, b, specs, cache_dir=cache_dir, progress=progress)
    chosen_a, part_a, notes_a = choose_images(dataset, a, part)
    chosen_b, part_b, notes_b = choose_images(other, b, part)
    fair_to_b = {other.references[index] for index in chosen_b}
    fair = np.array([i for i in chosen_a if dataset.references[i] in fair_to_b], np.int64)
    indices, label_notes = _with_labels_of_both(a, b, dataset, fair)
    if not len(indices):
        advice = "compare on other data"
        if part != "all" and not len(fair):
            advice += ", or on all of it with --part all"
        raise DataError(
            "expected images that neither model learned from, with labels that both know, found "
            f"none in {data} ({counted(len(fair), 'image')} without regard to labels); {advice}"
        )
    comparison = ask_both(*asked, dataset, indices, progress=progress)
    part_text = part_a if part_a == part_b else f"{part_a} for A and {part_b} for B"
    labels = counted(len(comparison.per_class), "label")
    return BundleComparison(
        a=a,
        b=b,
        data=f"{data.resolve().name}: {counted(len(dataset), 'image')}",
        compared=f"{counted(len(indices), 'image')} with {labels} that both know, of {part_text}",
        notes=(
            *(f"A: {note}" for note in notes_a),
            *(f"B: {note}" for note in notes_b),
            *label_notes,
        ),
        comparison=comparison,
        engines=(asked[0].engine_name, asked[1].engine_name),
    )


def read_for_both(
    a: Bundle,
    b: Bundle,
    specs: tuple[DataSpec, DataSpec],
    *,
    cache_dir: Path | None,
    progress: bool,
) -> tuple[Dataset, Dataset]:
    """Read a data set as each of two bundles sees it; once, where they see it alike.

    The split of a training is found again only in data that was read as for that training.
    """
    dataset = read_dataset(a, specs[0], cache_dir=cache_dir, progress=progress)
    if (a.info.rule, specs[0]) == (b.info.rule, specs[1]):
        return dataset, dataset
    return dataset, read_dataset(b, specs[1], cache_dir=cache_dir, progress=progress)


def ask_both(
    a: Predictor, b: Predictor, dataset: Dataset, indices: NDArray[np.int64], *, progress: bool
) -> Comparison:
    """Ask two bundles about the same n images, and compare how often each is right.

    Args:
        a: Serves the first bundle.
        b: Serves the second.
        dataset: Its main column has the labels that are right.
        indices: (n,) which images.
        progress: Whether to show progress on stderr.

    Raises:
        BundleError: One of the bundles cannot be run.
        DataError: There are no images.
    """
    column = dataset.label_columns[0]
    right_a, right_b = (
        right_answers(predictor, dataset, indices, progress=progress) for predictor in (a, b)
    )
    allowed = allowed_in(dataset, column, indices)
    targets = np.where(allowed.sum(axis=1) == 1, allowed.argmax(axis=1), -1)
    return compare_answers(right_a, right_b, targets, dataset.vocabularies[column])


def _with_labels_of_both(
    a: Bundle, b: Bundle, dataset: Dataset, indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return which of the images have labels that both know, and what a reader must know."""
    column = dataset.label_columns[0]
    labels, allowed = dataset.vocabularies[column], allowed_in(dataset, column, indices)
    known = [set(bundle.info.main.labels) for bundle in (a, b)]
    kept, notes = allowed.any(axis=1), []
    if count := int((~kept).sum()):
        notes.append(f"{counted(count, 'image')} left out: none of the labels is shown")
    for name, its_labels in zip("AB", known, strict=True):
        unknown = allowed & np.array([label not in its_labels for label in labels], np.bool_)
        kept &= ~unknown.any(axis=1)
        if count := int(unknown.any(axis=1).sum()):
            names = [labels[code] for code in np.flatnonzero(unknown.any(axis=0))]
            notes.append(
                f"{counted(count, 'image')} left out: with labels that {name} does not know "
                f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
            )
    for name, alone in (("A", known[0] - known[1]), ("B", known[1] - known[0])):
        if alone:
            notes.append(
                f"{name} alone knows {len(alone):,} more labels, and each time it predicts one "
                "of them counts as wrong here"
            )
    return indices[kept], notes


def format_comparison(found: BundleComparison) -> str:
    """Return what a person wants to see in a terminal, as aligned lines."""
    overall = found.comparison.overall
    lines = [
        f"A: {found.a.info.name} {found.a.info.version}, B: {found.b.info.name} "
        f"{found.b.info.version}",
        f"on {found.compared}",
        f"with {' and '.join(dict.fromkeys(found.engines))}",
        "",
        *figure_lines(overall, ("accuracy of A", "accuracy of B", "B - A")),
        "",
        verdict(overall),
    ]
    apart = sorted(
        found.comparison.per_class.items(),
        key=lambda item: (item[1].better is None, -abs(item[1].counts.difference)),
    )
    rows = [
        (
            label,
            f"{one.counts.images:,}",
            percent(one.counts.accuracy_a),
            percent(one.counts.accuracy_b),
            _points(one.counts.difference),
            _range(one),
            f"{one.p_value:.2g}",
            {"a": "A", "b": "B", None: ""}[one.better],
        )
        for label, one in apart[:SHOWN_LABELS]
    ]
    titles = ("label", "images", "A", "B", "B - A", "95 % interval", "p", "better")
    lines += ["", *aligned([titles, *rows], "<>>>>>><")]
    if len(apart) > SHOWN_LABELS:
        lines.append(f"  and {len(apart) - SHOWN_LABELS:,} more labels: --out writes all")
    if found.notes:
        lines += ["", *(f"  note: {note}" for note in found.notes)]
    return "\n".join(map(printable, lines))


def figure_lines(compared: PairedTest, titles: tuple[str, str, str]) -> list[str]:
    """Return the figures of two models as four aligned lines.

    Args:
        compared: The figures.
        titles: What to call the accuracy of either, and their difference.
    """
    counts = compared.counts
    a, b, lead, p = (f"  {title:<13}" for title in (*titles, "p"))
    return [
        f"{a}  {percent(counts.accuracy_a, 2):>8}   alone right on {counts.only_a:,}",
        f"{b}  {percent(counts.accuracy_b, 2):>8}   alone right on {counts.only_b:,}",
        f"{lead}  {_points(counts.difference):>8}   points; 95 % interval {_range(compared)}",
        f"{p}  {compared.p_value:>8.2g}   if they were equally good (McNemar, exact)",
    ]


def verdict(overall: PairedTest) -> str:
    """Say in a sentence which is better, or that these images cannot tell."""
    counts = overall.counts
    if overall.better is None:
        return (
            f"Neither is shown to be better: a lead of {_points(counts.difference)} points on "
            f"{counts.images:,} images may be chance."
        )
    lead = abs(counts.difference)
    return f"{overall.better.upper()} is better, by {100 * lead:.2f} points."


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _range(one: PairedTest) -> str:
    return " to ".join(_points(edge) for edge in one.interval)
