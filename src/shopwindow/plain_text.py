"""Numbers, names, tables and cells as text for people, on a terminal or in a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Sequence

NONE_OF_THEM = "(none of these)"  # what tables and forms call a picture that shows no label
# The wide forms too: some spreadsheets take them for the others.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts: "1 image", "0 images", "44,000 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a fraction (0 to 1) as people read it, "87.1 %"; a dash where it is undefined."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def listed(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first few of many names: "red, green and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def printable(text: str) -> str:
    """Return text from files, safe for a terminal: no cursor movements, no invalid UTF-8."""
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


def escape_formula(text: str) -> str:
    """Return the text of a CSV cell so that no spreadsheet computes it.

    A file or label called `=HYPERLINK(...)` must not run on the machine of whoever opens the
    answers. As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection), such a cell
    gets an apostrophe in front, which spreadsheets take for the sign of a text.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return what `escape_formula` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
