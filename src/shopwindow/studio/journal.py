"""What was done to a project, so that all of it can be undone, also after the studio was closed.

A line of JSON for each change, with the rows before and after it. The table alone says what holds:
an entry counts as done where the table has its outcome. So nothing else has to be written to undo
a change, and a process that is killed between the journal and the table leaves an entry that was
never done. Whoever edits the table by hand begins a new history.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.atomic_write import write_atomically

# That can be undone; a change of many thousand photos takes megabytes.
MOST_ENTRIES = 500
MOST_ROWS = 500_000


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a photo: its label and its group; "" where it has none."""

    label: str = ""
    group: str = ""


Rows = Mapping[str, Row]


@dataclass(frozen=True)
class Entry:
    """A change.

    Attributes:
        did: What it did, for people: "Label 3 photos hat".
        before: Digest of all rows before it, see `digest_rows`.
        after: Digest of all rows after it.
        rows: Each photo that it touched, with its row before and after; None where it had none.
    """

    did: str
    before: str
    after: str
    rows: Mapping[str, tuple[Row | None, Row | None]]

    def as_line(self) -> bytes:
        """Return the entry as a line of JSON."""
        rows = {name: [_as_list(row) for row in pair] for name, pair in self.rows.items()}
        content = {"did": self.did, "before": self.before, "after": self.after, "rows": rows}
        return json.dumps(content, ensure_ascii=True).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Read what `as_line` wrote; ValueError, KeyError or TypeError if it is no such line."""
        content = json.loads(line)
        rows = {
            name: (_as_row(before), _as_row(after))
            for name, (before, after) in content["rows"].items()
        }
        return cls(content["did"], content["before"], content["after"], rows)


class Journal:
    """The changes of a project, those done and those undone. Not thread-safe.

    Args:
        path: The file; it may be missing, or end in the middle of a line.
        now: Digest of the rows as they are.
    """

    def __init__(self, path: Path, now: str) -> None:
        self._path = path
        self._entries = list(_chain(path))
        outcomes = [entry.after for entry in self._entries]
        if now in outcomes:
            self._done = len(outcomes) - outcomes[::-1].index(now)
        else:  # everything was undone, or this is another history
            self._done = 0
            if self._entries and self._entries[0].before != now:
                self._entries = []
        self._write()

    @property
    def undoable(self) -> Entry | None:
        """The change that undo would take back."""
        return self._entries[self._done - 1] if self._done else None

    @property
    def redoable(self) -> Entry | None:
        """The change that redo would do again."""
        return self._entries[self._done] if self._done < len(self._entries) else None

    def add(self, entry: Entry) -> None:
        """Note a change on disk before it is done; what was undone can no longer be done again."""
        if self._done < len(self._entries):
            del self._entries[self._done :]
            self._write()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(entry.as_line())
            file.flush()
            os.fsync(file.fileno())
        self._entries.append(entry)
        self._forget()

    def did(self, steps: int) -> None:
        """Note that the last entry was done (1) or undone (-1)."""
        self._done += steps

    def _forget(self) -> None:
        """Forget the oldest changes where there are too many; the file is shortened when opened."""
        rows = sum(len(entry.rows) for entry in self._entries)
        while self._done and (len(self._entries) > MOST_ENTRIES or rows > MOST_ROWS):
            rows -= len(self._entries.pop(0).rows)
            self._done -= 1

    def _write(self) -> None:
        self._forget()
        if self._entries or self._path.exists():
            lines = b"".join(entry.as_line() for entry in self._entries)
            write_atomically(self._path, lines)


def digest_rows(rows: Rows) -> str:
    """Return a digest of rows in any order."""
    listed = sorted((name, row.label, row.group) for name, row in rows.items())
    text = json.dumps(listed, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _chain(path: Path) -> Iterator[Entry]:
    """Yield the last entries of which each begins where the one before ended."""
    found: list[Entry] = []
    with contextlib.suppress(OSError):
        for line in path.read_bytes().splitlines():
            try:
                entry = Entry.from_line(line)
            except (ValueError, KeyError, TypeError):
                break  # cut off by a kill
            if found and found[-1].after != entry.before:
                found = []
            found.append(entry)
    yield from found


def _as_list(row: Row | None) -> list[str] | None:
    return None if row is None else [row.label, row.group]


def _as_row(value: Any) -> Row | None:
    return None if value is None else Row(str(value[0]), str(value[1]))
