"""What each trick of a training gives and costs: the same run with one thing changed, over seeds.

    python benchmarks/ablations.py DATA [--with more.toml] [--minutes 25] -- --labels table.csv ...
    python benchmarks/ablations.py --quick

Options behind `--` are those of `shopwindow train`, for all runs. Each run is that command, in a
folder of its own; what is finished is not done again, and what was broken off goes on. When the
minutes are over, the run at hand saves and stops, and the table shows what there is; the same
command goes on. Seed by seed, plain first, so that a table that is cut short compares what it has.

The second kind of photos (`--with`, a data set as for `shopwindow train --with`) is graded for all
runs, whether they learn from it or not, on the same held-out part.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sections import command, machine, table, write_section
from shopwindow.bundle import Bundle, read_bundle
from shopwindow.dataset.label_sets import allowed_labels
from shopwindow.grading import ask_bundle
from shopwindow.inference.predictor import Predictor
from shopwindow.training.mixture import Companion, open_companion
from shopwindow.training.options import DEFAULTS
from shopwindow.training.reading import open_dataset
from shopwindow.training.run import Run
from shopwindow.writing import write_atomically

PLAIN = "plain"
STOP_WITHIN_S = 120.0  # a validation is finished first, and the state saved
QUICK_IMAGES, QUICK_PX = 120, 32
QUICK_OPTIONS = f"--size {QUICK_PX} --batch-size 16 --min-images 5"


@dataclass(frozen=True)
class Variation:
    """A run with one thing changed.

    Attributes:
        name: Of its row and of its folder.
        options: For `shopwindow train`; `{with}` is the second data set, `{epochs}` twice the
            epochs, `{NAME}` the bundle of another variation by the same seed, `{narrower}`,
            `{wider}` and `{excited}` networks like that of all runs: see `relatives`.
    """

    name: str
    options: str

    @property
    def teacher(self) -> str | None:
        """The variation that has to be there first."""
        named = [one.name for one in VARIATIONS if f"{{{one.name}}}" in self.options]
        return named[0] if named else None


VARIATIONS: list[Variation] = [
    Variation(PLAIN, ""),
    Variation("balance", "--balance 0.5"),
    Variation("backgrounds", "--backgrounds 0.3"),
    Variation("outliers", "--outliers 0.0625"),
    Variation("phones", "--with {with}"),
    Variation("together", "--with {with} --outliers 0.0625 --backgrounds 0.3"),
    Variation("mixup", "--blend mixup"),
    Variation("cutmix", "--blend cutmix"),
    Variation("squeeze-excite", "--arch {excited}"),
    Variation("narrow", "--arch {narrower}"),
    Variation("wide", "--arch {wider}"),
    Variation("full-size", "--grow 0"),
    Variation("longer", "--epochs {epochs}"),
    Variation("distil", "--distil {plain}"),
    Variation("distil-wide", "--distil {wide}"),
]


@dataclass(frozen=True)
class Outcome:
    """What a finished run can do, and what it took.

    Attributes:
        accuracy: Share of right answers on the main data set's held-out part, 0 to 1.
        macro_f1: The same with every label counting alike, 0 to 1.
        ece: Expected calibration error, 0 to 1.
        other: Share of right answers on the second data set's held-out part; None without one.
        seconds: Of training, with validation after each epoch; not of the teacher's own.
        images: Images trained on, in all epochs.
    """

    accuracy: float
    macro_f1: float
    ece: float
    other: float | None
    seconds: float
    images: int


def main() -> None:
    """Train what is not trained yet, as long as there is time, and print the table."""
    options, train_options = parse(sys.argv[1:])
    started = time.monotonic()
    if options.quick:
        options.data, options.companion = draw_quick_data(options.out / "quick-data")
        train_options = [*QUICK_OPTIONS.split(), *train_options]
        options.epochs = 1
    planned = [
        one
        for one in VARIATIONS
        if (not options.only or one.name in options.only)
        and (options.companion or "{with}" not in one.options)
    ]
    keep_question(options, train_options)
    complete = True
    for seed in range(1, options.seeds + 1):
        for variation in planned:
            left = 60 * options.minutes - (time.monotonic() - started)
            complete = complete and train(variation, seed, options, train_options, left)
    text = report(planned, options)
    if not complete:
        text += "\n\nNot finished: the same command goes on."
    print(text)
    if options.write:
        write_section(options.write, "ablations", text)


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; returns what stands behind `--` besides."""
    at = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="a data set, as for shopwindow train")
    parser.add_argument("--with", dest="companion", type=Path, help="a second kind of photos")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of runs")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument(
        "--arch", type=read_arch, default=DEFAULTS["scratch"].arch, help="of all runs"
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of variations")
    parser.add_argument("--quick", action="store_true", help="drawn pictures, one epoch, one seed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args(words[:at])
    if (options.data is None) != options.quick:
        parser.error("expected either DATA or --quick")
    known = [one.name for one in VARIATIONS]
    if strangers := set(options.only or ()) - set(known):
        parser.error(f"--only: expected some of {','.join(known)}, got {','.join(strangers)}")
    if options.quick:
        options.seeds = 1
    return options, words[at + 1 :]


def read_arch(text: str) -> str:
    """Take `small_resnet` or `small_resnet_wWIDTH`, of which there are narrower and wider ones."""
    found = re.fullmatch(r"small_resnet(?:_w(\d{1,3}))?", text)
    width = int(found[1] or 64) if found else 0
    if not 24 <= width <= 168:
        raise argparse.ArgumentTypeError(
            f"expected small_resnet, or small_resnet_w24 to small_resnet_w168, got {text}"
        )
    return text


def relatives(arch: str) -> dict[str, str]:
    """Return networks like `arch`: narrower, wider, and with squeeze and excitation.

    Three quarters and one and a half times as wide, to the nearest eight channels.
    """
    width = int(arch.partition("_w")[2] or 64)
    return {
        "narrower": f"small_resnet_w{8 * round(width * 0.75 / 8)}",
        "wider": f"small_resnet_w{8 * round(width * 1.5 / 8)}",
        "excited": arch.replace("small_", "small_se_"),
    }


def keep_question(options: argparse.Namespace, train_options: Sequence[str]) -> None:
    """Note what all runs of the folder have in common, or refuse to mix it with something else.

    Raises:
        SystemExit: The runs that are there were asked for otherwise.
    """
    asked = {
        "data": str(options.data.resolve()),
        "with": options.companion and str(options.companion.resolve()),
        "arch": options.arch,
        "epochs": options.epochs,
        "train": list(train_options),
    }
    kept = options.out / "question.json"
    if not kept.exists() and any(options.out.glob("*-*/run.json")):
        sys.exit(f"{options.out}: expected question.json beside the runs; choose another --out")
    if not kept.exists():
        options.out.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(asked).encode())
    elif (before := json.loads(kept.read_text())) != asked:
        other = [
            f"{key} {before[key]}, now {value}"
            for key, value in asked.items()
            if before[key] != value
        ]
        sys.exit(
            f"{options.out}: expected to go on with the same runs, but before they had "
            f"{'; '.join(other)}. Choose another --out"
        )


def folder_of(variation: str, seed: int, out: Path) -> Path:
    """Return the run folder of a variation."""
    return out / f"{variation}-{seed}"


def train(
    variation: Variation,
    seed: int,
    options: argparse.Namespace,
    train_options: Sequence[str],
    left_s: float,
) -> bool:
    """Train a variation or go on with it; says whether it is finished within the time left.

    Raises:
        SystemExit: The training failed; it has said why.
    """
    folder = folder_of(variation.name, seed, options.out)
    if (folder / "model.onnx").exists():
        return True
    if left_s <= 0:
        return False
    words = [sys.executable, "-m", "shopwindow", "train"]
    if (folder / "run.json").exists():
        words += ["--resume", "--out", str(folder)]
    else:
        bundles = {
            one.name: folder_of(one.name, seed, options.out) / "model.onnx" for one in VARIATIONS
        }
        teacher = variation.teacher
        if teacher and not bundles[teacher].exists():
            sys.exit(f"{variation.name}: expected {teacher} to be trained first; add it to --only")
        places = {
            **bundles,
            **relatives(options.arch),
            "with": options.companion,
            "epochs": 2 * options.epochs,
        }
        # What comes later on the command line counts.
        words += [str(options.data), "--recipe", "scratch", "--epochs", str(options.epochs)]
        words += ["--arch", options.arch]
        words += [*train_options, "--seed", str(seed), "--name", variation.name]
        words += [word.format_map(places) for word in variation.options.split()]
        words += ["--out", str(folder)]
    print(f"-- {folder.name}", flush=True)
    process = subprocess.Popen(words)
    try:
        code = process.wait(timeout=left_s)
    except subprocess.TimeoutExpired:
        stop(process)
        return False
    except KeyboardInterrupt:  # it had the same signal, and saves
        process.wait()
        raise
    if code != 0:
        sys.exit(f"{folder.name}: expected the training to finish, but it ended with {code}")
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let a training save and stop; whatever has not by then goes on from its last checkpoint."""
    process.terminate()
    try:
        process.wait(timeout=STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_outcome(folder: Path, companion: Path | None) -> Outcome:
    """Return what a finished run has to show; the second data set is graded once."""
    kept = folder / "ablation.json"
    if kept.exists():
        outcome = Outcome(**json.loads(kept.read_text()))
        if companion is None or outcome.other is not None:
            return outcome
    bundle = read_bundle(folder / "model.onnx")
    quality = bundle.info.quality
    with (folder / "history.csv").open() as file:
        seconds = sum(float(row["seconds"]) for row in csv.DictReader(file))
    outcome = Outcome(
        accuracy=quality["accuracy"],
        macro_f1=quality["macro_f1"],
        ece=quality["ece"],
        other=None if companion is None else grade_other(bundle, folder, companion),
        seconds=seconds,
        images=count_images(bundle),
    )
    write_atomically(kept, json.dumps(asdict(outcome)).encode())
    return outcome


def grade_other(bundle: Bundle, folder: Path, companion: Path) -> float:
    """Return the share of right answers on what of the second data set no run learns from."""
    options = Run.open(folder).options
    rule = bundle.info.rule
    side = open_companion(
        Companion.read(companion),
        open_dataset(options, (rule.height_px, rule.width_px)),
        seed=options.seed,
        cache_dir=options.cache_dir,
        progress=False,
    )
    main, valid = side.dataset.label_columns[0], side.split.valid
    shares = ask_bundle(
        Predictor(bundle, engine="onnxruntime"), side.dataset, valid, progress=False
    )
    best = shares[bundle.info.main.name].argmax(axis=1)
    allowed = allowed_labels(side.dataset.codes[main][valid], side.dataset.sets[main])
    known = allowed.any(axis=1)
    return float(allowed[np.arange(len(valid)), best][known].mean())


def count_images(bundle: Bundle) -> int:
    """Return how many images a run was trained on, of all data sets and epochs."""
    data, training = bundle.info.data, bundle.info.training
    size = training["batch_size"]
    shares = [data["outliers"], *(side["share"] for side in data["also"])]
    own = size - sum(round(share * size) for share in shares)
    return int(sum(training["epochs"]) * (data["train"] // own) * size)


def report(planned: Sequence[Variation], options: argparse.Namespace) -> str:
    """Return the table of what is finished, as Markdown."""
    found = {
        one.name: {
            seed: read_outcome(folder, options.companion)
            for seed in range(1, options.seeds + 1)
            if (folder := folder_of(one.name, seed, options.out)).joinpath("model.onnx").exists()
        }
        for one in planned
    }
    plain = found.get(PLAIN, {})
    rows: list[list[object]] = [
        [title(one, options.arch, options.epochs), *cells(found[one.name], plain)]
        for one in planned
        if found[one.name]
    ]
    heads = ["", "seeds", "right, %", "macro-F1", "ECE", "second data set, %", "min", "images/s"]
    return (
        f"## Ablations\n\n{machine()}; {options.arch} trained on {device(found, options)}, "
        f"{options.epochs} epochs each. `{command()}`\n\nMeans over seeds; in brackets the mean "
        "difference to plain, seed by seed. Minutes and images/s are those of the quickest seed, "
        "without what a teacher took.\n\n" + table(heads, rows)
    )


def title(variation: Variation, arch: str, epochs: int) -> str:
    """Return the first cell of a row: the name, and what was asked for."""
    if not variation.options:
        return variation.name
    asked = variation.options
    for name, value in {**relatives(arch), "epochs": 2 * epochs}.items():
        asked = asked.replace(f"{{{name}}}", str(value))
    return f"{variation.name} `{asked}`"


def cells(own: Mapping[int, Outcome], plain: Mapping[int, Outcome]) -> Iterator[str]:
    """Yield the figures of a row."""
    yield str(len(own))
    for name, scale, places in (
        ("accuracy", 100, 2), ("macro_f1", 1, 3), ("ece", 1, 3), ("other", 100, 2)
    ):  # fmt: skip
        values = {seed: getattr(one, name) for seed, one in own.items()}
        if any(value is None for value in values.values()):
            yield "–"
            continue
        text = f"{scale * statistics.mean(values.values()):.{places}f}"
        both = [scale * (values[s] - getattr(plain[s], name)) for s in values if s in plain]
        if both and own is not plain:
            text += f" ({statistics.mean(both):+.{places}f})"
        yield text
    # Other work on the machine slows a run down, and nothing speeds it up.
    quickest = min(own.values(), key=lambda one: one.seconds)
    yield f"{quickest.seconds / 60:.1f}"
    yield f"{quickest.images / max(quickest.seconds, 0.1):,.0f}"


def device(found: Mapping[str, Mapping[int, Outcome]], options: argparse.Namespace) -> str:
    """Return what the runs were trained on; a GPU by the name of the one that is here."""
    kinds = {
        read_bundle(folder_of(name, seed, options.out) / "model.onnx").info.training["device"]
        for name, seeds in found.items()
        for seed in seeds
    }
    if "cuda" in kinds and torch.cuda.is_available():
        kinds = kinds - {"cuda"} | {torch.cuda.get_device_name()}
    return " and ".join(sorted(kinds)) or "nothing yet"


def draw_quick_data(folder: Path) -> tuple[Path, Path]:
    """Draw three shapes on white, and the same on grey under coarser names, once."""
    companion = folder / "grey.toml"
    if companion.exists():
        return folder / "white", companion
    random = np.random.default_rng(1)
    coarse = {"circle": "round", "cross": "edged", "square": "edged"}
    for number in range(QUICK_IMAGES):
        shape = list(coarse)[number % 3]
        for kind, ground, label in (
            ("white", (255, 255, 255), shape),
            ("grey", (120, 130, 110), coarse[shape]),
        ):
            image = Image.new("RGB", (QUICK_PX, QUICK_PX), ground)
            x, y, side = (int(value) for value in random.integers((2, 2, 14), (10, 10, 21)))
            draw, box = ImageDraw.Draw(image), (x, y, x + side, y + side)
            colour = tuple(int(value) for value in random.integers(0, 200, 3))
            if shape == "circle":
                draw.ellipse(box, fill=colour)
            elif shape == "square":
                draw.rectangle(box, fill=colour)
            else:
                draw.line(box, fill=colour, width=4)
                draw.line((x, y + side, x + side, y), fill=colour, width=4)
            path = folder / kind / label / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    meaning = {"round": ["circle"], "edged": ["cross", "square"]}
    (folder / "map.json").write_text(json.dumps(meaning))
    companion.write_text('data = "grey"\nlabel_map = "map.json"\nshare = 0.25\n')
    return folder / "white", companion


if __name__ == "__main__":
    main()
