"""What an audit found, as text for a terminal."""

from __future__ import annotations

from shopwindow.audit.auditing import Audit
from shopwindow.plain_text import counted, printable

_LISTED = 5


def summarise_audit(audit: Audit) -> str:
    """Return what was found, the first few of each kind by name."""
    dataset = audit.dataset
    main = dataset.label_columns[0]
    known, names = dataset.vocabularies[main], dataset.cell_names(main)
    codes, references = dataset.codes[main], dataset.references
    suspects = audit.ranking.order.tolist()
    doubts = [
        f"{references[i]}: {names[codes[i]]}, rather {known[audit.ranking.suggested[i]]}"
        for i in suspects
    ]
    pairs = [
        f"{references[pair.first]} ({names[codes[pair.first]]}) and "
        f"{references[pair.second]} ({names[codes[pair.second]]})"
        for pair in audit.near_duplicates
    ]
    across_labels = sum(pair.across_labels for pair in audit.near_duplicates)
    across_split = sum(pair.across_split for pair in audit.near_duplicates)
    lines = [
        f"{counted(len(dataset), 'image')} with {counted(len(known), 'label')} in {main}",
        *dataset.notes,
        "",
        *_part(f"{counted(len(suspects), 'label')} probably wrong", doubts),
        *_part(
            f"{counted(len(audit.strangers), 'image')} far from all others",
            [f"{references[i]} ({names[codes[i]]})" for i in audit.strangers.tolist()],
        ),
        *_part(
            f"{counted(len(pairs), 'pair')} of images that look the same: {across_labels:,} with "
            f"different labels, {across_split:,} on both sides of the split",
            pairs,
        ),
        *_part(
            f"{counted(len(audit.poor), 'image')} dark, blurred, tiny or of an odd shape",
            [f"{references[i]}: {fault}" for i, fault in audit.poor.items()],
        ),
    ]
    return "\n".join(map(printable, lines))


def _part(title: str, entries: list[str]) -> list[str]:
    more = [f"  and {len(entries) - _LISTED:,} more"] if len(entries) > _LISTED else []
    return [title, *(f"  {entry}" for entry in entries[:_LISTED]), *more]
