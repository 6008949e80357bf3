"""The run folder: all that a training leaves behind, and all that it needs to continue.

::

    runs/<name>/
        run.json        options, vocabularies, card, and the learning rate that was found
        split.json      which image was on which side
        history.csv     one line per epoch
        curves.png      the same as a picture
        lr-find.png     learning-rate finder, where the recipe uses it
        checkpoint.pt   the exact state to continue from, at most a minute old
        stage-1.pt ...  the weights at the end of each stage
        model.onnx      the exported bundle
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shopwindow.atomic_write import write_atomically
from shopwindow.errors import TrainingError
from shopwindow.runs.training_options import TrainingOptions

# fastai's learning-rate finder keeps the weights here while it runs.
FINDER_DIR = ".shopwindow-lr-find"


class StoppedError(TrainingError):
    """The user stopped the training; everything is saved.

    Args:
        folder: Of the run.
    """

    exit_code = 130

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"stopped and saved in {folder}; continue with: "
            f"shopwindow train --resume --out {folder}"
        )


@dataclass
class Run:
    """A run folder and what its run.json says.

    Attributes:
        folder: The run folder.
        options: What the run was asked to do.
        facts: What the run has found out, as JSON-ready data: vocabularies, learning rate, card.
    """

    folder: Path
    options: TrainingOptions
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(cls, options: TrainingOptions) -> Run:
        """Return a new run; its folder is made by the first `save`.

        Raises:
            TrainingError: There is a run in that folder already.
        """
        folder = options.run_dir
        if (folder / "run.json").exists():
            raise TrainingError(
                f"{folder}: expected a new folder, found a run in it; continue it with --resume "
                "or choose another --out"
            )
        return cls(folder, options.resolved())

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read the run in `folder`.

        Raises:
            TrainingError: There is none, or its run.json cannot be read.
        """
        path = folder / "run.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, TrainingOptions.from_json(content["options"]), content["facts"])
        except FileNotFoundError:
            raise TrainingError(
                f"{folder}: expected a run folder, found no run.json in it; start one with "
                "shopwindow train"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{path}: expected what shopwindow train wrote, got {type(error).__name__} "
                f"({error}); start a new run in another --out"
            ) from error

    def move(self, places: Mapping[str, Any]) -> None:
        """Read the data from where it is now. Names and digests show whether it is the same data.

        Args:
            places: The new `data`, `labels_file` or `cache_dir`.
        """
        before = self.options
        moved = {"name": before.model_name, **places}
        labels = before.labels_file
        if "data" in places and labels is not None and labels.is_relative_to(before.data):
            moved.setdefault("labels_file", places["data"] / labels.relative_to(before.data))
        self.options = replace(before, **moved).resolved()

    def save(self) -> None:
        """Write run.json."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"options": self.options.as_json(), "facts": self.facts}
        write_atomically(self.folder / "run.json", json.dumps(content, indent=2).encode("ascii"))

    def remove_leftovers(self) -> None:
        """Remove what a process that was killed left half-written."""
        for pattern in (".*.tmp", ".*.onnx.draft"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / FINDER_DIR, ignore_errors=True)
