"""card: what a bundle says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shopwindow.cli.options import example
from shopwindow.plain_text import aligned, counted, percent, printable

if TYPE_CHECKING:
    from shopwindow.bundle import Bundle
    from shopwindow.bundle.prediction_sets import PredictionSets

_SHOWN_LABELS = 12
_TOP = 5  # with fewer labels, the right one is always among the first five


@click.command(
    short_help="What a bundle says about itself.",
    epilog=example("shopwindow card runs/photos/model.onnx"),
)
@click.argument(
    "model", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything that the bundle says, as JSON."
)
def card(model: Path | None, as_json: bool) -> None:
    """Print what the bundle MODEL is: what it can recognise, how well, and what it was made from.

    Without MODEL, describe the bundled model.
    """
    from shopwindow.bundle import bundled_model_path, read_bundle

    bundle = read_bundle(model or bundled_model_path())
    if as_json:
        facts = {"sha256": bundle.sha256, "bytes": len(bundle.model), **bundle.info.as_json()}
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        click.echo(_card_text(bundle))


def _card_text(bundle: Bundle) -> str:
    from shopwindow.bundle import arithmetic_of

    info = bundle.info
    texts, quality, training, data = info.card, info.quality, info.training, info.data
    lines = [str(texts.get("title") or info.name)]
    if summary := texts.get("summary"):
        lines.append(str(summary))
    rows: list[tuple[str, str]] = [
        ("name", f"{info.name} {info.version}, made {info.created[:10]}"),
        ("file", f"{len(bundle.model) / 1e6:.1f} MB, SHA-256 {bundle.sha256[:16]}..."),
        ("computes", arithmetic_of(bundle.model)),
        ("sees", str(info.rule)),
    ]
    for column in info.columns:
        named = ", ".join(column.labels[:_SHOWN_LABELS])
        more = ", ..." if len(column.labels) > _SHOWN_LABELS else ""
        rows.append((column.name, f"{counted(len(column.labels), 'label')}: {named}{more}"))
    for families in info.families:
        kinds = len(set(families.of))
        rows.append(
            (families.name, f"{kinds:,} families of labels, shown when the label is not sure")
        )
    if quality.get("images"):
        rows.append(("accuracy", _measured(quality, data, len(info.main.labels))))
        if isinstance(quality.get("macro_f1"), int | float):
            rows.append(("macro-F1", f"{quality['macro_f1']:.4f}"))
    else:
        rows.append(("accuracy", "not measured; measure it with shopwindow calibrate"))
    threshold = info.threshold
    if threshold.coverage > 0:
        rows.append(
            (
                "sure",
                f"from a confidence of {threshold.min_confidence:.3f}: "
                f"{percent(threshold.coverage)} of the predictions, "
                f"{percent(threshold.precision)} of them right",
            )
        )
    else:
        rows.append(("sure", "never: no confidence was found above which it can be relied on"))
    rows += _sets(info.prediction_sets)
    if info.novelty is not None:
        called = (
            f"{percent(one.unknown, 1)} of {counted(one.images, 'image')} of {one.source}"
            for one in info.novelty.known
        )
        rows.append(("unknown", f"by mistake, {', '.join(called)}"))
    rows.append(("recipe", _facts(training, ("recipe", "arch", "weights"))))
    if source := data.get("source"):
        rows.append(("trained on", f"{source}{_counts(data, quality.get('folds'))}"))
    rows += [
        (key, str(texts[key])) for key in ("data", "intended_use", "licence") if texts.get(key)
    ]
    limits = texts.get("limits")
    rows += [("limit", str(limit)) for limit in limits] if isinstance(limits, list) else []
    return "\n".join(map(printable, [*lines, "", *aligned(rows, "<<")]))


def _sets(sets: PredictionSets | None) -> list[tuple[str, str]]:
    """Return a row for each kind of photo that has prediction sets."""
    rows = []
    for kind in sets.kinds if sets is not None else ():
        parts = [
            f"{rule.mean_size:.2f} labels on average, {percent(rule.held)} with the right one, "
            f"where {when} ({counted(rule.images, 'image')})"
            for when, rule in (("sure", kind.sure), ("not sure", kind.not_sure))
            if rule is not None and rule.mean_size is not None
        ]
        rows.append(("sets", "; ".join([f"for photos like {kind.source}", *parts])))
    return rows


def _counts(data: dict[str, Any], measured_in: object) -> str:
    match data:
        case {"train": int(train), "out_of_fold": {"folds": int(folds)}} if folds == measured_in:
            return f", {train:,} images; its figures are from cross-validation in {folds} parts"
        case {"train": int(train), "out_of_fold": _}:
            return f", {train:,} images"
        case {"train": int(train), "valid": int(valid)}:
            return f", {train:,} images; {valid:,} others were held out to evaluate it"
    return ""  # a bundle that was imported, or made by another program


def _measured(quality: dict[str, Any], data: dict[str, Any], labels: int) -> str:
    figures = [
        f"{percent(quality[key], 2)} {words}"
        for key, words in (("accuracy", "right"), ("top5_accuracy", "among the first five"))
        if isinstance(quality.get(key), int | float) and (key == "accuracy" or labels > _TOP)
    ]
    return f"{', '.join(figures)}, on {counted(quality['images'], 'image')}{_of_what(data)}"


def _of_what(data: dict[str, Any]) -> str:
    measured_on = data.get("measured_on")
    return f" of {measured_on.get('source')}" if isinstance(measured_on, dict) else ""


def _facts(facts: dict[str, Any], keys: tuple[str, ...]) -> str:
    return ", ".join(str(facts[key]) for key in keys if facts.get(key)) or "not recorded"
