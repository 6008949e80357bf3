"""Folders and patterns -> names of files, in order, however many there are.

`os.walk` and `glob` hold all names of a folder in memory: 10 GB for a hundred million files. Here
they are read as a stream, and sorted in runs on disk.
"""

from __future__ import annotations

import fnmatch
import heapq
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from shopwindow.errors import UsageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES, begins_like_image
from shopwindow.plain_text import printable

NAMES_IN_MEMORY = 200_000  # 30 MB; a hundred million names are 500 runs, one open file each
_HEAD_BYTES = 64  # enough for `begins_like_image`
_MAX_EXAMPLES = 3


@dataclass
class Notes:
    """What a person should know about the inputs, besides their rows.

    Attributes:
        skipped: By reason, how many entries of folders have no row, and the first few of them.
        sentences: How names in a table were matched with files.
    """

    skipped: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Count an entry that has no row."""
        count, examples = self.skipped.get(reason, (0, []))
        if len(examples) < _MAX_EXAMPLES:
            examples.append(path)
        self.skipped[reason] = count + 1, examples

    def lines(self) -> list[str]:
        """Return all of it as lines that are safe to print."""
        skipped = [
            f"skipped: {count:,} × {reason} ({', '.join(examples)}"
            + (f" and {count - len(examples):,} more)" if count > len(examples) else ")")
            for reason, (count, examples) in self.skipped.items()
        ]
        return [printable(line) for line in (*self.sentences, *skipped)]


def walk_folder(folder: str, notes: Notes | None = None) -> Iterator[str]:
    """Yield the image files of a folder in name order, then those of its folders, likewise.

    A file counts as an image by its name or by its first bytes. Hidden files and folders are
    skipped, links to folders are not followed. A folder inside that cannot be read is yielded
    itself, so that its row says why.

    Args:
        folder: Its path.
        notes: Collects what has no row.

    Raises:
        UsageError: `folder` itself cannot be read.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        folders: list[str] = []
        try:
            for name in sort_names(_images_and_folders(place, folders, notes)):
                yield _join(place, name)
        except UsageError:
            if place == folder:
                raise
            yield place
        waiting += [_join(place, name) for name in sorted(folders, reverse=True)]


def match_pattern(pattern: str) -> Iterator[str]:
    """Yield the files and folders that match, in name order; `**` stands for any depth.

    Names that begin with a dot match only a pattern that does too. A part of the pattern that
    exists as a name, such as `photos [1]`, is that name. A folder that cannot be read is yielded
    itself.
    """
    first, *rest = Path(pattern).parts
    if first == os.sep:
        yield from _match(os.sep, rest)
    else:
        yield from _match(".", [first, *rest])


def has_wildcard(name: str) -> bool:
    """Say whether a name may be a pattern."""
    return any(sign in name for sign in "*?[")


def sort_names(names: Iterable[str], *, in_memory: int = NAMES_IN_MEMORY) -> Iterator[str]:
    """Yield names in order; more than `in_memory` are sorted in runs on disk, then merged."""
    names = iter(names)
    run = sorted(islice(names, in_memory))
    if len(run) < in_memory:
        yield from run
        return
    files: list[IO[str]] = []
    file: IO[str]
    try:
        while run:
            file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 (closed below)
            files.append(file)
            # As JSON: names may contain line breaks, and bytes that are not text.
            file.writelines(json.dumps(name) + "\n" for name in run)
            file.seek(0)
            run = sorted(islice(names, in_memory))
        yield from heapq.merge(*(map(json.loads, file) for file in files))
    finally:
        for file in files:
            file.close()


def _images_and_folders(place: str, folders: list[str], notes: Notes | None) -> Iterator[str]:
    """Yield the names of image files, and put those of folders into `folders`."""
    notes = notes or Notes()
    for entry in _scan(place):
        if _is_folder(entry):
            if not _is_partial_output(entry):
                folders.append(entry.name)
        elif _links_to_folder(entry):
            notes.skip(_join(place, entry.name), "link to a folder")
        elif _is_image(entry):
            yield entry.name
        else:
            notes.skip(_join(place, entry.name), "not an image")


def _is_partial_output(entry: os.DirEntry[str]) -> bool:
    """Say whether a folder has the parts of a run, whose output goes among its inputs."""
    return entry.name.endswith(".partial") and os.path.exists(_join(entry.path, "_inputs"))  # noqa: PTH110


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # it is gone, or its mount is; with an image's name it has a row
        return False


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _match(folder: str, parts: list[str]) -> Iterator[str]:
    head, *rest = parts
    if (head == "**" or has_wildcard(head)) and not _is_readable(folder):
        yield folder  # its row says why
        return
    if head == "**":
        if not rest:
            yield folder
            return
        yield from _match(folder, rest)
        for name in sort_names(entry.name for entry in _scan(folder) if _is_folder(entry)):
            yield from _match(_join(folder, name), parts)
        return
    if has_wildcard(head) and not os.path.lexists(_join(folder, head)):
        matches = re.compile(fnmatch.translate(head)).match
        entries = _scan(folder, hidden=head.startswith("."))
        found = sort_names(entry.name for entry in entries if matches(entry.name))
    else:
        found = iter([head])
    for name in found:
        path = _join(folder, name)
        if not rest and os.path.lexists(path):
            yield path
        elif rest and os.path.isdir(path):  # noqa: PTH112
            yield from _match(path, rest)


def _is_readable(folder: str) -> bool:
    try:
        os.scandir(folder).close()
    except OSError:
        return False
    return True


def _scan(folder: str, *, hidden: bool = False) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if hidden or not entry.name.startswith("."):
                    yield entry
    except OSError as error:
        raise UsageError(f"Cannot read the folder {folder}: {error.strerror}.") from error


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder.rstrip(os.sep)}{os.sep}{name}"


def _is_image(entry: os.DirEntry[str]) -> bool:
    if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:  # noqa: PTH122
        return True
    try:
        if not entry.is_file():  # reading a pipe would block
            return False
        with open(entry.path, "rb") as file:  # noqa: PTH123 (see `_expand`)
            return begins_like_image(file.read(_HEAD_BYTES))
    except OSError:
        return False
