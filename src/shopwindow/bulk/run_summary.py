"""A summary of a bulk run, for a terminal and as a page."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from shopwindow.atomic_write import write_page
from shopwindow.bulk.inputs import parse_input
from shopwindow.bulk.outputs import Block, read_blocks
from shopwindow.bulk.pipeline import read_input
from shopwindow.errors import ImageError, UsageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import aligned, counted, percent, printable

BINS = 20
_LISTED = 12  # labels in the terminal
_MAX_REASONS = 1000  # different errors that are counted separately


@dataclass(frozen=True, slots=True)
class Unsure:
    """A prediction of low confidence, with the second most likely label."""

    path: str
    label: str
    confidence: float
    second: str
    second_confidence: float


@dataclass(slots=True)
class RunSummary:
    """The rows of a bulk run, counted.

    Attributes:
        name: Of the file or folder.
        images: How many images have a prediction.
        sure: How many of those are sure.
        labels: How many predictions each label has.
        sure_labels: How many sure predictions each label has.
        errors: How many inputs failed, by reason; after a thousand reasons, "other".
        histogram: int64 (20,), predictions by confidence from 0 to 1.
        least_sure: The predictions with the lowest confidence, lowest first.
    """

    name: str
    images: int = 0
    sure: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    sure_labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    least_sure: list[Unsure] = field(default_factory=list)


def summarise(output: Path, *, least_sure: int = 60) -> RunSummary:
    """Count the rows of an output, or of a folder of parts, in one pass and bounded memory.

    Args:
        output: What `shopwindow predict --output` wrote, in any of its formats.
        least_sure: How many of the least sure predictions to keep.

    Raises:
        UsageError: It is not such an output.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    summary = RunSummary(output.name)
    lowest: list[tuple[float, int, Unsure]] = []
    numbers = itertools.count()
    try:
        for block in read_blocks(output):
            _count(block, summary)
            _keep_lowest(block, lowest, least_sure, numbers)
    except OSError as error:
        raise UsageError(f"{output} cannot be read: {error.strerror or error}.") from error
    if not summary.images and not summary.errors:
        raise UsageError(f"{output} has no rows.")
    summary.least_sure = [unsure for _, _, unsure in sorted(lowest, reverse=True)]
    return summary


def format_summary(summary: RunSummary) -> str:
    """Return the most important figures as lines for the terminal."""

    def share(count: int) -> str:
        return percent(count / summary.images if summary.images else None)

    failed = summary.errors.total()
    lines = [
        f"{summary.name}: {counted(summary.images + failed, 'input')}, "
        f"{counted(len(summary.labels), 'label')}",
        "",
        f"  sure      {summary.sure:>12,}   {share(summary.sure)}",
        f"  not sure  {summary.images - summary.sure:>12,}",
        f"  failed    {failed:>12,}"
        + "".join(f"   {reason} ({n:,})" for reason, n in summary.errors.most_common(1)),
        "",
    ]
    rows = [("label", "images", "share", "not sure")]
    rows += [
        (label, f"{n:,}", share(n), f"{n - summary.sure_labels[label]:,}")
        for label, n in summary.labels.most_common(_LISTED)
    ]
    lines += aligned(rows, "<>>>")
    if len(summary.labels) > _LISTED:
        lines.append(f"  … and {len(summary.labels) - _LISTED:,} more")
    highest = max(1, int(summary.histogram.max()))
    lines += ["", "  confidence"]
    for number, count in enumerate(summary.histogram):
        bar = "█" * round(40 * int(count) / highest)
        lines.append(f"  {100 * number // BINS:>3} %  {int(count):>11,}  {bar}")
    return "\n".join(printable(line.rstrip()) for line in lines)


def write_summary_page(summary: RunSummary, path: Path) -> Path:
    """Write one page with all figures and the least sure images, which loads nothing.

    The images are read again from where they were predicted.

    Raises:
        UsageError: The page cannot be written there.
    """
    environment = Environment(
        # It shares its style with the evaluation report.
        loader=ChoiceLoader(
            [PackageLoader("shopwindow.bulk"), PackageLoader("shopwindow.evaluation")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"percent": percent, "number": "{:,}".format, "picture": _picture}
    environment.filters |= filters
    page = environment.get_template("summary.html").render(
        summary=summary,
        failed=summary.errors.total(),
        labels=summary.labels.most_common(),
        bins=[int(count) for count in summary.histogram],
    )
    write_page(path, page)
    return path


def _count(block: Block, summary: RunSummary) -> None:
    known = block.confidence[~np.isnan(block.confidence)]
    summary.histogram += np.histogram(known, BINS, (0, 1))[0]
    summary.images += len(known)
    for label, sure, error in zip(block.labels, block.sure, block.errors, strict=True):
        if error is not None:
            separate = error in summary.errors or len(summary.errors) < _MAX_REASONS
            summary.errors[error if separate else "other"] += 1
            continue
        summary.labels[label or ""] += 1
        if sure:
            summary.sure += 1
            summary.sure_labels[label or ""] += 1


def _keep_lowest(
    block: Block, lowest: list[tuple[float, int, Unsure]], count: int, numbers: Iterator[int]
) -> None:
    """Update the heap `lowest` of the `count` lowest confidences, the highest of them first.

    Args:
        block: The next rows.
        lowest: The heap so far.
        count: How many to keep.
        numbers: Counts the rows that were considered.
    """
    for index in map(int, np.argsort(block.confidence, kind="stable")[:count]):
        if np.isnan(block.confidence[index]):  # NaN come last
            break
        first, second = (*block.top(index), {"label": "", "confidence": 0.0})[:2]
        unsure = Unsure(block.path(index), *first.values(), *second.values())
        # Of equals, the earlier one stays; no two entries have the same number.
        entry = (-unsure.confidence, -next(numbers), unsure)
        if len(lowest) < count:
            heapq.heappush(lowest, entry)
        elif entry[0] > lowest[0][0]:
            heapq.heapreplace(lowest, entry)
        else:
            break


def _picture(path: str) -> dict[str, str]:
    """Return the `uri` of a small picture, or the `problem` with it."""
    try:
        return {"uri": jpeg_data_uri(decode_image(read_input(parse_input(path)))), "problem": ""}
    except (ImageError, UsageError) as error:
        return {"uri": "", "problem": str(error)}
