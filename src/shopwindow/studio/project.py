"""A project: a plain folder with photos, a table of labels, and the models that were made of them.

::

    hats/
        photos/           each photo as it came, byte for byte
        labels.csv        image,label: a row for each photo; also group, where photos have one
        runs/studio-1/    one folder for each model
        model.onnx        the model in the window
        .studio/          cache, journal and trash; may be deleted while the studio is closed

`labels.csv` decides: a change is done once it has been renamed into place. Photos are moved before
that, and what a killed process left in between is put right when the project is opened again.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
from collections.abc import Mapping
from pathlib import Path

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import StudioConflictError, StudioError, UsageError
from shopwindow.plain_text import counted, escape_formula, unescape_formula
from shopwindow.studio.journal import Entry, Journal, Row, digest_rows
from shopwindow.studio.names import checked_label, safe_name

PHOTOS, TABLE, RUNS, HIDDEN, WINDOW = "photos", "labels.csv", "runs", ".studio", "model.onnx"
FIGURES = "version.json"  # in the folder of a version: what is known of its model
_COLUMNS = ("image", "label", "group")
_MAX_CELL_CHARACTERS = 10_000


class Project:
    """A project that this process owns until `close`. Not thread-safe.

    Args:
        folder: A project, or a folder that is empty or not there, which becomes one.

    Attributes:
        folder: The folder, absolute.
        rows: Of each photo by its name, in the order of arrival.
        missing: Rows of the table whose photo is not there; they stay in the table.

    Raises:
        UsageError: The folder is something else, or another studio has it open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.rows: dict[str, Row] = {}
        self.missing: dict[str, Row] = {}
        self._prepare()
        self._lock = _lock(self.hidden / "lock", self.folder)
        try:
            self._read()
            self._journal = Journal(self.hidden / "journal.jsonl", digest_rows(self._all_rows()))
            self._adopt()
        except BaseException:
            self.close()
            raise

    @property
    def hidden(self) -> Path:
        """The folder of what can be made again, and of what was deleted."""
        return self.folder / HIDDEN

    @property
    def trash(self) -> Path:
        """The folder of photos that were deleted."""
        return self.hidden / "trash"

    @property
    def trashed(self) -> int:
        """How many photos are in the trash."""
        return len(_names_in(self.trash))

    @property
    def undoable(self) -> Entry | None:
        """The change that `undo` takes back."""
        return self._journal.undoable

    @property
    def redoable(self) -> Entry | None:
        """The change that `redo` does again."""
        return self._journal.redoable

    def photo(self, name: str) -> Path:
        """Return where a photo is."""
        return self.folder / PHOTOS / name

    def new_name(self, given: str, format_: str) -> str:
        """Return a name for a new photo that no photo has or had; see `safe_name`."""
        while True:
            name = safe_name(given, format_, self._taken)
            self._taken.add(name.lower())
            if not self.photo(name).exists():
                return name

    def change(self, after: Mapping[str, Row | None], did: str) -> Entry:
        """Give photos other rows; when this returns, it is on disk.

        Args:
            after: The new row by name; None moves the photo to the trash.
            did: What this does, for people who may want to undo it.

        Raises:
            StudioConflictError: The table was changed by another program; it has been read again.
            StudioError: So it was, and it cannot be read; nothing has changed.
            OSError: The disk is full or cannot be written; nothing has changed.
        """
        self._expect_own_table()
        rows = {name: (self.rows.get(name), row) for name, row in after.items()}
        before = digest_rows(self._all_rows())
        entry = Entry(did, before, digest_rows(_with(self._all_rows(), after)), rows)
        self._journal.add(entry)
        self._put(after)
        self._journal.did(1)
        return entry

    def undo(self) -> Entry | None:
        """Take back the last change and return it; None where there is none. Raises as `change`."""
        self._expect_own_table()
        if (entry := self.undoable) is not None:
            self._put({name: before for name, (before, _) in entry.rows.items()})
            self._journal.did(-1)
        return entry

    def redo(self) -> Entry | None:
        """Do again what was undone and return it; None where there is none. Raises as `change`."""
        self._expect_own_table()
        if (entry := self.redoable) is not None:
            self._put({name: after for name, (_, after) in entry.rows.items()})
            self._journal.did(1)
        return entry

    def close(self) -> None:
        """Let others open the project."""
        self._lock.close()

    def _prepare(self) -> None:
        """Make a project of an empty folder; refuse what is another kind of folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in self.folder.iterdir() if path.name[0] != "."]
            if others and not {PHOTOS, TABLE} & set(others):
                raise UsageError(
                    f"{self.folder}: expected a project of the studio (with {PHOTOS}/ and {TABLE}) "
                    f"or an empty folder, found {min(others)}; name a new folder, and drop "
                    "these photos on its page"
                )
            for folder in (self.folder / PHOTOS, self.hidden):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: expected a folder that can be written, found none "
                f"({error.strerror}); name another"
            ) from error

    def _read(self) -> None:
        """Read the table, and find the photo of each row."""
        path = self.folder / TABLE
        if not path.exists():
            write_atomically(path, _as_csv({}))
        stamp = _stamp(path)
        table = _read_table(path)  # before anything is given up: it may be wrong
        self._stamp = stamp
        there, trashed = _names_in(self.folder / PHOTOS), _names_in(self.trash)
        self.rows, self.missing = {}, {}
        for name, row in table.items():
            if name not in there and name in trashed:  # killed while it was being deleted
                (self.trash / name).rename(self.photo(name))
                there.add(name)
            (self.rows if name in there else self.missing)[name] = row
        # An id that once meant a photo never means another: browsers keep pictures.
        named = {*self.rows, *self.missing, *there, *trashed}
        self._taken: set[str] = {name.lower() for name in named}

    def _adopt(self) -> None:
        """Take in photos that have no row: put here by hand, or by an import that was killed."""
        found = []
        for entry in os.scandir(self.folder / PHOTOS):
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                Path(entry.path).unlink()
            elif entry.is_file() and entry.name[0] != "." and entry.name not in self.rows:
                found.append(entry.name)
        if found:
            rows = {name: Row() for name in sorted(found)}
            self.change(rows, f"Find {counted(len(found), 'photo')} in the folder")

    def _expect_own_table(self) -> None:
        path = self.folder / TABLE
        if _stamp(path) == self._stamp:
            return
        if not path.exists():  # deleted by hand: what it said is still known
            write_atomically(path, _as_csv(self._all_rows()))
            self._stamp = _stamp(path)
            return
        try:
            self._read()
        except UsageError as error:
            raise StudioError(
                f"{TABLE} was changed by another program, and cannot be read any more; your change "
                f"was not made. {error}, or delete it: the studio then writes it again as it was."
            ) from error
        self._journal = Journal(self.hidden / "journal.jsonl", digest_rows(self._all_rows()))
        self._adopt()
        raise StudioConflictError(
            f"{TABLE} was changed by another program and has been read again; your change was not "
            "made. Look, and do it once more."
        )

    def _put(self, after: Mapping[str, Row | None]) -> None:
        moves = [
            (self.photo(name), self.trash / name)
            if row is None
            else (self.trash / name, self.photo(name))
            for name, row in after.items()
        ]
        self.trash.mkdir(parents=True, exist_ok=True)
        moves = [(source, target) for source, target in moves if _can_move(source, target)]
        rows, missing = _with(self.rows, after), _without(self.missing, after)
        done = 0
        try:
            for source, target in moves:
                source.rename(target)
                done += 1
            write_atomically(self.folder / TABLE, _as_csv({**rows, **missing}))
        except BaseException:
            for source, target in moves[:done]:
                target.rename(source)
            raise
        self._stamp = _stamp(self.folder / TABLE)
        self.rows, self.missing = rows, missing

    def _all_rows(self) -> dict[str, Row]:
        return {**self.rows, **self.missing}


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _can_move(source: Path, target: Path) -> bool:
    return source.is_file() and not target.exists()


def _with(rows: Mapping[str, Row], after: Mapping[str, Row | None]) -> dict[str, Row]:
    new = {**rows, **{name: row for name, row in after.items() if row is not None}}
    return {name: row for name, row in new.items() if after.get(name, row) is not None}


def _without(rows: Mapping[str, Row], names: Mapping[str, object]) -> dict[str, Row]:
    return {name: row for name, row in rows.items() if name not in names}


def _as_csv(rows: Mapping[str, Row]) -> bytes:
    columns = _COLUMNS if any(row.group for row in rows.values()) else _COLUMNS[:2]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for name, row in rows.items():
        cells = (f"{PHOTOS}/{name}", row.label, row.group)[: len(columns)]
        writer.writerow([escape_formula(cell) for cell in cells])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _read_table(path: Path) -> dict[str, Row]:
    """Return the rows by name; raise UsageError where it is no table of a project."""
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: expected a table in CSV, found {error}; mend it") from error
    header = tuple(lines[0]) if lines else ()  # empty: an editor that was killed
    if header not in (_COLUMNS, _COLUMNS[:2]):
        raise UsageError(
            f"{path}: expected the columns image,label or image,label,group, found "
            f"{','.join(header)[:100] or 'nothing'}; rename them, or open a new folder and import "
            "this one"
        )
    rows: dict[str, Row] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cells):
            continue
        if len(cells) != len(header) or max(map(len, cells)) > _MAX_CELL_CHARACTERS:
            raise UsageError(
                f"{path}: expected {len(header)} cells in row {number}, found {len(cells)}; mend it"
            )
        name, label, *group = (unescape_formula(cell.strip()) for cell in cells)
        try:
            row = Row(checked_label(label) if label else "", *group)
        except StudioError as error:
            raise UsageError(f"{path}: row {number}: {error} Mend it") from error
        rows.setdefault(name.removeprefix(f"{PHOTOS}/"), row)
    return rows


def _stamp(path: Path) -> tuple[int, int, int]:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return -1, -1, -1


def _lock(path: Path, folder: Path) -> io.BufferedRandom:
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace")
        file.close()
        raise UsageError(
            f"{folder}: expected a project that nobody has open, but another studio (process "
            f"{owner or 'unknown'}) has; stop that one, or open another folder"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file
