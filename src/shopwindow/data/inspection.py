"""A data set to look at: a summary for the terminal, and one page with everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from shopwindow.atomic_write import write_page
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import name_twins
from shopwindow.data.labelled_images import DroppedRow
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import counted, printable

_SHEET_IMAGES = 60
_SHEET_SEED = 42
_MAX_GROUPS = 40
_MAX_BARS = 300
_MAX_LISTED = 50_000
_THUMBNAIL_SIDE_PX = 160


@dataclass(frozen=True)
class ColumnSizes:
    """How many images each label of a column has.

    Attributes:
        name: The column.
        sizes: (label, number of images), most images first.
        missing: Number of images without a label in this column.
    """

    name: str
    sizes: tuple[tuple[str, int], ...]
    missing: int


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same picture.

    Attributes:
        indices: Two or more images of the data set, ascending.
        labels: The different main labels that they have, sorted.
        exact: Whether their pixels are equal, rather than nearly so.
    """

    indices: tuple[int, ...]
    labels: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class Findings:
    """What is worth knowing about a data set before training on it.

    Attributes:
        columns: One entry per label column, the main one first.
        duplicates: Largest group first.
        dropped: By kind of reason, the rows and image files that were left out; most rows first.
    """

    columns: tuple[ColumnSizes, ...]
    duplicates: tuple[DuplicateGroup, ...]
    dropped: dict[str, list[DroppedRow]]

    @property
    def contradictions(self) -> list[DuplicateGroup]:
        """Duplicates with different main labels."""
        return [group for group in self.duplicates if len(group.labels) > 1]


def find_out(dataset: Dataset) -> Findings:
    """Count labels, group duplicates, and group what was left out."""
    by_kind: dict[str, list[DroppedRow]] = {}
    for row in dataset.dropped:
        by_kind.setdefault(row.kind, []).append(row)
    return Findings(
        tuple(_column_sizes(dataset, name) for name in dataset.label_columns),
        _duplicate_groups(dataset),
        dict(sorted(by_kind.items(), key=lambda kind: -len(kind[1]))),
    )


def _column_sizes(dataset: Dataset, name: str) -> ColumnSizes:
    codes = dataset.codes[name]
    # Of images that allow several labels, the whole cell is counted.
    names = dataset.cell_names(name)
    counts = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    # Labels are sorted, and so stay where counts are equal.
    sizes = sorted(zip(names, counts, strict=True), key=lambda size: -size[1])
    return ColumnSizes(name, tuple(sizes), int((codes < 0).sum()))


def _duplicate_groups(dataset: Dataset) -> tuple[DuplicateGroup, ...]:
    numbers = dataset.duplicate_groups()
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    main = dataset.label_columns[0]
    names, codes = dataset.cell_names(main), dataset.codes[main]
    groups = []
    for members in np.split(order, starts[1:]):
        if len(members) > 1:
            images = dataset.images(members)
            labels = tuple(names[code] for code in np.unique(codes[members]))
            exact = bool((images == images[0]).all())
            groups.append(DuplicateGroup(tuple(members.tolist()), labels, exact))
    return tuple(sorted(groups, key=lambda group: (-len(group.indices), group.indices)))


def summarise_dataset(dataset: Dataset) -> str:
    """Return what is in a data set as a few lines of text, for the terminal."""
    findings = find_out(dataset)
    rule = dataset.rule
    main = findings.columns[0]
    image_column = dataset.catalogue.image_column
    lines = [
        f"{counted(len(dataset), 'image')}{f' by {image_column}' if image_column else ''} with "
        f"{counted(len(dataset.vocabularies[main.name]), 'label')} in "
        f"{main.name}, {rule.width_px} x {rule.height_px} px",
        *dataset.notes,
        "",
        *_column_lines(dataset, findings.columns),
        *name_twins(dataset.vocabularies[main.name]),
        "",
        *_duplicate_lines(findings),
        "",
        *_dropped_lines(findings, is_whole=dataset.is_whole),
    ]
    return "\n".join(map(printable, lines))


def _column_lines(dataset: Dataset, columns: tuple[ColumnSizes, ...]) -> list[str]:
    width = max(len(column.name) for column in columns)
    lines = []
    for column in columns:
        largest = ", ".join(f"{label} {count:,}" for label, count in column.sizes[:4])
        rest = f", … {column.sizes[-1][0]} {column.sizes[-1][1]:,}" if column.sizes[4:] else ""
        missing = f" ({column.missing:,} images without)" if column.missing else ""
        # Of images that allow several labels, the whole cell is counted.
        known = set(dataset.vocabularies[column.name])
        what = "label" if all(label in known for label, _ in column.sizes) else "cell"
        count = f"{counted(len(column.sizes), what):>11}"
        lines.append(f"  {column.name:{width}}  {count}: {largest}{rest}{missing}")
    return lines


def _duplicate_lines(findings: Findings) -> list[str]:
    groups = findings.duplicates
    if not groups:
        return ["No duplicates"]
    images = sum(len(group.indices) for group in groups)
    exact = sum(group.exact for group in groups)
    lines = [
        f"{counted(len(groups), 'group')} of duplicates, {images:,} images "
        f"({exact:,} exact, {len(groups) - exact:,} near; largest {len(groups[0].indices):,})"
    ]
    if findings.contradictions:
        example = " / ".join(findings.contradictions[0].labels)
        lines.append(
            f"  {len(findings.contradictions):,} of them with different labels, such as {example}"
        )
    return lines


def _dropped_lines(findings: Findings, *, is_whole: bool) -> list[str]:
    if not findings.dropped:
        return ["Nothing left out" if is_whole else "No rows or images left out"]
    total = sum(map(len, findings.dropped.values()))
    lines = [f"{total:,} rows and image files left out" if total > 1 else "1 row or file left out"]
    for kind, rows in findings.dropped.items():
        first = rows[0]
        example = f"{first.where}, {first.reference[:60]}"
        example += f": {first.detail}" if first.detail else ""
        lines.append(f"  {len(rows):>7,}  {kind} ({example})")
    return lines


def write_inspection(dataset: Dataset, path: Path) -> Path:
    """Write one HTML page that shows a data set, with everything in it and nothing to load.

    It has a contact sheet with labels, the sizes of the classes, duplicates, duplicates with
    different labels, and all rows and images that were left out, by reason.

    Args:
        dataset: What to show.
        path: The page. Its folder is made where there is none.

    Returns:
        `path`.

    Raises:
        UsageError: The page cannot be written there.
    """
    findings = find_out(dataset)
    main = dataset.label_columns[0]
    names = dataset.cell_names(main)
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("shopwindow.data", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["image"] = lambda index: jpeg_data_uri(
        dataset.images([index])[0], _THUMBNAIL_SIDE_PX
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    page = environment.get_template("inspection.html").render(
        dataset=dataset,
        findings=findings,
        source=dataset.catalogue.source.root.name,
        sheet=_contact_sheet(dataset),
        labels=[names[code] for code in dataset.codes[main]],
        max_bars=_MAX_BARS,
        max_groups=_MAX_GROUPS,
        max_listed=_MAX_LISTED,
    )
    write_page(path, page)
    return path


def _contact_sheet(dataset: Dataset) -> list[int]:
    """Return random images, sorted by label: one of each label first, then any others."""
    codes = dataset.codes[dataset.label_columns[0]]
    shuffled = np.random.default_rng(_SHEET_SEED).permutation(len(dataset))
    _, first = np.unique(codes[shuffled], return_index=True)
    one_each = shuffled[np.sort(first)]
    others = shuffled[~np.isin(shuffled, one_each)]
    chosen = np.concatenate([one_each, others])[:_SHEET_IMAGES]
    return sorted(chosen.tolist(), key=lambda index: (codes[index], index))
