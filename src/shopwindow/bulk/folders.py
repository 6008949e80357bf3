"""Folders and patterns -> names of files, in order, however many there are.

`os.walk` and `glob` hold all names of a folder in memory, which for a hundred million files is
10 GB; here they are read as a stream and sorted in runs on the disk.
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
_HEAD_BYTES = 64  # by which `begins_like_image` tells
_NAMED = 3


@dataclass
class Notes:
    """What a person should know about the inputs, besides their rows.

    Attributes:
        passed_over: By reason, how many entries of folders have no row, and the first few of them.
        told: What names of a table were taken for what, a sentence each.
    """

    passed_over: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def pass_over(self, path: str, reason: str) -> None:
        """Count an entry that has no row."""
        count, named = self.passed_over.get(reason, (0, []))
        if len(named) < _NAMED:
            named.append(path)
        self.passed_over[reason] = count + 1, named

    def lines(self) -> list[str]:
        """Return all of it as sentences that are safe to print."""
        passed = [
            f"passed over: {count:,} × {reason} ({', '.join(named)}"
            + (f" and {count - len(named):,} more)" if count > len(named) else ")")
            for reason, (count, named) in self.passed_over.items()
        ]
        return [printable(sentence) for sentence in (*self.told, *passed)]


def walk_folder(folder: str, notes: Notes | None = None) -> Iterator[str]:
    """Yield the image files of a folder in name order, then those of its folders, likewise.

    A file is one if it is called like one or begins like one. Hidden files and folders are passed
    over, links to folders are not followed. A folder below that cannot be read is yielded itself,
    so that it gets a row that says so.

    Args:
        folder: Its path.
        notes: Is told of what has no row.

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
    """Yield the files and folders that fit, in name order; `**` stands for any depth.

    What begins with a dot only fits a pattern that says so. A part of the pattern that is the name
    of something there, such as `photos [1]`, is that name. A folder that cannot be read is yielded
    itself.
    """
    first, *rest = Path(pattern).parts
    if first == os.sep:
        yield from _match(os.sep, rest)
    else:
        yield from _match(".", [first, *rest])


def has_wildcard(name: str) -> bool:
    """Say whether a name can be meant as a pattern."""
    return any(sign in name for sign in "*?[")


def sort_names(names: Iterable[str], *, in_memory: int = NAMES_IN_MEMORY) -> Iterator[str]:
    """Yield names in order; more than `in_memory` are sorted in runs on the disk, and merged."""
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
            # As JSON: a name may hold line breaks, and bytes that are no text.
            file.writelines(json.dumps(name) + "\n" for name in run)
            file.seek(0)
            run = sorted(islice(names, in_memory))
        yield from heapq.merge(*(map(json.loads, file) for file in files))
    finally:
        for file in files:
            file.close()


def _images_and_folders(place: str, folders: list[str], notes: Notes | None) -> Iterator[str]:
    """Yield the names of image files, and put those of folders into `folders`."""
    for entry in _scan(place):
        if _is_folder(entry):
            if not _is_own(entry):
                folders.append(entry.name)
        elif _leads_to_folder(entry):
            if notes is not None:
                notes.pass_over(_join(place, entry.name), "link to a folder")
        elif _is_image_name(entry.name) or _begins_like_image(entry):
            yield entry.name
        elif notes is not None:
            notes.pass_over(_join(place, entry.name), "no image")


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Say whether a folder has the parts of a run, as where its output goes among its inputs."""
    return entry.name.endswith(".partial") and os.path.exists(_join(entry.path, "_inputs"))  # noqa: PTH110


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # it is gone, or its mount is: what is called like an image has a row
        return False


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _match(folder: str, parts: list[str]) -> Iterator[str]:
    head, *rest = parts
    if (head == "**" or has_wildcard(head)) and not _is_readable(folder):
        yield folder  # for a row that says why
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
        fits = re.compile(fnmatch.translate(head)).match
        hidden = head.startswith(".")
        found = sort_names(e.name for e in _scan(folder, hidden=hidden) if fits(e.name))
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


def _begins_like_image(entry: os.DirEntry[str]) -> bool:
    try:
        if not entry.is_file():  # a pipe would keep its reader waiting
            return False
        with open(entry.path, "rb") as file:  # noqa: PTH123 (see `_expand`)
            return begins_like_image(file.read(_HEAD_BYTES))
    except OSError:
        return False


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
