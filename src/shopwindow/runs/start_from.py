"""Continue training from a bundle: the options that its card settles, and what must agree with it.

`shopwindow promote` compares a bundle with the one that it started from. So both need the same
labels in the same order and the same input size, and neither may have learned from the held-out
images of the other. The card of the first holds all of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shopwindow.bundle import Bundle, read_bundle
from shopwindow.bundle.out_of_fold import METHOD as CROSS_VALIDATED
from shopwindow.bundle.seen import read_seen
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import recorded_fields
from shopwindow.data.split import Split
from shopwindow.errors import UsageError
from shopwindow.runs.run_folder import Run
from shopwindow.runs.training_options import RECIPES, TrainingOptions, read_card

# Options that decide the labels, the input or the held-out images.
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
    """Return the options of a training, completed from the bundle that it starts from, if any.

    Args:
        given: What the user asked for, by the names of `TrainingOptions`.

    Raises:
        BundleError: The file to start from is no bundle.
        UsageError: It was not made by `shopwindow train`, or an option differs that must not.
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
            "probe; leave --start-from out, since a probe is fitted again in seconds"
        )
    if settled["recipe"] == "probe" and given.get("recipe", "probe") != "probe":
        raise UsageError(
            f"--start-from {path}: expected the recipe probe, as it was made, got "
            f"{given['recipe']}; leave --start-from out, since finetune begins with such a probe "
            "of the same data anyway"
        )
    if settled.pop("has_corrections") and "corrections" not in given:
        raise UsageError(
            f"--start-from {path}: expected --corrections, since it was trained with corrected "
            "labels, which DATA lacks; give the same table again, or a later one"
        )
    for name in _FIXED:
        if name in given and _comparable(given[name]) != _comparable(settled[name]):
            raise UsageError(
                f"{name.replace('_', ' ')}: expected {_shown(settled[name])}, as {path} was "
                f"trained, got {_shown(given[name])}; both need the same labels, input and "
                "held-out images. Leave the option out, or take only the weights, with --weights"
            )
    # A path that was given says where a table is, of which the card knows only the name.
    return TrainingOptions(**{**settled, **given})


def note_start_and_card(run: Run) -> None:
    """Note in a run the bundle that it starts from, and the texts of its card.

    They are read once: the files may be gone when the run continues.

    Raises:
        BundleError: The file to start from is no bundle.
        UsageError: The card cannot be read.
    """
    options, facts = run.options, run.facts
    if options.start_from is not None and "start" not in facts:
        facts["start"] = _describe_start(read_bundle(options.start_from))
    if "card" not in facts:
        inherited = facts["start"]["card"] if options.start_from else {}
        facts["card"] = read_card(options.card) if options.card else inherited


def _describe_start(bundle: Bundle) -> dict[str, Any]:
    """Return what a run must remember of the bundle that it starts from, as JSON-ready data."""
    info = bundle.info
    found, recipe = read_seen(info.data), info.training.get("recipe")
    return {
        "name": info.name,
        "version": info.version,
        "sha256": bundle.sha256,
        "columns": {column.name: list(column.labels) for column in info.columns},
        "split": info.data["split"],
        "card": info.card,
        # A probe is fitted again, and knows nothing of what another one has learned from.
        **(found.as_json() if found is not None and recipe != "probe" else {}),
    }


def check_agrees(run: Run, dataset: Dataset, split: Split) -> None:
    """Check that data are read and split as for the bundle that a run starts from, if any.

    Args:
        run: It has noted its start.
        dataset: What is to be trained on.
        split: Its split.

    Raises:
        UsageError: The labels, their order, or the held-out images differ.
    """
    if run.options.start_from is None:
        return
    start = run.facts["start"]
    name = f"{start['name']} {start['version']}"
    found = {column: list(labels) for column, labels in dataset.vocabularies.items()}
    if found != start["columns"]:
        raise UsageError(
            f"--start-from: expected data with the labels of {name}, in its order, but "
            f"{_difference(start['columns'], found)}; give the data and options of its training, "
            "--label-map among them"
        )
    if CROSS_VALIDATED in (split.method, start["split"].get("method")):
        return  # then nothing was, or is, held out: out-of-fold answers are known by image
    if split.digest(dataset) != start["split"].get("digest"):
        raise UsageError(
            f"--start-from: expected the images that {name} was trained on, so that the same ones "
            "are held out, found others; leave DATA as it was, and add further images with --with"
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
    is_probe = recipe == "probe"  # its network and size are fixed
    method = split.get("method")
    return {
        "recipe": recipe,
        "arch": None if is_probe else training.get("arch"),
        "size": None if is_probe else (info.rule.height_px, info.rule.width_px),
        "batch_size": training.get("batch_size"),
        **recorded_fields(read),
        "min_images": read.get("min_images") or TrainingOptions.min_images,
        "has_corrections": bool(read.get("corrections")),
        "families": tuple(families.name for families in info.families),
        "seed": split.get("seed"),
        "split": TrainingOptions.split if method == CROSS_VALIDATED else method,
        "balance": data.get("balance") or 0.0,
        "name": info.name,
    }


def _comparable(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _difference(expected: dict[str, list[str]], found: dict[str, list[str]]) -> str:
    if list(expected) != list(found):
        return f"the columns are {', '.join(found)} instead of {', '.join(expected)}"
    column = next(name for name in expected if expected[name] != found[name])
    gone = [label for label in expected[column] if label not in found[column]]
    new = [label for label in found[column] if label not in expected[column]]
    parts = [f"{column} lacks {', '.join(gone[:5])}"] * bool(gone)
    parts += [f"{column} has {', '.join(new[:5])} as well"] * bool(new)
    return " and ".join(parts) or f"the labels of {column} are in another order"
