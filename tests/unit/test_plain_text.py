"""Names that a spreadsheet would compute."""

from __future__ import annotations

import pytest

from shopwindow.plain_text import escape_formula, unescape_formula


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1.jpg", "@SUM(1)", "\t=1", "\r=1", "＝1", "'=1"])
def test_what_begins_like_a_formula_is_text_to_a_spreadsheet(text: str) -> None:
    assert escape_formula(text) == f"'{text}"
    assert unescape_formula(escape_formula(text)) == text


@pytest.mark.parametrize("text", ["", "a=1", "photos/=1.jpg", "'quoted'", "'", "1.jpg", "müsli"])
def test_what_does_not_stays_as_it_is(text: str) -> None:
    assert escape_formula(text) == unescape_formula(text) == text
