"""What a bulk run answered: counted, shown in a terminal and on a page."""

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
from shopwindow.bulk.stream import read_input
from shopwindow.errors import ImageError, UsageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import aligned, counted, percent

BINS = 20
_LISTED = 12  # labels in the terminal
_MOST_REASONS = 1000  # different errors that are counted one by one


@dataclass(frozen=True, slots=True)
class Unsure:
    """One of the answers with the lowest confidence, and what the model thought of second."""

    path: str
    label: str
    confidence: float
    second: str
    second_confidence: float


@dataclass(slots=True)
class Answers:
    """The rows of a bulk run, counted.

    Attributes:
        name: Of the file or folder.
        images: How many images have an answer.
        sure: How many of those are sure.
        labels: How many answers each label has.
        sure_labels: How many sure answers each label has.
        errors: How many inputs could not be predicted, by reason; very rare ones as "other".
        histogram: int64 (20,), answers by confidence from 0 to 1.
        least_sure: The answers of lowest confidence, lowest first.
    """

    name: str
    images: int = 0
    sure: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    sure_labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    least_sure: list[Unsure] = field(default_factory=list)


def read_answers(output: Path, *, least_sure: int = 60) -> Answers:
    """Count the rows of an output, or of a folder of parts, in one pass and bounded memory.

    Args:
        output: What `shopwindow predict --output` wrote, in any of its formats.
        least_sure: How many of the least sure answers to keep.

    Raises:
        UsageError: It is not such an output.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """
    answers = Answers(output.name)
    lowest: list[tuple[float, int, Unsure]] = []
    numbers = itertools.count()
    try:
        for block in read_blocks(output):
            _count(block, answers)
            lowest = _keep_lowest(block, lowest, least_sure, numbers)
    except OSError as error:
        raise UsageError(f"{output} cannot be read: {error.strerror or error}.") from error
    if not answers.images and not answers.errors:
        raise UsageError(f"{output} has no rows.")
    answers.least_sure = [unsure for _, _, unsure in sorted(lowest, reverse=True)]
    return answers


def format_answers(answers: Answers) -> str:
    """Return what a person wants to know first, as lines for the terminal."""
    failed = answers.errors.total()
    lines = [
        f"{answers.name}: {counted(answers.images + failed, 'input')}, "
        f"{counted(len(answers.labels), 'label')}",
        "",
        f"  sure      {answers.sure:>12,}   {percent(_share(answers.sure, answers.images))}",
        f"  not sure  {answers.images - answers.sure:>12,}",
        f"  no answer {failed:>12,}"
        + "".join(f"   {reason} ({n:,})" for reason, n in answers.errors.most_common(1)),
        "",
    ]
    rows = [("label", "images", "share", "not sure")]
    rows += [
        (label, f"{n:,}", percent(_share(n, answers.images)), f"{n - answers.sure_labels[label]:,}")
        for label, n in answers.labels.most_common(_LISTED)
    ]
    lines += aligned(rows, "<>>>")
    if len(answers.labels) > _LISTED:
        lines.append(f"  … and {len(answers.labels) - _LISTED:,} more")
    highest = max(1, int(answers.histogram.max()))
    lines += ["", "  confidence"]
    for number, count in enumerate(answers.histogram):
        bar = "█" * round(40 * int(count) / highest)
        lines.append(f"  {100 * number // BINS:>3} %  {int(count):>11,}  {bar}".rstrip())
    # Labels and reasons come from files: none may move the cursor.
    return "\n".join("".join(c if c.isprintable() else "�" for c in line) for line in lines)


def write_answers_page(answers: Answers, path: Path) -> Path:
    """Write one page with all figures and a contact sheet of the least sure, loading nothing.

    The pictures are read from where they were when they were predicted.

    Raises:
        UsageError: The page cannot be written there.
    """
    environment = Environment(
        # The look is that of the evaluation's report.
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
    page = environment.get_template("answers.html").render(
        answers=answers,
        failed=answers.errors.total(),
        labels=answers.labels.most_common(),
        bins=[int(count) for count in answers.histogram],
    )
    write_page(path, page)
    return path


def _count(block: Block, answers: Answers) -> None:
    known = block.confidence[~np.isnan(block.confidence)]
    answers.histogram += np.histogram(known, BINS, (0, 1))[0]
    answers.images += len(known)
    for label, sure, error in zip(block.labels, block.sure, block.errors, strict=True):
        if error is not None:
            kept = error in answers.errors or len(answers.errors) < _MOST_REASONS
            answers.errors[error if kept else "other"] += 1
            continue
        answers.labels[label or ""] += 1
        if sure:
            answers.sure += 1
            answers.sure_labels[label or ""] += 1


def _keep_lowest(
    block: Block, lowest: list[tuple[float, int, Unsure]], count: int, numbers: Iterator[int]
) -> list[tuple[float, int, Unsure]]:
    """Return a heap of the `count` lowest confidences, the highest of them first.

    Args:
        block: Rows that come next.
        lowest: What was returned for those before.
        count: How many to keep.
        numbers: Counts the rows that were considered.
    """
    few = np.argsort(block.confidence, kind="stable")[:count]  # NaN come last
    for index in map(int, few):
        if np.isnan(block.confidence[index]):
            break
        first, second = (*block.top(index), {"label": "", "confidence": 0.0})[:2]
        unsure = Unsure(block.path(index), *first.values(), *second.values())
        # Of equals, the one that came first stays; no two entries have the same number.
        entry = (-unsure.confidence, -next(numbers), unsure)
        if len(lowest) < count:
            heapq.heappush(lowest, entry)
        elif entry[0] > lowest[0][0]:
            heapq.heapreplace(lowest, entry)
        else:
            break
    return lowest


def _picture(path: str) -> dict[str, str]:
    """Return the `uri` of a small picture, or the `problem` that there is with it."""
    try:
        return {"uri": jpeg_data_uri(decode_image(read_input(parse_input(path)))), "problem": ""}
    except (ImageError, UsageError) as error:
        return {"uri": "", "problem": str(error)}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
