"""Feedback as a data set: a table and photos that `shopwindow train` reads like any other."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import UsageError
from shopwindow.feedback.feedback import Feedback, Status
from shopwindow.feedback.store import FeedbackStore
from shopwindow.formulas import escape_formula
from shopwindow.plain_text import NONE_OF_THEM

TABLE = "corrections.csv"
COLUMNS = ("image", "label", "predicted", "confidence", "given_at", "status")
_OWN_PHOTO = re.compile(r"[0-9a-f]{32}\.[a-z]+")
_REVIEWED: tuple[Status, ...] = ("accepted", "changed")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        photos: How many photos with a label, or with none of them.
        repeated: Feedback on a photo about which something later was said.
        other_columns: Feedback about another label column than the latest.
    """

    photos: int
    repeated: int
    other_columns: int


def export_feedback(store: FeedbackStore, folder: Path, *, unreviewed: bool = False) -> Exported:
    """Write what people said about photos that may be kept.

    The folder then holds `corrections.csv` and `images/`. It is brought up to date where it is an
    earlier export: photos that were taken back or forgotten since are removed. Killed at any
    moment, the table names only photos that are there.

    Args:
        store: Where feedback is kept.
        folder: Made where there is none and something to write, for nobody else to read.
        unreviewed: Whether to take also what no reviewer has seen yet, as it was given.

    Raises:
        UsageError: The folder holds something else.
        FeedbackError: The store cannot be read.
        OSError: The folder cannot be written.
    """
    statuses = (*_REVIEWED, "pending") if unreviewed else _REVIEWED
    found = list(store.items(statuses, with_photo=True))
    chosen, other_columns = _latest(found)
    if not chosen and not folder.exists():
        return Exported(0, 0, other_columns)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / TABLE).exists() and any(
        not path.name.startswith(".") and path.name != "images" for path in folder.iterdir()
    ):
        raise UsageError(
            f"{folder}: expected an empty folder or an earlier export, found other files; name a "
            "new folder"
        )
    (folder / "images").mkdir(mode=0o700, exist_ok=True)
    rows = []
    for one in chosen:
        photo = store.photo(one.id)
        if photo is None:
            continue  # taken back a moment ago
        name = f"images/{one.id}.{photo.media_type.partition('/')[2]}"
        write_atomically(folder / name, photo.content)
        rows.append((name, one))
    _write_table(folder / TABLE, rows)
    named = {Path(name).name for name, _ in rows}
    for path in (folder / "images").iterdir():
        if _OWN_PHOTO.fullmatch(path.name) and path.name not in named:
            path.unlink()
    return Exported(len(rows), len(found) - len(chosen) - other_columns, other_columns)


def _latest(found: Sequence[Feedback]) -> tuple[list[Feedback], int]:
    """Return the last word on each photo, a reviewer's before a visitor's; oldest first."""
    # Models of other questions may have been served from the same store.
    column = max(found, key=lambda one: one.created_at).column if found else ""
    about = [one for one in found if one.column == column]
    last = {
        one.photo_sha256: one
        for one in sorted(
            about, key=lambda one: (one.reviewed_at is not None, one.reviewed_at or one.created_at)
        )
    }
    chosen = sorted(last.values(), key=lambda one: (one.created_at, one.id))
    return chosen, len(found) - len(about)


def _write_table(path: Path, rows: Sequence[tuple[str, Feedback]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, one in rows:
        # Visitors write labels, and owners open tables: see `formulas`.
        label = escape_formula(NONE_OF_THEM if one.label is None else one.label)
        given_at = one.created_at.isoformat(timespec="seconds")
        writer.writerow((name, label, one.predicted, f"{one.confidence:.6f}", given_at, one.status))
    write_atomically(path, text.getvalue().encode("utf-8"))
