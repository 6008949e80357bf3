"""Label columns are called what people would call them, and shares are shown as they read them."""

from __future__ import annotations

import pytest

from shopwindow.inference.verdict import per_cent
from shopwindow.web.messages import display_name


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("gender", "Gender"),
        ("baseColour", "Base colour"),
        ("brand_name", "Brand name"),
        ("price-range", "Price range"),
        ("SKUCode", "SKU code"),
        ("productID", "Product ID"),
        ("ärmelLänge", "Ärmel länge"),
        ("Made in (country)", "Made in (country)"),
        ("__", "__"),
    ],
)
def test_column_names_become_words(column: str, name: str) -> None:
    assert display_name(column) == name


@pytest.mark.parametrize(
    ("share", "decimals", "shown"),
    [
        (0.125, 0, "13"),  # halves go up, as in the browser
        (0.135, 0, "14"),
        (0.00125, 1, "0.1"),
        (0.0625, 1, "6.3"),
        (0.5, 1, "50.0"),
        (0.9999, 0, ">99"),
        (0.0001, 1, "<0.1"),
    ],
)
def test_percentages_are_rounded_as_the_page_rounds_them(
    share: float, decimals: int, shown: str
) -> None:
    assert per_cent(share, decimals) == f"{shown}\N{NARROW NO-BREAK SPACE}%"
