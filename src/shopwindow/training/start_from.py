"""Train on from a bundle: what its card settles, and what must agree with it.

A bundle is judged beside the one that it started from (`shopwindow promote`), so both must answer
the same questions, with the same labels in the same order, at the same size, and neither may have
seen the held-out images of the other. All that is in the card; nobody has to remember it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shopwindow.bundle import Bundle, read_bundle
from shopwindow.bundle.out_of_fold import METHOD
from shopwindow.bundle.seen import read_seen
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import recorded_fields
from shopwindow.data.split import Split
from shopwindow.errors import UsageError
from shopwindow.training.options import RECIPES, TrainingOptions

# What decides the questions, the input or the held-out images, by the names of `TrainingOptions`.
_FIXED = (
    "arch",
    "size",
    "labels_file",
    "image_column",
    "label_column",
    "also",
    "group_column",
    "min_images",
    "seed",
    "split",
)


def settle_options(given: dict[str, Any]) -> TrainingOptions:
    """Return the options of a training, which the bundle that it starts from completes.

    Args:
        given: What the user asked for, by the names of `TrainingOptions`.

    Raises:
        BundleError: That file is no bundle.
        UsageError: It was not made by `shopwindow train`, or something was asked for that must be
            as it was.
    """
    path: Path | None = given.get("start_from")
    if path is None:
        return TrainingOptions(**given)
    if "weights" in given:
        raise UsageError(
            f"--weights has no effect with --start-from: the weights are those of {path}"
        )
    settled = _settled(read_bundle(path), path)
    if settled["recipe"] != "probe" and given.get("recipe") == "probe":
        raise UsageError(
            f"--start-from {path}: expected the recipe {settled['recipe']}, as it was made, got "
            "probe; leave --start-from out, since a probe is fitted anew in seconds"
        )
    if settled["recipe"] == "probe" and given.get("recipe", "probe") != "probe":
        raise UsageError(
            f"--start-from {path}: expected the recipe probe, as it was made, got "
            f"{given['recipe']}; leave --start-from out, since finetune begins with such a probe "
            "of the same data anyway"
        )
    for name in _FIXED:
        if name in given and _comparable(given[name]) != _comparable(settled[name]):
            raise UsageError(
                f"{name.replace('_', ' ')}: expected {_shown(settled[name])}, as {path} was "
                f"trained, got {_shown(given[name])}; both must answer alike and be judged by the "
                "same held-out images. Leave the option out, or take the weights alone with "
                "--weights"
            )
    # A path that was given says where a table is, of which the card knows only the name.
    return TrainingOptions(**{**settled, **given})


def describe_start(bundle: Bundle) -> dict[str, Any]:
    """Return what a run must remember of the bundle that it started from, as JSON-ready data."""
    info = bundle.info
    found, recipe = read_seen(info.data), info.training.get("recipe")
    return {
        "name": info.name,
        "version": info.version,
        "sha256": bundle.sha256,
        "columns": {column.name: list(column.labels) for column in info.columns},
        "split": info.data["split"],
        "card": info.card,
        # A probe is fitted anew, and knows nothing of what another one has learned from.
        **(found.as_json() if found is not None and recipe != "probe" else {}),
    }


def check_agrees(start: dict[str, Any], dataset: Dataset, split: Split) -> None:
    """Check that data are read and split as they were for the bundle that a run started from.

    Args:
        start: As from `describe_start`.
        dataset: What is to be trained on.
        split: Of it.

    Raises:
        UsageError: Labels, their order, or the held-out images are others.
    """
    name = f"{start['name']} {start['version']}"
    found = {column: list(labels) for column, labels in dataset.vocabularies.items()}
    if found != start["columns"]:
        raise UsageError(
            f"--start-from: expected data with the labels of {name}, in its order, but "
            f"{_difference(start['columns'], found)}; give the data and options of its training, "
            "--label-map among them"
        )
    if METHOD in (split.method, start["split"].get("method")):
        return  # nothing was held out, or is, by a digest; the answers out of fold are by image
    if split.digest(dataset) != start["split"].get("digest"):
        raise UsageError(
            f"--start-from: expected the images that {name} was trained on, so that the same ones "
            "are held out, found others; leave DATA as it was, and bring further images with --with"
        )


def _settled(bundle: Bundle, path: Path) -> dict[str, Any]:
    info = bundle.info
    training, data = info.training, info.data
    read, split = data.get("read"), data.get("split")
    recipe = training.get("recipe")
    if recipe not in RECIPES or not isinstance(read, dict) or not isinstance(split, dict):
        raise UsageError(
            f"--start-from {path}: expected a bundle that this version of shopwindow train makes, "
            f"found the recipe {recipe!r}; leave --start-from out"
        )
    is_probe = recipe == "probe"  # which has one network, of one size
    method = split.get("method")
    return {
        "recipe": recipe,
        "arch": None if is_probe else training.get("arch"),
        "size": None if is_probe else (info.rule.height_px, info.rule.width_px),
        "batch_size": training.get("batch_size"),
        **recorded_fields(read),
        "min_images": read.get("min_images") or TrainingOptions.min_images,
        "families": tuple(families.name for families in info.families),
        "seed": split.get("seed"),
        "split": TrainingOptions.split if method == METHOD else method,
        "balance": data.get("balance") or 0.0,
        "name": info.name,
    }


def _comparable(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    return (
        "none"
        if value is None
        else ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value)
    )


def _difference(expected: dict[str, list[str]], found: dict[str, list[str]]) -> str:
    if list(expected) != list(found):
        return f"the columns are {', '.join(found)} instead of {', '.join(expected)}"
    column = next(name for name in expected if expected[name] != found[name])
    gone = [label for label in expected[column] if label not in found[column]]
    new = [label for label in found[column] if label not in expected[column]]
    parts = [f"{column} lacks {', '.join(gone[:5])}"] * bool(gone)
    parts += [f"{column} has {', '.join(new[:5])} as well"] * bool(new)
    return " and ".join(parts) or f"the labels of {column} are in another order"
