"""Compare two bundles on a data set: read it, find what is fair to both, ask both, add up.

`shopwindow.evaluation.comparison` gets arrays; this is where they come from.
"""

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
from shopwindow.evaluation.comparison import Compared, Comparison, compare_answers
from shopwindow.evaluation.summary import aligned, percent, printable
from shopwindow.fairness import Part, choose_images
from shopwindow.grading import allowed_in, ask_bundle, read_dataset
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import counted

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
            "a": _named(self.a) | {"engine": self.engines[0]},
            "b": _named(self.b) | {"engine": self.engines[1]},
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
    readings: tuple[DataSpec, DataSpec],
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
        b: The second, which is what figures are the lead of.
        data: As for `load_dataset`.
        readings: How to read `data`: for A, whose labels count, and for B, to find out which
            images B learned from.
        part: `valid` or None compares on images that are in the validation part of each bundle that
            was trained on `data`; `all` compares on every image.
        cache_dir: As for `load_dataset`.
        progress: Whether to show progress on stderr.
        engine: What runs the bundles; see `choose_engine`.

    Raises:
        UsageError: `part` is `valid`, but a bundle was not trained on `data`.
        DataError: No image is fair to both.
    """
    asked = [Predictor(bundle, engine=engine) for bundle in (a, b)]  # fails early, if at all
    dataset = read_dataset(a, readings[0], cache_dir=cache_dir, progress=progress)
    other = dataset
    # A split is found again only in data that was read as for the training, at the same size.
    if (b.info.rule, readings[1]) != (a.info.rule, readings[0]):
        other = read_dataset(b, readings[1], cache_dir=cache_dir, progress=progress)
    chosen_a, part_a, notes_a = choose_images(dataset, a, part)
    chosen_b, part_b, notes_b = choose_images(other, b, part)
    fair_to_b = {other.references[index] for index in chosen_b}
    indices = np.array([i for i in chosen_a if dataset.references[i] in fair_to_b], np.int64)
    parts = [part_a] if part_a == part_b else [f"{part_a} for A", f"{part_b} for B"]
    notes = [f"A: {note}" for note in notes_a] + [f"B: {note}" for note in notes_b]

    column = dataset.label_columns[0]
    labels = dataset.vocabularies[column]
    known = [set(bundle.info.main.labels) for bundle in (a, b)]
    allowed = allowed_in(dataset, column, indices)
    if count := int((~allowed.any(axis=1)).sum()):
        notes.append(f"{count:,} images were left out: they show none of the labels")
    strange = [
        np.array([label not in labels_known for label in labels], np.bool_)
        for labels_known in known
    ]
    for name, unknown in zip("AB", strange, strict=True):
        if count := int((allowed & unknown).any(axis=1).sum()):
            names = [labels[code] for code in np.flatnonzero((allowed & unknown).any(axis=0))]
            notes.append(
                f"{count:,} images were left out: {name} does not know their labels "
                f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
            )
    fair = allowed.any(axis=1) & ~(allowed & (strange[0] | strange[1])).any(axis=1)
    indices, allowed = indices[fair], allowed[fair]
    if not len(indices):
        raise DataError(
            "expected images that neither model learned from, with labels that both know, found "
            f"none in {data}; compare on other data, or on all of it with --part all"
        )
    for name, others in (("A", known[0] - known[1]), ("B", known[1] - known[0])):
        if others:
            notes.append(
                f"{name} alone knows {len(others):,} more labels, and every answer with one of "
                "them is wrong here"
            )
    right_a, right_b = (
        right_answers(one, dataset, indices, allowed, progress=progress) for one in asked
    )
    single = allowed.sum(axis=1) == 1
    targets = np.where(single, allowed.argmax(axis=1), -1)
    occurring = len(np.unique(targets[single]))
    return BundleComparison(
        a=a,
        b=b,
        data=f"{data.resolve().name}: {counted(len(dataset), 'image')}",
        compared=(
            f"{counted(len(indices), 'image')} with {counted(occurring, 'label')} that both know, "
            f"of "
            f"{' and '.join(parts)}"
        ),
        notes=tuple(notes),
        comparison=compare_answers(right_a, right_b, targets, labels),
        engines=(asked[0].engine_name, asked[1].engine_name),
    )


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
    return printable(lines)


def figure_lines(compared: Compared, titles: tuple[str, str, str]) -> list[str]:
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


def verdict(overall: Compared) -> str:
    """Say in a sentence which is better, or that these images cannot tell."""
    counts = overall.counts
    if overall.better is None:
        return (
            f"Neither is shown to be better: a lead of {_points(counts.difference)} points on "
            f"{counts.images:,} images may be chance."
        )
    lead = abs(counts.difference)
    return f"{overall.better.upper()} is better, by {100 * lead:.2f} points."


def right_answers(
    predictor: Predictor,
    dataset: Dataset,
    indices: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    *,
    progress: bool,
) -> NDArray[np.bool_]:
    """Ask a bundle about n images, through the predictor that serves it.

    Args:
        predictor: Of the bundle, whose main column is asked.
        dataset: Its main column has the labels that are right.
        indices: (n,) which images.
        allowed: (n, C) which labels of the data set are right for each; maybe none of them.
        progress: Whether to show progress on stderr.

    Returns:
        (n,) bool: whether the most probable label is right; where none is, whether it is not sure.
    """
    info = predictor.bundle.info
    main = info.main
    answers = ask_bundle(predictor, dataset, indices, progress=progress)[main.name]
    labels = dataset.vocabularies[dataset.label_columns[0]]
    code_of = {label: code for code, label in enumerate(labels)}
    codes = np.array([code_of.get(label, -1) for label in main.labels], np.int64)
    given = codes[answers.argmax(axis=1)]
    right: NDArray[np.bool_] = (given >= 0) & allowed[np.arange(len(given)), given]
    for index in np.flatnonzero(~allowed.any(axis=1)):
        right[index] = not info.threshold.is_sure(float(answers[index].max()))
    return right


def _named(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.info.name, "version": bundle.info.version, "sha256": bundle.sha256}


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _range(one: Compared) -> str:
    return " to ".join(_points(edge) for edge in one.interval)
