"""Label columns are called what people would call them."""

from __future__ import annotations

import pytest

from shopwindow.web.wording import display_name


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
def test_column_names_are_taken_apart_as_people_write_them(column: str, name: str) -> None:
    assert display_name(column) == name
