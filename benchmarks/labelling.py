"""How many photos of the review queue a model must learn from to gain two points, by their order.

    python benchmarks/labelling.py PHONES [--write docs/embedding.md]

PHONES is the folder of the phone photos that scripts/train-fashion trains on. Senders are parted,
two fifths to judge by. A linear probe learns from 200 photos of the others; the rest of these are
the queue, with what the probe says about them and what visitors said: the right label in nine of
ten cases, else another. The queue is ordered once, the first so many are reviewed, and the probe is
fitted again. Features are computed once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.calibration.regression import fit_head
from shopwindow.feedback.review_order import greedy_order
from small import UNJUDGED, Photos, read

START, GAIN = 200, 0.02
STEPS = (10, 20, 30, 40, 60, 80, 100, 200, 400)
SHOWN = (40, 100, 200, 400)
DRAWS = 20
RIGHT_VISITORS = 0.9
PENALTY = 1e-2


@dataclass(frozen=True)
class Queue:
    """What is known of N photos when their order is chosen.

    Attributes:
        margins: (N,) confidence less that of the second label, 0 to 1.
        corrected: (N,) whether the visitor disagreed with the model.
        embeddings: (N, D) of unit length.
        labelled: (M, D) those of the photos that the model has learned from.
        random: For orders by chance.
    """

    margins: NDArray[np.float32]
    corrected: NDArray[np.bool_]
    embeddings: NDArray[np.float32]
    labelled: NDArray[np.float32]
    random: np.random.Generator


def by_visitors(queue: Queue) -> NDArray[np.int64]:
    """Corrections first, the largest margin in front; then confirmations, the smallest."""
    second = np.where(queue.corrected, -queue.margins, queue.margins)
    return np.lexsort((second, ~queue.corrected))


def by_chance(queue: Queue) -> NDArray[np.int64]:
    """In any order."""
    return queue.random.permutation(len(queue.margins))


def by_doubt(queue: Queue) -> NDArray[np.int64]:
    """The smallest margin first, whatever the visitor said."""
    return np.argsort(queue.margins, kind="stable")


def by_distance(queue: Queue) -> NDArray[np.int64]:
    """Farthest from what is labelled or chosen."""
    return _greedy(queue, np.ones_like(queue.margins))


def by_doubt_and_distance(queue: Queue) -> NDArray[np.int64]:
    """Doubt times distance to what is labelled or chosen."""
    return _greedy(queue, 1 - queue.margins)


def by_all(queue: Queue) -> NDArray[np.int64]:
    """The same, where a correction is as doubtful as can be."""
    return _greedy(queue, np.where(queue.corrected, 1, 1 - queue.margins))


def _greedy(queue: Queue, doubts: NDArray[np.float32]) -> NDArray[np.int64]:
    order = greedy_order(doubts, queue.embeddings, queue.labelled, max(STEPS))
    return np.array(order, np.int64)


ORDERS: dict[str, Callable[[Queue], NDArray[np.int64]]] = {
    "corrections first, by margin (before)": by_visitors,
    "by chance": by_chance,
    "doubt": by_doubt,
    "distance": by_distance,
    "doubt x distance": by_doubt_and_distance,
    "doubt x distance, a correction is full doubt": by_all,
}


def main() -> None:
    """Measure each order, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    photos = read(options.phones)
    curves = np.array([draw(photos, seed) for seed in range(DRAWS)])  # (draw, order, step)
    start = curves[:, 0, 0].mean()
    rows: list[list[object]] = []
    for name, curve, draws in zip(ORDERS, curves.mean(axis=0), curves.swapaxes(0, 1), strict=True):
        gains = draws[:, -1] - curves[:, 0, -1]
        apart = f"{100 * gains.mean():+.1f} ± {196 * gains.std(ddof=1) / DRAWS**0.5:.1f}"
        shown = [f"{100 * curve[1 + STEPS.index(step)]:.1f} %" for step in SHOWN]
        rows.append([name, needed(curve), *shown, apart])
    columns = ["order", "photos for 2 points", *(f"{step} more" for step in SHOWN)]
    text = "\n\n".join(
        [
            f"`{command()}` on {machine()}. From {START} photos, {100 * start:.1f} % right, of "
            f"photos by other people; the mean of {DRAWS} draws. The last column is the difference "
            f"from the first row with {max(STEPS)} more, with its 95 % interval.",
            table([*columns, "difference"], rows),
        ]
    )
    publish(text, options.write, "labelling")


def needed(curve: NDArray[np.float64]) -> str:
    """Return how many photos it takes to gain `GAIN`, between two steps by a straight line."""
    counts = np.array((0, *STEPS))
    gained = np.maximum.accumulate(curve - curve[0])
    if gained[-1] < GAIN:
        return f"over {max(STEPS)}"
    after = int(np.argmax(gained >= GAIN))
    return f"{np.interp(GAIN, gained[after - 1 : after + 1], counts[after - 1 : after + 1]):.0f}"


def draw(photos: Photos, seed: int) -> list[list[float]]:
    """Return by order the fraction that is right before, and after each step."""
    names, codes = np.unique(photos.labels, return_inverse=True)
    usable, judged = ~np.isin(photos.labels, UNJUDGED), photos.parted(seed)
    random = np.random.default_rng(seed)
    pool = random.permutation(np.flatnonzero(usable & ~judged))
    learned, queued = pool[:START], pool[START:]
    test = np.flatnonzero(usable & judged)

    def fit(indices: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], NDArray[np.float32]]:
        allowed = codes[indices][:, None] == np.arange(len(names))
        head = fit_head(photos.features[indices], allowed, penalty=PENALTY)
        return lambda asked: head(photos.features[asked])

    def right(indices: NDArray[np.int64]) -> float:
        return float((fit(indices)(test).argmax(axis=1) == codes[test]).mean())

    logits = fit(learned)(queued)
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    ranked = np.sort(exps / exps.sum(axis=1, keepdims=True), axis=1)
    given = np.where(
        random.random(len(queued)) < RIGHT_VISITORS,
        codes[queued],
        random.integers(len(names), size=len(queued)),
    )
    unit = photos.features / np.linalg.norm(photos.features, axis=1, keepdims=True)
    queue = Queue(
        ranked[:, -1] - ranked[:, -2],
        given != logits.argmax(axis=1),
        unit[queued],
        unit[learned],
        random,
    )
    before = right(learned)
    curves = []
    for order in ORDERS.values():
        chosen = queued[order(queue)]
        curves.append(
            [before, *(right(np.concatenate([learned, chosen[:step]])) for step in STEPS)]
        )
    return curves


if __name__ == "__main__":
    main()
