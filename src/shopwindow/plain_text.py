"""Numbers, names and tables as text for people."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: "1 image", "0 images", "44,000 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share (0 to 1) as people read it, "87.1 %"; a dash where it is undefined."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def printable(text: str) -> str:
    """Return a text from files for a terminal: nothing moves the cursor, or is no UTF-8."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def aligned(rows: Sequence[tuple[str, ...]], alignment: str) -> list[str]:
    """Return one line per row, its cells padded to columns; `<` or `>` for each column."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, alignment, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
