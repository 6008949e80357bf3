"""What people change in a project, one change at a time.

A change carries the revision that its author saw. Where somebody else has changed the same photos
since, it is refused; nobody's work is overwritten unseen.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shopwindow.atomic_write import write_atomically
from shopwindow.data.tables import open_table
from shopwindow.errors import DataError, StudioConflictError, StudioError
from shopwindow.plain_text import counted
from shopwindow.studio.album import Album
from shopwindow.studio.journal import Entry, Row
from shopwindow.studio.names import checked_label
from shopwindow.studio.project import Project


class Changes:
    """Changes a project, and what is shown of it. Thread-safe.

    Args:
        project: What is changed.
        album: What is shown.
        on_change: Called after each change, with the names of photos that have come.

    Attributes:
        lock: Held over each change, until it is on disk.
        dismissed: Labels by name of the photo that somebody has found to be right.
        undoable: What undo would take back, in words; None where there is nothing.
        redoable: What redo would do again, in words; None where there is nothing.
    """

    def __init__(
        self, project: Project, album: Album, on_change: Callable[[Sequence[str]], object]
    ) -> None:
        self._project, self._album, self._on_change = project, album, on_change
        self.lock = threading.RLock()
        self._dismissed_path = project.hidden / "dismissed.json"
        self.dismissed = _read_names(self._dismissed_path)
        self._entry_at = 0  # the revision of the last change
        self._name_what_can_be_undone()

    def now(self) -> dict[str, Any]:
        """Return the version and the revision."""
        return {"version": self._album.version, "revision": self._album.revision}

    def set_labels(
        self, names: Sequence[str], label: str | None, revision: int, *, force: bool = False
    ) -> dict[str, Any]:
        """Give photos a label, or take it away (None).

        Raises:
            StudioError: No such label or photo.
            StudioConflictError: Somebody else changed one of them after `revision`.
        """
        label = "" if label is None else checked_label(label)
        with self.lock:
            self._check(names, revision, force=force)
            rows = self._project.rows
            changed = {
                name: Row(label, rows[name].group)
                for name in dict.fromkeys(names)
                if rows[name].label != label
            }
            photos = counted(len(changed), "photo")
            did = f"Label {photos} {label}" if label else f"Take the label off {photos}"
            return self._changed_labels(changed, did)

    def set_from_table(self, name: str, content: bytes) -> dict[str, Any]:
        """Give photos the labels that a table says, by the names of their files.

        Raises:
            StudioError: It is no table with the columns image and label.
        """
        wanted, refused = self._labels_of_table(name, content)
        with self.lock:
            rows = self._project.rows
            known = {photo.lower(): photo for photo in rows}
            known |= {Path(photo).stem.lower(): photo for photo in rows} | known
            unknown, changed = [], {}
            for image, label in wanted.items():
                photo = known.get(Path(image.replace("\\", "/")).name.lower())
                if photo is None:
                    unknown.append(image)
                elif rows[photo].label != label:
                    changed[photo] = Row(label, rows[photo].group)
            did = f"Label {counted(len(changed), 'photo')} as {name} says"
            done = self._changed_labels(changed, did)
        return {**done, "unknown": unknown, "refused": refused}

    def rename_label(self, old: str, new: str, revision: int) -> dict[str, Any]:
        """Give all photos of a label another one; where that exists already, they are merged.

        Raises:
            StudioError: No such label.
        """
        new = checked_label(new)
        with self.lock:
            names = self._photos_of(old)
            merged = new in {row.label for row in self._project.rows.values()}
            others = len(self._album.edited_since(names, revision))
            changed = {name: Row(new, self._project.rows[name].group) for name in names}
            did = f"Merge {old} with {new}" if merged else f"Rename {old} to {new}"
            done = self._changed_labels({} if old == new else changed, did)
        return {**done, "merged": merged, "others": others}

    def delete_label(self, label: str, revision: int) -> dict[str, Any]:
        """Take a label off all photos that have it.

        Raises:
            StudioError: No such label.
        """
        with self.lock:
            names = self._photos_of(label)
            others = len(self._album.edited_since(names, revision))
            changed = {name: Row("", self._project.rows[name].group) for name in names}
            done = self._changed_labels(changed, f"Delete the label {label}")
        return {**done, "others": others}

    def delete_photos(
        self, names: Sequence[str], revision: int, *, force: bool = False
    ) -> dict[str, Any]:
        """Move photos to the trash. Raises as `set_labels`."""
        with self.lock:
            self._check(names, revision, force=force)
            gone = dict.fromkeys(names)
            return self._changed_labels(gone, f"Delete {counted(len(gone), 'photo')}")

    def undo(self, revision: int, *, again: bool = False) -> dict[str, Any]:
        """Take back the last change, or do it `again`.

        Raises:
            StudioError: There is none.
            StudioConflictError: Somebody else changed something after `revision`.
        """
        word = "redo" if again else "undo"
        with self.lock:
            entry = self._project.redoable if again else self._project.undoable
            if entry is None:
                raise StudioError(f"There is nothing to {word}.")
            if self._entry_at > revision:
                raise StudioConflictError(
                    f"Somebody else has changed something meanwhile; {word} would now be about: "
                    f"{entry.did}. Look, and do it once more."
                )
            self._follow(self._project.redo if again else self._project.undo, again=again)
        return {**self.now(), "did": entry.did}

    def dismiss_doubts(self, names: Iterable[str]) -> dict[str, Any]:
        """Note that the labels of photos are right, whatever the model says."""
        with self.lock:
            rows = self._project.rows
            right = {name: rows[name].label for name in names if name in rows}
            self.dismissed = {n: v for n, v in self.dismissed.items() if n in rows} | right
            text = json.dumps(self.dismissed, ensure_ascii=True).encode("ascii")
            write_atomically(self._dismissed_path, text)
        self._album.update({name: {"doubt": False} for name in right})
        return self.now()

    def apply(self, rows: Mapping[str, Row | None], did: str, *, tell: bool = True) -> None:
        """Give photos other rows; hold `lock`.

        Args:
            rows: By name; None moves the photo to the trash.
            did: What this does, in words.
            tell: Whether to say which photos have come.

        Raises:
            StudioConflictError: The table was changed by another program.
        """
        self._follow(lambda: self._project.change(rows, did), again=True, tell=tell)

    def _labels_of_table(
        self, name: str, content: bytes
    ) -> tuple[dict[str, str], list[dict[str, str]]]:
        path = self._project.hidden / f"table{Path(name).suffix.lower() or '.csv'}"
        wanted: dict[str, str] = {}
        refused = []
        with self.lock:
            try:
                write_atomically(path, content)
                table = open_table(path)
                if not {"image", "label"} <= set(table.columns):
                    raise DataError(f"it has {', '.join(table.columns)[:200]}")
                for row in table.rows(("image", "label")):
                    image, label = row.cells[:2] if not row.problem else ("", "")
                    try:
                        wanted[image] = checked_label(label)
                    except StudioError as error:
                        refused.append(
                            {"name": image or f"row {row.number}", "why": row.problem or str(error)}
                        )
            except (DataError, ValueError) as error:
                why = str(error).replace(str(path), "it").rstrip(".")
                raise StudioError(
                    f"{name}: expected a table with the columns image and label ({why})."
                ) from error
            finally:
                path.unlink(missing_ok=True)
        return wanted, refused

    def _photos_of(self, label: str) -> list[str]:
        names = [name for name, row in self._project.rows.items() if row.label == label]
        if not label or not names:
            raise StudioError(f"There is no label {label!r} any more: somebody has changed it.")
        return names

    def _check(self, names: Sequence[str], revision: int, *, force: bool) -> None:
        gone = [name for name in names if name not in self._project.rows]
        if gone:
            raise StudioConflictError(
                f"{gone[0]} is not in the project any more: somebody has deleted it.",
                {"conflicts": [{"id": name, "label": None} for name in gone]},
            )
        edited = [] if force else self._album.edited_since(names, revision)
        if edited:
            raise StudioConflictError(
                f"Somebody else has changed {len(edited):,} of these photos meanwhile; "
                "nothing was changed. Look, and do it once more.",
                {"conflicts": [{"id": name, "label": label or None} for name, label in edited]},
            )

    def _changed_labels(self, rows: Mapping[str, Row | None], did: str) -> dict[str, Any]:
        if rows:
            self.apply(rows, did)
        return {**self.now(), "changed": len(rows), "undo": self.undoable}

    def _follow(self, act: Callable[[], Entry | None], *, again: bool, tell: bool = True) -> None:
        """Change the project, then what is shown of it."""
        before = self._album.snapshot()
        try:
            entry = act()
            self._name_what_can_be_undone()
        except StudioConflictError:  # the table was read again
            gone = dict.fromkeys(name for name in before if name not in self._project.rows)
            self._name_what_can_be_undone()
            self._entry_at = self._album.put({**gone, **self._project.rows})
            self._on_change([name for name in self._project.rows if name not in before])
            raise
        if entry is None:
            return
        rows = {name: pair[1 if again else 0] for name, pair in entry.rows.items()}
        self._entry_at = self._album.put(rows)
        new = [name for name, row in rows.items() if row is not None and name not in before]
        self._on_change(new if tell else ())

    def _name_what_can_be_undone(self) -> None:
        undoable, redoable = self._project.undoable, self._project.redoable
        self.undoable = None if undoable is None else undoable.did
        self.redoable = None if redoable is None else redoable.did


def _read_names(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text("ascii"))
        return {str(name): str(label) for name, label in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}
