"""A process of its own that writes a model of a project and compares it with the one in the window.

`python -m shopwindow.studio.version_job FOLDER VERSION [--grouped]` does what `shopwindow train
FOLDER` does, so that both write the same model. The server that starts it stays small and quick,
and can end it. The last line of its output that begins with `step:` says what it is doing.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shopwindow.atomic_write import write_atomically
from shopwindow.bundle import Bundle, read_bundle
from shopwindow.data.spec import DataSpec
from shopwindow.errors import ShopwindowError
from shopwindow.evaluation.promotion import MARGIN_POINTS, compare_for_promotion
from shopwindow.plain_text import printable
from shopwindow.probe.probe_run import train_probe
from shopwindow.runs import Run, TrainingOptions, settle_options
from shopwindow.studio.project import FIGURES, HIDDEN, RUNS, WINDOW

_CACHE = "decoding-"
_CHANCE_PHOTOS = 2  # that a model may lose unless more than chance speaks against it


@dataclass(frozen=True)
class Gate:
    """How a model did beside the one in the window.

    Attributes:
        objections: Why it is worse; empty where it may go into the window.
        against_sha256: What it was compared with.
        images: On how many photos both were judged.
        in_service: Fraction that the one in the window got right, 0 to 1.
        new: Fraction that this one got right, 0 to 1.
        difference: Their difference.
        interval: Its 95 % interval.
        sentence: Why they could not be compared; None where they were.
    """

    objections: tuple[str, ...]
    against_sha256: str
    images: int | None = None
    in_service: float | None = None
    new: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    sentence: str | None = None


def main(arguments: list[str]) -> int:
    """Make a version; return 0 where it was written."""
    folder, version = Path(arguments[0]), arguments[1]
    try:
        make_version(folder, version, grouped="--grouped" in arguments)
    except ShopwindowError as error:
        print(f"error: {printable(' '.join(str(error).split()))}", flush=True)
        return 1
    return 0


def make_version(folder: Path, version: str, *, grouped: bool) -> None:
    """Write `runs/VERSION/model.onnx` and what is known of it.

    Args:
        folder: The project.
        version: Name of the new folder in `runs/`.
        grouped: Whether the table has a column of groups.
    """
    run_folder = folder / RUNS / version
    with TemporaryDirectory(prefix=_CACHE, dir=folder / HIDDEN) as cache:
        _step("Reading and fitting")
        asked: dict[str, Any] = {"data": folder, "out": run_folder, "cache_dir": Path(cache)}
        if grouped:
            asked["group_column"] = "group"
        options: TrainingOptions = settle_options(asked)
        bundle = read_bundle(train_probe(Run.create(options)))
        gate = None
        if (folder / WINDOW).exists():
            _step("Comparing with the model in the window")
            gate = compare(read_bundle(folder / WINDOW), bundle, folder, Path(cache))
    write_figures(run_folder, bundle, gate, grouped=grouped)


def compare(in_service: Bundle, new: Bundle, folder: Path, cache: Path) -> Gate:
    """Return how a new bundle does beside the one in the window, on the photos of the project."""
    # One or two photos are chance, however few there are.
    photos = max(1, int(in_service.info.data["images"]))
    margin_points = max(MARGIN_POINTS, 100 * _CHANCE_PHOTOS / photos)
    specs = tuple(DataSpec.from_record(folder, one.info.data) for one in (in_service, new))
    try:
        found = compare_for_promotion(
            in_service,
            new,
            folder,
            specs=(specs[0], specs[1]),
            margin_points=margin_points,
            cache_dir=cache,
            progress=False,
        )
    except ShopwindowError as error:
        sentence = f"It could not be compared: {error}"
        return Gate((sentence,), in_service.sha256, sentence=sentence)
    counts, test = found.held_out.counts, found.held_out
    low, high = test.interval
    return Gate(
        found.objections,
        in_service.sha256,
        images=counts.images,
        in_service=round((counts.both + counts.only_a) / counts.images, 4),
        new=round((counts.both + counts.only_b) / counts.images, 4),
        difference=round(counts.difference, 4),
        interval=(round(low, 4), round(high, 4)),
    )


def write_figures(run_folder: Path, bundle: Bundle, gate: Gate | None, *, grouped: bool) -> None:
    """Write what the list of versions shows of a bundle, so that it need not be opened for that."""
    info = bundle.info
    content = {
        "created": info.created,
        "photos": info.data["images"],
        "labels": list(info.main.labels),
        "accuracy": info.quality["accuracy"],
        "interval": info.quality["accuracy_interval"],
        "measured_on": info.quality["images"],
        "sha256": bundle.sha256,
        "bytes": len(bundle.model),
        "gate": gate and asdict(gate),
        "command": f"shopwindow train {info.name}" + " --group-column group" * grouped,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(run_folder / FIGURES, text.encode("utf-8", "replace"))


def _step(text: str) -> None:
    print(f"step: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
