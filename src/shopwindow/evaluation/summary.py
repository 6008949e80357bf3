"""An evaluation as a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shopwindow.plain_text import counted

if TYPE_CHECKING:
    from shopwindow.evaluation.report import Evaluation


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share (0 to 1) as people read it, "87.1 %"; a dash where it is undefined."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def format_summary(evaluation: Evaluation) -> str:
    """Return the figures that a person wants to see in a terminal, as aligned lines."""
    grades, sure = evaluation.grades, evaluation.sure
    low, high = grades.accuracy_interval
    if sure.min_confidence is None:
        sure_text = f"{'none':>8}   this model never says that it is sure"
    elif sure.precision is None:
        sure_text = f"{'none':>8}   no answer has a confidence of {sure.min_confidence:.3f} or more"
    else:
        sure_text = (
            f"{percent(sure.precision, 2):>8}   right where sure: {percent(sure.coverage)} of "
            f"the images, confidence {sure.min_confidence:.3f} or more"
        )
    graded = counted(evaluation.images, "image")
    if grades.images != evaluation.images:
        graded = f"{grades.images:,} of {graded}"
    lines = [
        f"{evaluation.model_name} {evaluation.model_version}".strip()
        + f": {evaluation.column} of {graded} "
        f"in {evaluation.seconds:.1f} s"
        + (f" with {evaluation.engine}" if evaluation.engine else ""),
        "",
        f"  accuracy     {percent(grades.accuracy, 2):>8}   {100 * low:.1f} to {percent(high)} "
        "is the 95 % interval for this many images",
        *(
            f"  top-{first}        {percent(share, 2):>8}"
            for first, share in ((3, grades.top3_accuracy), (5, grades.top5_accuracy))
            if len(grades.labels) > first  # else it cannot be wrong
        ),
        f"  macro-F1     {grades.macro_f1:>8.4f}   mean of {counted(grades.occurring, 'label')}",
        f"  ECE          {grades.ece:>8.4f}   mean gap between confidence and accuracy",
        f"  sure         {sure_text}",
    ]
    if grades.confused_pairs:
        pairs = [
            (pair.true, "→", pair.predicted, f"{pair.count:,}", percent(pair.share))
            for pair in grades.confused_pairs[:10]
        ]
        header = ("confused: is", "", "taken for", "images", "share")
        lines += ["", *aligned([header, *pairs], "<<<>>")]
    if evaluation.attributes:
        rows = [
            (
                name,
                percent(one.accuracy, 2),
                f"{one.macro_f1:.4f}",
                f"{one.ece:.4f}",
                f"{len(one.labels):,}",
                f"{one.images:,}",
            )
            for name, one in evaluation.attributes.items()
        ]
        titles = ("attribute", "accuracy", "macro-F1", "ECE", "labels", "images")
        lines += ["", *aligned([titles, *rows], "<>>>>>")]
    if evaluation.notes:
        lines += ["", *(f"  note: {note}" for note in evaluation.notes)]
    return printable(lines)


def printable(lines: Sequence[str]) -> str:
    """Return lines as one text that is safe to print.

    Labels come from data: an escape sequence in one must not reach the terminal.
    """
    return "\n".join(
        "".join(char if char.isprintable() else "�" for char in line).rstrip() for line in lines
    )


def aligned(rows: Sequence[tuple[str, ...]], alignment: str) -> list[str]:
    """Return one line per row, its cells padded to columns; `<` or `>` for each column."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, alignment, widths, strict=True)
        )
        for row in rows
    ]
