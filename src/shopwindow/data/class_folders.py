"""Labelled images without a table: each folder is a label.

The shape of nested folders says which level holds the labels. `training_set/cat`,
`training_set/dog`, `test_set/cat`, `test_set/dog`: folders with the same names below each are parts
of a data set, and the names below are the labels. A folder that is alone (`archive/shapes/cat`)
only wraps others.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import (
    LABEL_COLUMN_NAME,
    DroppedRow,
    LabelledImages,
    Row,
    build_images,
)
from shopwindow.data.parts import Role, describe_parts, describe_roles, held_out_role, role_of
from shopwindow.errors import UsageError
from shopwindow.plain_text import counted


@dataclass(frozen=True, slots=True)
class Part:
    """A folder whose folders are labels.

    Attributes:
        folder: Its relative POSIX path, ending with `/`; "" for the whole data set.
        role: What its name says that it is for; "" where it says nothing.
    """

    folder: str
    role: Role


def has_class_folders(folder: ImageFolder) -> bool:
    """Say whether the images lie in two folders or more that can be labels."""
    parts = find_parts(folder.images)
    labels = {_place_in(parts, name)[1] for name in folder.images}
    return len(labels - {""}) > 1


def read_class_folders(folder: ImageFolder) -> LabelledImages:
    """Read which image is in which folder, at the level that `find_parts` finds.

    Raises:
        UsageError: The folders are parts of a data set, without folders of labels in them.
    """
    dropped = [DroppedRow("file", name, reason) for name, reason in sorted(folder.refused.items())]
    kept: list[Row] = []
    role_by_name: dict[str, Role] = {}
    below: dict[str, str] = {}  # of images that lie deeper, the folder below that of the label
    parts = find_parts(folder.images)
    for name in folder.images:
        part, label, rest = _place_in(parts, name)
        if part is None or not label:
            dropped.append(DroppedRow("file", name, "not in the folder of a label"))
        elif not _is_unicode(label):
            dropped.append(DroppedRow("file", name, "the name of its folder is not UTF-8"))
        else:
            kept.append((name, "file", (unicodedata.normalize("NFC", label),)))
            role_by_name[name] = part.role
            if "/" in rest:
                below[name] = rest.partition("/")[0]
    notes_below = _read_parts_below(below, role_by_name)
    labels = sorted({label for _, _, (label,) in kept if label})
    if labels and all(role_of(label) is not None for label in labels):
        raise UsageError(
            f"The folders of {folder.root} are parts of a data set ({', '.join(labels)}), not "
            "labels, and there are no folders with labels in them: put the images of each label "
            "into a folder of its own, or name a table with --labels."
        )
    images = build_images((LABEL_COLUMN_NAME,), kept, dropped, folder)
    roles = tuple(role_by_name[name] for name in images.references)
    inner = (_place_in(parts, f"{name}/") for name in folder.folders)
    return replace(
        images,
        roles=roles,
        notes=(*_describe_levels(parts, images.references, roles), *notes_below),
        named_labels=frozenset(
            unicodedata.normalize("NFC", label)
            for _, label, rest in inner
            if label and not rest and _is_unicode(label)
        ),
    )


def _place_in(parts: Sequence[Part], name: str) -> tuple[Part | None, str, str]:
    """Return the part that a file is in, the folder of its label ("" for none), and the rest."""
    for part in parts:
        if name.startswith(part.folder):
            label, slash, rest = name.removeprefix(part.folder).partition("/")
            return (part, label, rest) if slash else (part, "", label)
    return None, "", name


def _read_parts_below(below: Mapping[str, str], role_by_name: dict[str, Role]) -> list[str]:
    """Take `cat/train` and `cat/test` for parts; say which other folders do not count."""
    if not below:
        return []
    given = {name: role for name, folder in below.items() if (role := role_of(folder)) is not None}
    is_split = len(given) == len(role_by_name) and held_out_role(given.values()) is not None
    if is_split and not any(role_by_name.values()):
        role_by_name.update(given)
        return ["Parts: the folders below those of the labels", *describe_roles([*given.values()])]
    name, folder = next(iter(below.items()))
    path = name[: name.index(f"/{folder}/") + 1 + len(folder)]
    return [
        f"{counted(len(below), 'image')} in folders below those of the labels, such as {path}: "
        "these folders do not count as labels; to use them, name a folder above them as DATA"
    ]


def _describe_levels(
    parts: Sequence[Part], references: Sequence[str], roles: Sequence[Role]
) -> tuple[str, ...]:
    """Say which folders were taken for labels, and what becomes of the parts they are in."""
    if len(parts) == 1:
        return (f"Labels: the folders of {parts[0].folder.rstrip('/') or 'the data'}",)
    named = {
        f"{part.folder.rstrip('/')} ({counted(count, 'image')})": part.role
        for part in parts
        for count in [sum(name.startswith(part.folder) for name in references)]
    }
    return (
        f"Labels: the folders of each part: {', '.join(named)}",
        describe_parts(named, held_out_role(roles)),
    )


def _is_unicode(text: str) -> bool:
    """Say whether a name can be written into a bundle: odd bytes of a file system cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass
class _Folder:
    images: int = 0  # directly in it
    folders: dict[str, _Folder] = field(default_factory=dict)

    @property
    def below(self) -> int:
        """Images at any depth below its folders."""
        return sum(folder.images + folder.below for folder in self.folders.values())


def find_parts(images: Iterable[str]) -> list[Part]:
    """Return the folders whose folders are labels; a single one where the data has no parts.

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
    return _parts_below(root, "", "")


def _parts_below(folder: _Folder, path: str, role: Role) -> list[Part]:
    folder, path = _unwrap(folder, path)
    inner = {name: _unwrap(child, f"{path}{name}/") for name, child in folder.folders.items()}
    if not _are_parts({name: child for name, (child, _) in inner.items()}):
        return [Part(path, role)]
    return [
        part
        for name, (child, below) in sorted(inner.items())
        for part in _parts_below(child, below, role_of(name) or role)
    ]


def _unwrap(folder: _Folder, path: str) -> tuple[_Folder, str]:
    """Go down as long as there is one folder, and that holds folders rather than images."""
    while len(folder.folders) == 1:
        name, inner = next(iter(folder.folders.items()))
        if max(folder.images, inner.images) >= inner.below:
            break
        folder, path = inner, f"{path}{name}/"
    return folder, path


def _are_parts(folders: Mapping[str, _Folder]) -> bool:
    """Say whether these folders, without what wraps them, are parts rather than labels."""
    nested = [child for child in folders.values() if child.folders and child.images < child.below]
    called_parts = [name for name in folders if role_of(name) is not None]
    if nested and len(called_parts) == len(folders) > 1:
        return True
    names = Counter(label for child in nested for label in child.folders)
    shared = {label for label, count in names.items() if count > 1}
    alike = all(2 * len(shared & set(child.folders)) >= len(child.folders) for child in nested)
    is_deep = any(inside.folders for child in nested for inside in child.folders.values())
    if all(map(role_of, shared)) and not is_deep:
        return False  # the parts are below the labels: cat/train, cat/test
    # Many folders with the same few below each are labels, seen from the front and from the back.
    return len(shared) > 1 and alike and bool(called_parts or len(names) >= len(nested))
