"""Which file each row of a table means: by its name, or by the rule that most of the rows need.

A table is often written elsewhere than where its images lie now: a tool took the zeros off `007`,
macOS wrote `ö` in two signs, the paths begin with a folder that is not here. Rows without a file
are compared with files without a row; a rule that most of them fit is applied, and a note says so.
No rule leads out of the folder: each finds a file that was listed there.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shopwindow.data.folder import ImageFolder, Match
from shopwindow.imaging.formats import IMAGE_SUFFIXES

_FEWEST = 2  # rows that make a rule: one may be a coincidence
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_Key = Callable[[str], str]


@dataclass(frozen=True)
class _Rule:
    """A way to compare names.

    Attributes:
        key: Names with the same key mean the same file.
        path: Whether the folders count, or only so much of the path as both have.
        sentence: What the note says, after the number of rows.
        sure: Whether it cannot mistake one image for another, and so needs no majority.
    """

    key: _Key
    sentence: str
    path: bool = True
    sure: bool = False


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    if name.isascii():  # as nearly all are, and there are many
        return name.lower()
    return unicodedata.normalize("NFC", _composed(name).casefold())


def _stem(name: str) -> str:
    stem, suffix = posixpath.splitext(_folded(name))
    return stem if suffix in IMAGE_SUFFIXES or suffix == ".0" else _folded(name)  # 7.0 of pandas


def _without_zeros(name: str) -> str:
    return _ZEROS.sub("", _stem(name))


_RULES = (
    _Rule(_composed, "with accents in another Unicode form", sure=True),
    _Rule(_folded, "by ignoring case", sure=True),
    _Rule(_stem, "with another extension"),
    _Rule(_without_zeros, "with leading zeros"),
    _Rule(_stem, "", path=False),
    _Rule(_without_zeros, "with leading zeros and", path=False),
)


def match_names(names: Sequence[str], folder: ImageFolder) -> tuple[list[Match], list[str]]:
    """Find the file of each name.

    Args:
        names: What the rows of a table call their images.
        folder: The files.

    Returns:
        What each name means; and a sentence for each rule by which files
        were found that have other names.
    """
    found = {name: folder.find(name) for name in dict.fromkeys(names)}
    notes = []
    for rule in _RULES:
        taken = {match.usable for match in found.values()}
        lost = [name for name, match in found.items() if _is_lost(name, match)]
        free = [file for file in folder.images if file not in taken]
        if not lost or not free:
            break
        pairs = dict(_pairs(lost, free, rule))
        most = 2 * len(pairs) >= min(len(lost), len(free)) and len(pairs) >= _FEWEST
        if pairs and (most or rule.sure):
            found.update({name: Match(file) for name, file in pairs.items()})
            notes.append(_sentence(rule, pairs))
    return [found[name] for name in names], notes


def _is_lost(name: str, match: Match) -> bool:
    """Say whether no file has this name, rather than several or one that is refused."""
    if not match.problem or match.file or match.problem.startswith(("no image: ", "more than one")):
        return False
    return "\0" not in name


def _pairs(lost: Iterable[str], free: Iterable[str], rule: _Rule) -> Iterator[tuple[str, str]]:
    """Yield names with their only file, where that is the file of no other name."""
    files: dict[str, list[str]] = {}
    for file in free:
        for key in _keys(file, rule) if rule.path else _ends(rule.key(file)):
            files.setdefault(key, []).append(file)
    hits: dict[str, str] = {}
    for name in lost:
        key = rule.key(_as_path(name))
        for end in (key,) if rule.path else _ends(key):
            fitting = files.get(end, [])
            if len(fitting) == 1:
                hits[name] = fitting[0]
            if fitting:
                break  # a shorter end fits no fewer files
    names = Counter(hits.values())
    return ((name, file) for name, file in hits.items() if names[file] == 1)


def _keys(file: str, rule: _Rule) -> set[str]:
    """As without any rule, a name may lack the extension and the folder `images`."""
    places = (file, file[7:]) if file.startswith("images/") else (file,)
    stems = (path.rpartition(".")[0] or path for path in places)
    return {rule.key(path) for path in (*places, *stems)}


def _ends(path: str) -> list[str]:
    """Return `a/b/c`, `b/c` and `c`."""
    steps = path.split("/")
    return ["/".join(steps[start:]) for start in range(len(steps))]


def _as_path(name: str) -> str:
    if "://" in name:
        try:
            name = unquote(urlsplit(name).path)
        except ValueError:
            return name
    return posixpath.normpath(name.replace("\\", "/"))


def _sentence(rule: _Rule, pairs: dict[str, str]) -> str:
    name, file = next(iter(pairs.items()))
    how = rule.sentence
    if not rule.path:
        more = [_surplus(_as_path(name), file) for name, file in pairs.items()]
        said, there = (set(part) for part in zip(*more, strict=True))
        rows = f"without {said.pop()!r}" if len(said) == 1 and "" not in said else ""
        rows = rows or ("by the end of their path" if said != {""} else "")
        files = f"in {there.pop()!r}" if len(there) == 1 and "" not in there else ""
        files = files or ("in other folders" if there != {""} else "")
        how = " ".join(filter(None, (how, rows, files))) or "by the end of their path"
    count = f"{len(pairs):,} images were" if len(pairs) > 1 else "1 image was"
    return f"{count} found {how}: {name[:80]} is {file}"


def _surplus(path: str, file: str) -> tuple[str, str]:
    """Return the folders in front of what two paths have in common."""
    steps, there = path.split("/"), file.split("/")
    while len(steps) > 1 and len(there) > 1 and _folded(steps[-2]) == _folded(there[-2]):
        steps.pop()
        there.pop()
    return _folders(steps), _folders(there)


def _folders(steps: Sequence[str]) -> str:
    return "".join(f"{step}/" for step in steps[:-1])
