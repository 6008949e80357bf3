"""Which level of nested folders holds the labels, told by their shape.

`training_set/cat`, `training_set/dog`, `test_set/cat`, `test_set/dog`: folders with the same names
below each are parts of a data set, and the names below are the labels. A folder that is alone
(`archive/shapes/cat`) is only a wrapping. What a part is for, its name says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["train", "valid", "test", ""]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "learn", "learning"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout"), "test"),
    **dict.fromkeys(("fold", "part", "split", "batch", "shard", "pred"), ""),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ENDINGS = re.compile(r"(set|data|images|imgs|img)$")


@dataclass(frozen=True, slots=True)
class Part:
    """A folder whose folders are labels.

    Attributes:
        folder: Its relative POSIX path, ending with `/`; "" for the whole data set.
        role: What its name says that it is for; "" where it says nothing.
    """

    folder: str
    role: Role


@dataclass
class _Folder:
    images: int = 0  # right in it
    folders: dict[str, _Folder] = field(default_factory=dict)

    @property
    def below(self) -> int:
        """Images at any depth below its folders."""
        return sum(folder.images + folder.below for folder in self.folders.values())


def role_of(name: str) -> Role | None:
    """Return what the name of a folder or file says that it is for; None if it is another name.

    `test_set`, `TrainingData`, `seg_train` and `val2017` do; `trainers` does not.
    """
    for word in _WORD.findall(name):
        for text in (word.lower(), _ENDINGS.sub("", word.lower())):
            if text in _ROLES:
                return _ROLES[text]
    return None


def find_parts(images: Iterable[str]) -> list[Part]:
    """Return the folders whose folders are labels; one where the data set has no parts.

    Args:
        images: Relative POSIX paths of all images.
    """
    root = _Folder()
    for name in images:
        *path, _ = name.split("/")
        folder = root
        for step in path:
            folder = folder.folders.setdefault(step, _Folder())
        folder.images += 1
    return _parts(root, "", "")


def held_out_role(roles: Iterable[str]) -> Role | None:
    """Return which of the parts judges a model, if there is one, and one to learn from."""
    there = set(roles)
    if not there - {"valid", "test"}:
        return None
    return "valid" if "valid" in there else "test" if "test" in there else None


def _parts(folder: _Folder, path: str, role: Role) -> list[Part]:
    folder, path = _unwrapped(folder, path)
    inner = {name: _unwrapped(one, f"{path}{name}/") for name, one in folder.folders.items()}
    if not _are_parts({name: one for name, (one, _) in inner.items()}):
        return [Part(path, role)]
    return [
        part
        for name, (one, below) in sorted(inner.items())
        for part in _parts(one, below, role_of(name) or role)
    ]


def _unwrapped(folder: _Folder, path: str) -> tuple[_Folder, str]:
    """Go down as long as there is one folder, and that holds folders rather than images."""
    while len(folder.folders) == 1:
        name, inner = next(iter(folder.folders.items()))
        if max(folder.images, inner.images) >= inner.below:
            break
        folder, path = inner, f"{path}{name}/"
    return folder, path


def _are_parts(inner: Mapping[str, _Folder]) -> bool:
    """Say whether these folders, without their wrappings, are parts rather than labels."""
    nested = {name: one for name, one in inner.items() if one.folders and one.images < one.below}
    said = [name for name in inner if role_of(name) is not None]
    if nested and len(said) == len(inner) > 1:
        return True
    names = Counter(label for one in nested.values() for label in one.folders)
    shared = {label for label, count in names.items() if count > 1}
    alike = all(2 * len(shared & set(one.folders)) >= len(one.folders) for one in nested.values())
    lowest = [inside for one in nested.values() for inside in one.folders.values()]
    if all(map(role_of, shared)) and not any(inside.folders for inside in lowest):
        return False  # the parts are below the labels: cat/train, cat/test
    # Many folders with the same few below each are labels, seen from the front and from the back.
    return len(shared) > 1 and alike and bool(said or len(names) >= len(nested))
