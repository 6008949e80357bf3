"""What people call their photos and labels, and what becomes of it."""

from __future__ import annotations

import pytest

from shopwindow.errors import StudioError
from shopwindow.studio.names import checked_label, safe_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Hat 3.JPG", "Hat 3.JPG"),
        ("hüte/größe.jpg", "größe.jpg"),
        ("../../etc/passwd", "passwd.jpg"),
        ("C:\\photos\\hat.png", "hat.png"),
        ("=HYPERLINK(1).jpg", "HYPERLINK(1).jpg"),
        (".hidden.jpg", "hidden.jpg"),
        ("a<b>:c?.jpg", "a_b_c.jpg"),
        ("con.jpg", "_con.jpg"),
        ("", "photo.jpg"),
        ("...", "photo.jpg"),
        ("blob", "blob.jpg"),
        ("notes.txt", "notes.txt.jpg"),
        ("x" * 300 + ".jpg", "x" * 80 + ".jpg"),
    ],
)
def test_name_of_photo_stays_close_to_the_given_one(given: str, expected: str) -> None:
    assert safe_name(given, "JPEG", set()) == expected


def test_two_photos_never_share_a_name_even_on_a_disk_that_ignores_case() -> None:
    assert safe_name("Hat.jpg", "JPEG", {"hat.jpg", "hat-2.jpg"}) == "Hat-3.jpg"


def test_ending_of_a_file_without_one_comes_from_its_content() -> None:
    assert safe_name("image", "HEIC", set()) == "image.heic"


@pytest.mark.parametrize("label", ["", "  ", "\u200d", "a|b", "a\nb", "x" * 201, None, 3])
def test_label_that_a_table_would_read_otherwise_is_refused(label: object) -> None:
    with pytest.raises(StudioError, match=r"label|characters"):
        checked_label(label)


def test_spaces_around_a_label_do_not_count() -> None:
    assert checked_label(" straw hat ") == "straw hat"


@pytest.mark.parametrize(
    "label", ["\u0645\u06cc\u200c\u0634\u0648\u062f", "\U0001f469\u200d\U0001f680"]
)
def test_words_and_emoji_of_joined_signs_are_labels(label: str) -> None:
    assert checked_label(label) == label
