"""Cells of CSV files that a spreadsheet would take for formulas.

A file or label called `=HYPERLINK(...)` must not run on the machine of whoever opens the answers.
As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection), such a cell gets an
apostrophe in front, which spreadsheets take for the sign of a text; what reads tables here takes it
off again.
"""

from __future__ import annotations

import re

# The wide forms too: some spreadsheets take them for the others.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def escape_formula(text: str) -> str:
    """Return the text of a cell so that no spreadsheet computes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """Return what `escape_formula` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
