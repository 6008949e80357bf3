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
    shown = [
        f"{reference} ({names[code]})"
        for reference, code in zip(dataset.references, dataset.codes[main], strict=True)
    ]
    suspects = audit.ranking.suspects.tolist()
    lines = [
        f"{counted(len(dataset), 'image')} with {counted(len(known), 'label')} in {main}",
        *dataset.notes,
        "",
        *_part(
            f"{counted(len(suspects), 'label')} to look at, since another one is likelier",
            [f"{shown[index]}: {known[audit.ranking.suggested[index]]}?" for index in suspects],
        ),
        *_part("Farthest from all others", [shown[index] for index in audit.strangers]),
        *_part("Most alike with different labels", _named(audit.across_labels, shown)),
        *_part("Most alike on both sides of the split", _named(audit.across_split, shown)),
    ]
    for kind, indices in audit.pictures.items():
        lines += _part(kind.capitalize(), [shown[index] for index in indices])
    return "\n".join(map(printable, lines))


def _named(pairs: list[tuple[int, int]], shown: list[str]) -> list[str]:
    return [f"{shown[first]} and {shown[second]}" for first, second in pairs]


def _part(title: str, entries: list[str]) -> list[str]:
    more = [f"  and {len(entries) - _LISTED:,} more"] if len(entries) > _LISTED else []
    return [title, *(f"  {entry}" for entry in entries[:_LISTED]), *more] if entries else []
