"""How often photos are called unknown: those of known kinds, and pictures of other things.

    python benchmarks/novelty.py MODEL --known catalogue=FOLDER --known phones=FOLDER --other FOLDER

Prints a row for each folder. Of a folder of known photos only those that the model has not learned
from count. Where the model does not measure novelty yet, that is fitted first, as training does:
to those that it has learned from, with a threshold from held-out ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.bundle import Bundle, read_bundle
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.bundle.seen import read_seen
from shopwindow.bundle.writing import with_info
from shopwindow.calibration.novelty_graph import KnownSet, append_novelty
from shopwindow.errors import ImageError
from shopwindow.imaging.formats import digest_of
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor

AT_MOST = 600  # photos of each kind and part
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--known", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--labelled", type=Path, help="text file: names of photos with a label")
    parser.add_argument("--other", action="append", default=[], type=Path, metavar="FOLDER")
    given = parser.parse_args()
    bundle = read_bundle(given.model)
    labelled = set(given.labelled.read_text().split()) if given.labelled else None
    known = [one.partition("=")[::2] for one in given.known]
    parts = {name: split(bundle, Path(folder), labelled) for name, folder in known}
    if bundle.info.novelty is None:
        bundle = with_novelty(bundle, parts)
    predictor = Predictor(bundle)
    assert bundle.info.novelty is not None  # noqa: S101 (fitted above)
    print(f"{bundle.info.name} {bundle.info.version}: {bundle.info.novelty.as_json()}")
    print("| pictures | how many | not sure | unknown | below 50 % confidence |")
    print("| --- | --- | --- | --- | --- |")
    for name, (_, held_out) in parts.items():
        report(f"{name}, known", predictor, held_out)
    for folder in given.other:
        report(folder.name, predictor, files_of(folder))


def files_of(folder: Path) -> list[Path]:
    """Return the pictures of a folder and those below it, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def split(bundle: Bundle, folder: Path, labelled: set[str] | None) -> tuple[list[Path], list[Path]]:
    """Return photos that the model has learned from, and those that it was judged by."""
    seen = read_seen(bundle.info.data)
    if seen is None:
        return [], files_of(folder)
    parts: tuple[list[Path], list[Path]] = ([], [])
    of_part = [set(seen.learned.tolist()), set(seen.held_out.tolist())]
    files = [path for path in files_of(folder) if labelled is None or path.stem in labelled]
    for number in np.random.default_rng(0).permutation(len(files)):
        digest = digest_of(files[number].read_bytes())
        for part, digests in zip(parts, of_part, strict=True):
            if digest in digests and len(part) < AT_MOST:
                part.append(files[number])
        if min(map(len, parts)) == AT_MOST:
            break
    return parts


def with_novelty(bundle: Bundle, parts: dict[str, tuple[list[Path], list[Path]]]) -> Bundle:
    """Return the bundle with novelty, fitted to photos of each kind; each counts the same."""
    predictor = Predictor(bundle)

    def known_set(name: str, files: list[Path]) -> KnownSet:
        def images(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            return np.stack([predictor.prepare(files[index].read_bytes()) for index in indices])

        return KnownSet(name, images, np.arange(len(files), dtype=np.int64), 1 / len(parts))

    graph, main = onnx.load_model_from_string(bundle.model), bundle.info.main.name
    embedding = bundle.info.embedding or append_embedding(graph, main)
    learned = [known_set(name, files) for name, (files, _) in parts.items() if files]
    held_out = [known_set(name, files) for name, (_, files) in parts.items()]
    novelty = append_novelty(graph, main, learned, held_out)
    if novelty is None:
        raise SystemExit("expected a model with an embedding, and photos of known kinds")
    info = replace(bundle.info, embedding=embedding, novelty=novelty)
    model = with_info(graph, info)
    print(f"the bundle grows from {len(bundle.model):,} to {len(model):,} bytes")
    return replace(bundle, info=info, model=model)


def report(name: str, predictor: Predictor, files: list[Path]) -> None:
    """Print a row of the table."""
    found: list[Prediction] = []
    for start in range(0, len(files), 32):
        blobs = [path.read_bytes() for path in files[start : start + 32]]
        answers = predictor.predict_bytes(blobs, top=1)
        found += [one for one in answers if not isinstance(one, ImageError)]
    shares = [
        np.mean([condition(one) for one in found])
        for condition in (
            lambda one: not one.sure,
            lambda one: one.known is False,
            lambda one: one.confidence < 0.5,
        )
    ]
    print(f"| {name} | {len(found):,} | " + " | ".join(f"{100 * s:.1f} %" for s in shares) + " |")


if __name__ == "__main__":
    main()
