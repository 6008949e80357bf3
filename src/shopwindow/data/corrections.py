"""Labels that somebody has judged again: a table of decisions, laid over a data set.

The data set itself stays as it is. A table names images; a bundle, which travels, names them by a
key that says nothing about the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopwindow.data.tables import open_table
from shopwindow.errors import DataError
from shopwindow.plain_text import counted, listed

DECISIONS = ("keep", "relabel", "drop")
COLUMNS = ("image", "decision", "label")


@dataclass(frozen=True)
class Corrections:
    """What to learn instead of what a data set says.

    Attributes:
        labels: The label of each image that is named; None where it is to be left out.
        is_recorded: Whether images are named by `correction_key`, as in a bundle, and not by
            reference. Images that the data lack are then no mistake: these may be other data.
    """

    labels: Mapping[str, str | None]
    is_recorded: bool = False

    def of_images(
        self, references: Sequence[str], digests: Sequence[int], known: set[str]
    ) -> dict[int, str | None]:
        """Return the corrections of N images by their indices.

        Args:
            references: (N,) their names.
            digests: (N,) of their files.
            known: Labels that there are.

        Raises:
            DataError: A table names an image or a label that there is not.
        """
        if self.is_recorded:
            names = map(correction_key, references, digests)
            return {i: self.labels[name] for i, name in enumerate(names) if name in self.labels}
        index_of = {name: index for index, name in enumerate(references)}
        if unknown := [name for name in self.labels if name not in index_of]:
            raise DataError(
                f"--corrections: expected images of the data set, found {len(unknown):,} that it "
                f"lacks: {listed(unknown, 3)}; use the table of decisions about these data"
            )
        if unknown := sorted({label for label in self.labels.values() if label} - known):
            raise DataError(
                "--corrections: expected labels of the data set, found "
                f"{listed(list(map(repr, unknown)), 3)}; correct the spelling, or give the label "
                "to an image in the data set first"
            )
        return {index_of[name]: label for name, label in self.labels.items()}


def read_corrections(path: Path) -> Corrections:
    """Read a table of decisions, as the page of `shopwindow audit` gives it.

    Its columns are `image`, `decision` (`keep`, `relabel` or `drop`) and `label`, which is the new
    one and empty elsewhere.

    Raises:
        DataError: It cannot be read, or a row is something else.
    """
    table = open_table(path)
    if missing := [name for name in COLUMNS if table.columns.count(name) != 1]:
        raise DataError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, found no {listed(missing, 3)} "
            f"among {listed(list(table.columns), 8)}"
        )
    labels: dict[str, str | None] = {}
    seen: set[str] = set()
    for row in table.rows(COLUMNS):
        where = f"{path}, row {row.number}"
        if row.problem:
            raise DataError(f"{where}: expected {', '.join(COLUMNS)}, found {row.problem}")
        image, decision, label = row.cells
        if decision not in DECISIONS:
            raise DataError(f"{where}: expected {' or '.join(DECISIONS)}, found {decision!r}")
        if bool(label) != (decision == "relabel"):
            found = f"{label!r}" if label else "none"
            raise DataError(
                f"{where}: expected a label with relabel and with nothing else, found {found} with "
                f"{decision}"
            )
        if image in seen:
            raise DataError(f"{where}: expected one decision for each image, found two for {image}")
        seen.add(image)
        if decision != "keep":
            labels[image] = label or None
    return Corrections(labels)


def recorded_corrections(record: object) -> Corrections | None:
    """Read what `Corrections.labels` of a bundle or run were, from JSON.

    Raises:
        DataError: It is something else.
    """
    if record is None:
        return None
    if not isinstance(record, dict) or not all(
        label is None or isinstance(label, str) for label in record.values()
    ):
        raise DataError("expected a JSON object with a label or null for each corrected image.")
    return Corrections(record, is_recorded=True)


def correction_key(reference: str, digest: int) -> str:
    """Return what a bundle calls an image: 16 hexadecimal digits, from which no name is read.

    Copies of one file have different keys, since one of them may be left out and the other kept.

    Args:
        reference: Its name in the data set.
        digest: Of its file, 64 bits.
    """
    text = f"{digest:016x} {reference}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def count_corrections(corrected: Mapping[Any, str | None]) -> list[str]:
    """Return a sentence about how many there are, if there are any, in a list."""
    if not corrected:
        return []
    dropped = sum(label is None for label in corrected.values())
    return [
        f"{counted(len(corrected) - dropped, 'label')} corrected, "
        f"{counted(dropped, 'image')} left out"
    ]
