"""The page on which somebody judges what an audit found, with everything in it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shopwindow.atomic_write import write_page
from shopwindow.audit.auditing import Audit
from shopwindow.imaging.thumbnail import jpeg_data_uri
from shopwindow.plain_text import counted

# Suspects of whom so many were looked at are mostly right; a page of more takes seconds to open.
MOST_SUSPECTS = 300
_NEIGHBOURS = 6
_SIDE_PX, _SMALL_SIDE_PX = 192, 96


def write_audit(audit: Audit, path: Path) -> Path:
    """Write one HTML page that shows what an audit found, to judge from with keys.

    It keeps decisions in the browser, under a name made of the data set, and gives them out as the
    table that `read_corrections` reads. Nothing is loaded from anywhere.

    Args:
        audit: What to show: at most `MOST_SUSPECTS` suspects, and all the rest.
        path: The page. Its folder is made where there is none.

    Returns:
        `path`.

    Raises:
        UsageError: The page cannot be written there.
    """
    dataset = audit.dataset
    main = dataset.label_columns[0]
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("shopwindow.audit"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("audit.js").render()
    cards, pictures = _cards(audit)
    digest = hashlib.sha256(script.encode()).digest()
    page = environment.get_template("audit.html").render(
        source=dataset.catalogue.source.root.name,
        images=counted(len(dataset), "image"),
        column=main,
        suspects=len(audit.ranking.suspects),
        script=script,
        script_digest=base64.b64encode(digest).decode("ascii"),
        found={
            "key": _key(dataset.catalogue.source.root, cards),
            "labels": dataset.vocabularies[main],
            "cards": cards,
            "pictures": pictures,
        },
    )
    write_page(path, page)
    return path


def reasons_to_look(audit: Audit) -> dict[int, list[str]]:
    """Return the images to judge, in order, each once, with all reasons to look at it."""
    found: dict[int, list[str]] = {}

    def add(index: int, reason: str) -> None:
        found.setdefault(index, []).append(reason)

    for index in audit.ranking.suspects[:MOST_SUSPECTS].tolist():
        add(index, "another label is likelier")
    for pairs, where in (
        (audit.across_labels, "with another label"),
        (audit.across_split, "on the other side of the split"),
    ):
        for first, second in pairs:
            for index, other in ((first, second), (second, first)):
                add(index, f"looks much like {audit.dataset.references[other]}, {where}")
    for index in audit.strangers:
        add(index, "looks like no other image")
    for kind, indices in audit.pictures.items():
        for index in indices:
            add(index, f"among the {kind} images")
    return found


def _cards(audit: Audit) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Return what is shown of each image, and once each the pictures of all neighbours."""
    dataset = audit.dataset
    main = dataset.label_columns[0]
    names, known = dataset.cell_names(main), dataset.vocabularies[main]
    labels = [names[code] for code in dataset.codes[main]]
    pictures: dict[int, str] = {}
    cards: list[dict[str, Any]] = []
    for index, reasons in reasons_to_look(audit).items():
        neighbours = audit.neighbours[index, :_NEIGHBOURS].tolist()
        for neighbour in neighbours:
            if neighbour not in pictures:
                picture = dataset.images([neighbour])[0]
                pictures[neighbour] = jpeg_data_uri(picture, _SMALL_SIDE_PX)
        card = {
            "image": dataset.references[index],
            "picture": jpeg_data_uri(dataset.images([index])[0], _SIDE_PX),
            "given": labels[index],
            "suggested": known[audit.ranking.suggested[index]],
            "doubted": bool(audit.ranking.scores[index] < 0),
            "reasons": reasons,
            "neighbours": [{"picture": i, "label": labels[i]} for i in neighbours],
        }
        cards.append(card)
    return cards, pictures


def _key(root: Path, cards: list[dict[str, Any]]) -> str:
    """Return a name for what is judged, so that a browser mixes no two audits up."""
    judged = [root.as_posix(), *(f"{card['image']} {card['given']}" for card in cards)]
    return hashlib.sha256("\n".join(judged).encode("utf-8", "surrogateescape")).hexdigest()[:16]
