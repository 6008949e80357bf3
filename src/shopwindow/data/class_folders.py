"""Labelled images without a table: each folder is a label."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shopwindow.data.folder import ImageFolder
from shopwindow.data.labelled_images import (
    LABEL_COLUMN_NAME,
    DroppedRow,
    LabelledImages,
    Row,
    build_images,
)
from shopwindow.data.layout import Part, Role, find_parts, held_out_role, role_of
from shopwindow.errors import UsageError
from shopwindow.plain_text import counted


def has_class_folders(folder: ImageFolder) -> bool:
    """Say whether the images lie in two folders or more that can be labels."""
    parts = find_parts(folder.images)
    inner = (
        name[len(part.folder) :]
        for part in parts
        for name in folder.images
        if name.startswith(part.folder)
    )
    return len({name.partition("/")[0] for name in inner if "/" in name}) > 1


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
        part = next((part for part in parts if name.startswith(part.folder)), None)
        label, slash, rest = name[len(part.folder) if part else 0 :].partition("/")
        if part is None or not slash:
            dropped.append(DroppedRow("file", name, "not in a class folder"))
        elif not _is_unicode(label):
            dropped.append(DroppedRow("file", name, "the name of its folder is not UTF-8"))
        else:
            kept.append((name, "file", (unicodedata.normalize("NFC", label),)))
            role_by_name[name] = part.role
            if "/" in rest:
                below[name] = rest.partition("/")[0]
    told = _read_deeper(below, role_by_name)
    found = sorted({label for _, _, (label,) in kept if label})
    if found and all(role_of(label) is not None for label in found):
        raise UsageError(
            f"The folders of {folder.root} are parts of a data set ({', '.join(found)}), not "
            "labels, and there are no folders with labels in them: put the images of each label "
            "into a folder of its own, or name a table with --labels."
        )
    built = build_images((LABEL_COLUMN_NAME,), kept, dropped, folder)
    roles = tuple(role_by_name[name] for name in built.references)
    named = (
        name[len(part.folder) :]
        for part in parts
        for name in folder.folders
        if name.startswith(part.folder)
    )
    return replace(
        built,
        roles=roles,
        notes=(*_name_parts(parts, built.references, roles), *told),
        named_labels=frozenset(
            unicodedata.normalize("NFC", name)
            for name in named
            if name and "/" not in name and _is_unicode(name)
        ),
    )


def _read_deeper(below: Mapping[str, str], role_by_name: dict[str, Role]) -> list[str]:
    """Take `cat/train` and `cat/test` for parts; say which other folders are not told apart."""
    if not below:
        return []
    given = {name: role for name, folder in below.items() if (role := role_of(folder)) is not None}
    is_split = len(given) == len(role_by_name) and held_out_role(given.values()) is not None
    if is_split and not any(role_by_name.values()):
        role_by_name.update(given)
        counts = Counter(given.values())
        named = {f"{role} ({counted(counts[role], 'image')})": role for role in sorted(counts)}
        return [
            "Parts: the folders below those of the labels",
            name_roles(named, held_out_role(given.values())),
        ]
    name, folder = next(iter(below.items()))
    path = name[: name.index(f"/{folder}/") + 1 + len(folder)]
    return [
        f"{counted(len(below), 'image')} in folders below those of the labels, such as {path}: "
        "these are not told apart; name one of the upper folders as DATA to take them for labels"
    ]


def _name_parts(
    parts: Sequence[Part], references: Sequence[str], roles: Sequence[Role]
) -> tuple[str, ...]:
    """Say which folders were taken for labels, and what becomes of the parts they are in."""
    if len(parts) == 1:
        folder = parts[0].folder.rstrip("/")
        return (f"Labels: the folders of {folder or 'the data'}",)
    counts = {part: sum(name.startswith(part.folder) for name in references) for part in parts}
    named = {
        part: f"{part.folder.rstrip('/')} ({counted(count, 'image')})"
        for part, count in counts.items()
    }
    return (
        f"Labels: the folders of each part: {', '.join(named.values())}",
        name_roles({named[part]: part.role for part in parts}, held_out_role(roles)),
    )


def name_roles(roles: Mapping[str, Role], held_out: Role | None) -> str:
    """Say in a sentence what each part of a data set is used for."""
    if held_out is None:
        return "All parts are read as one; name one of them as DATA to read it alone"
    judges = [name for name, role in roles.items() if role == held_out]
    apart = [name for name, role in roles.items() if role == "test" != held_out]
    sentence = f"Held out to grade a training by: {', '.join(judges)}"
    if apart:
        sentence += f"; kept for shopwindow evaluate: {', '.join(apart)}"
    return sentence


def _is_unicode(text: str) -> bool:
    """Say whether a name can be written into a bundle: odd bytes of a file system cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
