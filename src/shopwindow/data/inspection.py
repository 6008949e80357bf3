"""A data set to look at: a summary for the terminal, and one page with everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from shopwindow.atomic_write import write_page
from shopwindow.data.dataset import Dataset
from shopwindow.data.findings import ColumnSizes, Findings, find_out
from shopwindow.data.label_sets import name_twins
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import counted, printable

_SHEET_IMAGES = 60
_SHEET_SEED = 42
_MAX_GROUPS = 40
_MAX_BARS = 300
_MAX_LISTED = 50_000
_THUMBNAIL_SIDE_PX = 160


def summarise_dataset(dataset: Dataset) -> str:
    """Return what is in a data set as a few lines of text, for the terminal."""
    findings = find_out(dataset)
    rule = dataset.rule
    main = findings.columns[0]
    lines = [
        f"{counted(len(dataset), 'image')}{_named_by(dataset)} with "
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


def _named_by(dataset: Dataset) -> str:
    column = dataset.catalogue.image_column
    return "" if column is None else f" by {column}"


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
        return ["Nothing left out" if is_whole else "No row and no image left out"]
    total = sum(len(kind.rows) for kind in findings.dropped)
    lines = [f"{total:,} rows and image files left out" if total > 1 else "1 row or file left out"]
    for kind in findings.dropped:
        first = kind.rows[0]
        detail = first.reason.removeprefix(kind.kind).removeprefix(": ")
        example = f"{first.where}, {first.reference[:60]}" + (f": {detail}" if detail else "")
        lines.append(f"  {len(kind.rows):>7,}  {kind.kind} ({example})")
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
    """Return images by chance, sorted by label: one of each label first, then any others."""
    codes = dataset.codes[dataset.label_columns[0]]
    shuffled = np.random.default_rng(_SHEET_SEED).permutation(len(dataset))
    _, first = np.unique(codes[shuffled], return_index=True)
    one_each = shuffled[np.sort(first)]
    others = shuffled[~np.isin(shuffled, one_each)]
    chosen = np.concatenate([one_each, others])[:_SHEET_IMAGES]
    return sorted(chosen.tolist(), key=lambda index: (codes[index], index))
