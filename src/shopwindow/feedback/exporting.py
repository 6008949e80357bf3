"""Exports feedback as a data set that `shopwindow train` reads like any other."""

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
from shopwindow.plain_text import NONE_OF_THEM, escape_formula

TABLE = "corrections.csv"
COLUMNS = ("image", "label", "predicted", "confidence", "given_at", "status")
_OWN_PHOTO = re.compile(r"[0-9a-f]{32}\.[a-z]+")
_REVIEWED: tuple[Status, ...] = ("accepted", "changed")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        photos: How many photos, each with a label or with none of them.
        superseded: Feedback left out because there is later feedback on the same photo.
        other_columns: Feedback left out because it is about another label column.
    """

    photos: int
    superseded: int
    other_columns: int


def export_feedback(store: FeedbackStore, folder: Path, *, unreviewed: bool = False) -> Exported:
    """Write feedback that has a photo.

    The folder then holds `corrections.csv` and `images/`. An earlier export is updated: photos that
    were deleted since are removed. If the process is killed, the table still names only photos that
    are there.

    Args:
        store: Where feedback is kept.
        folder: Created if there is something to write, readable only by this user.
        unreviewed: Whether to include feedback that has not been reviewed yet, as it was given.

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
    for item in chosen:
        photo = store.photo(item.id)
        if photo is None:
            continue  # withdrawn a moment ago
        name = f"images/{item.id}.{photo.media_type.partition('/')[2]}"
        write_atomically(folder / name, photo.content)
        rows.append((name, item))
    _write_table(folder / TABLE, rows)
    named = {Path(name).name for name, _ in rows}
    for path in (folder / "images").iterdir():
        if _OWN_PHOTO.fullmatch(path.name) and path.name not in named:
            path.unlink()
    return Exported(len(rows), len(found) - len(chosen) - other_columns, other_columns)


def _latest(found: Sequence[Feedback]) -> tuple[list[Feedback], int]:
    """Return the latest feedback on each photo, reviewed before unreviewed; oldest first.

    Models with another main label column may have used the same store: the column of the latest
    feedback counts. How many are about others is returned too.
    """
    column = max(found, key=lambda item: item.created_at).column if found else ""
    about = [item for item in found if item.column == column]
    about.sort(key=lambda i: (i.reviewed_at is not None, i.reviewed_at or i.created_at))
    last = {item.photo_sha256: item for item in about}
    chosen = sorted(last.values(), key=lambda item: (item.created_at, item.id))
    return chosen, len(found) - len(about)


def _write_table(path: Path, rows: Sequence[tuple[str, Feedback]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, item in rows:
        # Visitors choose labels, and owners open tables: see `escape_formula`.
        label = escape_formula(NONE_OF_THEM if item.label is None else item.label)
        given_at = item.created_at.isoformat(timespec="seconds")
        confidence = f"{item.confidence:.6f}"
        writer.writerow((name, label, item.predicted, confidence, given_at, item.status))
    write_atomically(path, text.getvalue().encode("utf-8"))
