"""How often the review page calls photos of the training's kind drift, and how often others.

    python benchmarks/drift.py PHONES [--write docs/embedding.md]

PHONES is the folder of the phone photos that scripts/train-fashion trains on. A sample of 200
stands for those of the training. A "month" is so many photos: any others, those of other senders (a
few people's photos look alike), or shoes alone. Embeddings are those of a linear probe.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.feedback.drift import MAX_PHOTOS, measure_drift
from small import read

SAMPLE, MONTHS = 200, 100
COUNTS = (20, 50, 200)


def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    photos = read(options.phones)
    unit = photos.features / np.linalg.norm(photos.features, axis=1, keepdims=True)
    everyone = np.ones(len(unit), np.bool_)
    kinds: dict[str, Callable[[int], tuple[NDArray[np.bool_], NDArray[np.bool_]]]] = {
        "any others": lambda seed: (everyone, everyone),
        "photos of other senders": lambda seed: (~photos.parted(seed), photos.parted(seed)),
        "only shoes": lambda seed: (everyone, photos.labels == "Shoes"),
    }
    rows: list[list[object]] = []
    for name, parts in kinds.items():
        found = [
            sum(flagged(unit, *parts(seed), count, seed) for seed in range(MONTHS))
            for count in COUNTS
        ]
        rows.append([name, *(f"{100 * one / MONTHS:.0f} %" for one in found)])
    start = time.perf_counter()
    measure_drift(np.resize(unit, (MAX_PHOTOS, unit.shape[1])), unit[:SAMPLE])
    seconds = time.perf_counter() - start
    text = "\n\n".join(
        [
            f"`{command()}` on {machine()}, busy with other work. How many of {MONTHS} months are "
            f"called drift. Of {MAX_PHOTOS:,} photos it takes {seconds:.1f} s.",
            table(["the month's photos", *(f"{count} photos" for count in COUNTS)], rows),
        ]
    )
    publish(text, options.write, "drift")


def flagged(
    unit: NDArray[np.float32],
    trained: NDArray[np.bool_],
    month: NDArray[np.bool_],
    count: int,
    seed: int,
) -> bool:
    """Say whether `count` photos of `month` are called drift beside a sample of `trained`."""
    random = np.random.default_rng(seed)
    sample = random.choice(np.flatnonzero(trained), SAMPLE, replace=False)
    others = np.setdiff1d(np.flatnonzero(month), sample)
    drift = measure_drift(unit[random.choice(others, count, replace=False)], unit[sample])
    return drift is not None and drift.found


if __name__ == "__main__":
    main()
