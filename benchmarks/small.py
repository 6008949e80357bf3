"""How right a model is that was trained on few photos, judged by photos of other people.

    python benchmarks/small.py PHONES [--finetune] [--catalogue FOLDER] [--write docs/benchmarks.md]

PHONES is the folder of the phone photos that scripts/train-fashion trains on. Senders are parted,
two fifths to judge by; so many photos of each label are drawn from the others, ten times. Features
are computed once; penalty and head are chosen and fitted for each draw as `shopwindow train` does.
The seconds are those of the whole command, in a process of its own, with nothing cached.
`--finetune` fine-tunes on one draw of each size too, which takes a while; `--catalogue` times 5,000
photos more.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.bundle import read_bundle
from shopwindow.calibration.regression import fit_head
from shopwindow.data.dataset import load_dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.inference.predictor import Predictor
from shopwindow.probe.backbone import open_backbone
from shopwindow.probe.cross_validation import assign_folds, cross_validate

THREE = ("Pants", "Shoes", "T-Shirt")
EIGHT = ("Dress", "Hat", "Pants", "Shirt", "Shoes", "Shorts", "Skirt", "T-Shirt")
UNJUDGED = ("Body", "Not sure", "Other", "Skip")
COUNTS = {THREE: (5, 10, 20, 50), EIGHT: (5, 10, 20, 50)}
DRAWS, FOLDS, JUDGED = 10, 5, 0.4
WHOLE_DRAWS = 3  # of all photos, where a draw is only who judges
TIMED = ((THREE, 20), (EIGHT, 50))


@dataclass(frozen=True)
class Photos:
    """Phone photos with what the backbone says of them.

    Attributes:
        paths: (N,) the files.
        labels: (N,) texts.
        senders: (N,) texts.
        features: (N, D) float32.
    """

    paths: NDArray[np.object_]
    labels: NDArray[np.str_]
    senders: NDArray[np.str_]
    features: NDArray[np.float32]

    def parted(self, seed: int) -> NDArray[np.bool_]:
        """Return (N,) whether a photo's sender is one to judge by."""
        senders = np.random.default_rng(seed).permutation(np.unique(self.senders))
        return np.isin(self.senders, senders[: round(JUDGED * len(senders))])

    def drawn(
        self, labels: tuple[str, ...], count: int, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the photos to learn from, `count` of each label, and those to judge by."""
        judged, some = self.parted(seed), np.isin(self.labels, labels)
        random = np.random.default_rng(seed)
        learned = [
            random.permutation(np.flatnonzero((self.labels == label) & ~judged))[:count]
            for label in labels
        ]
        return np.concatenate(learned), np.flatnonzero(some & judged)


def main() -> None:
    """Measure what the command line asks for, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("--catalogue", type=Path, help="folder of the catalogue")
    parser.add_argument(
        "--finetune", action="store_true", help="fine-tune too, on one draw of each"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    photos = read(options.phones)
    text = "\n\n".join(
        [
            "## Few photos",
            f"`{command()}` on {machine()}. Right, of photos by other people, as the mean over the "
            f"labels; the mean of {DRAWS} draws.",
            probes(photos),
            timed(photos, options),
        ]
    )
    publish(text, options.write, "small")


def read(folder: Path) -> Photos:
    """Read the photos and put them through the backbone."""
    backbone = open_backbone()
    dataset = load_dataset(
        folder,
        rule=backbone.rule,
        labels_file=Path("images.csv"),
        image_column="image",
        label_column="label",
        group_column="sender_id",
    )
    with (folder / "images.csv").open(newline="") as file:
        sender_of = {row["image"]: row["sender_id"] for row in csv.DictReader(file)}
    labels = np.array(dataset.vocabularies["label"])[dataset.codes["label"]]
    senders = np.array([sender_of[Path(name).stem] for name in dataset.references])
    paths = np.array([folder / name for name in dataset.references], dtype=object)
    return Photos(paths, labels, senders, backbone.features_of(dataset, progress=True))


def probes(photos: Photos) -> str:
    """Return the table of linear probes."""
    names = (*sorted(set(photos.labels.tolist()) - set(UNJUDGED)),)
    rows: list[list[object]] = []
    for labels, counts in COUNTS.items():
        scores = [np.mean([probe(photos, labels, n, s) for s in range(DRAWS)]) for n in counts]
        rows.append([f"{len(labels)} labels", *(f"{100 * score:.1f} %" for score in scores), ""])
    whole = np.mean(
        [probe(photos, names, len(photos.labels), s, macro=False) for s in range(WHOLE_DRAWS)]
    )
    rows.append(
        [f"all {len(names)} labels, percentage of photos", "", "", "", "", f"{100 * whole:.1f} %"]
    )
    return table(["linear probe", "5 each", "10 each", "20 each", "50 each", "all"], rows)


def probe(
    photos: Photos, labels: tuple[str, ...], count: int, seed: int, *, macro: bool = True
) -> float:
    """Return how right a probe of one draw is, 0 to 1."""
    learned, judged = photos.drawn(labels, count, seed)
    code_of = {label: code for code, label in enumerate(labels)}
    codes = np.array([code_of[label] for label in photos.labels[learned].tolist()])
    wanted = np.array([code_of[label] for label in photos.labels[judged].tolist()])
    _, groups = np.unique(photos.senders[learned], return_inverse=True)
    allowed = allowed_labels(codes, np.empty((0, len(labels)), np.bool_))
    inputs = photos.features[learned]
    folds = assign_folds(codes, groups, FOLDS, seed=seed)
    penalty = cross_validate(inputs, allowed, folds).penalty
    answers = fit_head(inputs, allowed, penalty=penalty)(photos.features[judged]).argmax(axis=1)
    right = answers == wanted
    if not macro:
        return float(right.mean())
    return float(np.mean([right[wanted == code].mean() for code in np.unique(wanted)]))


def timed(photos: Photos, options: argparse.Namespace) -> str:
    """Return the table of whole commands."""
    recipes = ["probe", *(["finetune"] if options.finetune else [])]
    rows: list[list[object]] = []
    with TemporaryDirectory() as scratch:
        for labels, count in TIMED:
            learned, judged = photos.drawn(labels, count, 0)
            folder = Path(scratch, f"{len(learned)}")
            copy(photos, learned, folder)
            for recipe in recipes:
                seconds, run = train(folder, recipe, Path(scratch))
                score = grade(photos, judged, run / "model.onnx")
                rows.append([f"{len(learned)} photos, {recipe}", seconds, f"{100 * score:.1f} %"])
        if options.catalogue:
            some = sorted((options.catalogue / "images").iterdir())[:5000]
            wanted = {path.stem for path in some}
            folder = Path(scratch, "catalogue")
            folder.mkdir()
            for path in some:
                shutil.copy(path, folder)
            with (options.catalogue / "styles.csv").open(newline="") as file:
                kinds = [(r["id"], r["articleType"]) for r in csv.DictReader(file)]
            with (folder / "labels.csv").open("w", newline="") as file:
                rows_of = [("image", "label"), *(kind for kind in kinds if kind[0] in wanted)]
                csv.writer(file).writerows(rows_of)
            seconds, run = train(folder, "probe", Path(scratch))
            quality = read_bundle(run / "model.onnx").info.quality
            rows.append(
                ["5,000 catalogue photos, probe", seconds, f"{100 * quality['accuracy']:.1f} % *"]
            )
    note = "\n\n\\* of the held-out fifth, as a percentage of photos." if options.catalogue else ""
    return table(["whole command", "seconds", "right"], rows) + note


def copy(photos: Photos, indices: NDArray[np.int64], folder: Path) -> None:
    """Lay photos out as a folder for each label."""
    for index in indices.tolist():
        target = folder / str(photos.labels[index])
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos.paths[index], target)


def train(folder: Path, recipe: str, scratch: Path) -> tuple[str, Path]:
    """Train by the command line, with a cache of its own; return the seconds and the run."""
    run, cache = scratch / f"run-{folder.name}-{recipe}", scratch / f"cache-{folder.name}-{recipe}"
    words = [sys.executable, "-m", "shopwindow", "train", str(folder), "--recipe", recipe]
    words += ["--out", str(run), "--cache-dir", str(cache)]
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return f"{time.perf_counter() - began:.0f}", run


def grade(photos: Photos, judged: NDArray[np.int64], model: Path) -> float:
    """Return how right a bundle is on photos of others, as the mean over the labels, 0 to 1."""
    predictor = Predictor(read_bundle(model))
    answers = predictor.predict_bytes(
        [photos.paths[n].read_bytes() for n in judged.tolist()], top=1
    )
    right = np.array(
        [
            getattr(answer, "label", None) == label
            for answer, label in zip(answers, photos.labels[judged].tolist(), strict=True)
        ]
    )
    wanted = photos.labels[judged]
    return float(np.mean([right[wanted == label].mean() for label in np.unique(wanted)]))


if __name__ == "__main__":
    main()
