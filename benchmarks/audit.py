"""How many of the labels that `shopwindow audit` doubts most had been made wrong.

    python benchmarks/audit.py PHONES CATALOGUE [--write docs/audit.md]

PHONES is the folder of the phone photos that scripts/train-fashion trains on, without labels that
name no garment; of CATALOGUE 5,000 photos are drawn. Of each, 5 % of the labels are replaced by
another label at random. Precision is the fraction of those among as many labels as were replaced,
the most doubtful first. Labels that were wrong before count against the audit.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.audit.auditing import out_of_fold
from shopwindow.audit.neighbours import directions, nearest
from shopwindow.audit.ranking import VOTERS, rank_labels, votes_of_neighbours
from shopwindow.data.dataset import Dataset
from shopwindow.data.spec import DataSpec
from shopwindow.data.split import connected_groups
from shopwindow.probe.backbone import open_backbone

UNJUDGED = ("Body", "Not sure", "Other", "Skip")
# The ranking was chosen with the seeds 10 and 11.
FLIPPED, SEEDS, CATALOGUE_PHOTOS = 0.05, (12, 13, 14), 5000
TIMED_PHOTOS = 256

Scores = NDArray[np.float64]


def main() -> None:
    """Measure what the command line asks for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("catalogue", type=Path, help="folder of the catalogue")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    phones = DataSpec(
        options.phones,
        labels_file=Path("images.csv"),
        label_column="label",
        group_column="sender_id",
    )
    catalogue = DataSpec(
        options.catalogue, labels_file=Path("styles.csv"), label_column="articleType"
    )
    rows = [
        measure("phone photos", phones, None),
        measure("catalogue", catalogue, CATALOGUE_PHOTOS),
    ]
    names = [
        "data",
        "photos",
        "labels",
        "audit",
        "probe alone",
        "neighbours alone",
        "right suggestion",
        "in three pairs",
        "s for 10,000 features",
        "s for 10,000 rankings",
    ]
    text = "\n\n".join(
        [
            "## Measured",
            f"`{command()}` on {machine()}. {100 * FLIPPED:.0f} % of the labels were replaced; the "
            "fraction of those among as many labels, the most doubtful first; the mean of "
            f"{len(SEEDS)} draws.",
            table(names, rows),
            "*Right suggestion*: of the replaced labels, the fraction for which audit suggests the "
            "one that was replaced. *In three pairs*: of the first labels that nobody replaced, "
            "the fraction in the three most frequent pairs of given and suggested label, which the "
            "photos hardly tell apart.",
        ]
    )
    publish(text, options.write, "audit")


def measure(name: str, spec: DataSpec, count: int | None) -> list[object]:
    """Return a row of the table."""
    backbone = open_backbone()
    dataset = spec.load(rule=backbone.rule)
    some = chosen(dataset, count)
    copies = dataset.duplicate_groups()
    groups, copies = connected_groups(copies, dataset.groups)[some], copies[some]
    blocks = list(dataset.image_blocks(some[:TIMED_PHOTOS], 32))
    began = time.perf_counter()
    for block in blocks:
        backbone.features(block)
    of_features = (time.perf_counter() - began) / len(some[:TIMED_PHOTOS])
    features = np.concatenate(
        [backbone.features(block) for block in dataset.image_blocks(some, 32)]
    )
    true = np.unique(dataset.codes[dataset.label_columns[0]][some], return_inverse=True)[1]
    classes = int(true.max()) + 1
    found: dict[str, list[float]] = {}
    of_ranking = 0.0
    for seed in SEEDS:
        given, flipped = flip(true, classes, seed)
        allowed = np.eye(classes, dtype=np.bool_)[given]
        began = time.perf_counter()
        probs = out_of_fold(features, given, allowed, groups)
        neighbours, cosines = nearest(directions(features), VOTERS)
        votes = votes_of_neighbours(neighbours, cosines, allowed, copies)
        ranking = rank_labels(probs * votes, allowed)
        of_ranking += (time.perf_counter() - began) / len(some) / len(SEEDS)
        scores = {
            "audit": ranking.scores,
            "probe": rank_labels(probs, allowed).scores,
            "neighbours": rank_labels(votes, allowed).scores,
        }
        first = {way: np.argsort(s, kind="stable")[: flipped.sum()] for way, s in scores.items()}
        for way, indices in first.items():
            found.setdefault(way, []).append(float(flipped[indices].mean()))
        right = ranking.suggested[flipped] == true[flipped]
        found.setdefault("suggestion", []).append(float(right.mean()))
        others = first["audit"][~flipped[first["audit"]]]
        pairs = Counter(map(frozenset, zip(given[others], ranking.suggested[others], strict=True)))
        in_three = sum(n for _, n in pairs.most_common(3)) / max(len(others), 1)
        found.setdefault("pairs", []).append(in_three)
    return [
        name,
        f"{len(some):,}",
        classes,
        *(f"{np.mean(values):.3f}" for values in found.values()),
        f"{10_000 * of_features:.0f}",
        f"{10_000 * of_ranking:.0f}",
    ]


def chosen(dataset: Dataset, count: int | None) -> NDArray[np.int64]:
    """Return the images to audit: of labels that name a garment, by chance where they are many."""
    main = dataset.label_columns[0]
    names = np.array(dataset.cell_names(main))[dataset.codes[main]]
    some = np.flatnonzero(~np.isin(names, UNJUDGED))
    return np.sort(np.random.default_rng(0).permutation(some)[:count])


def flip(
    true: NDArray[np.int64], classes: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return labels of which some were replaced, and (N,) which."""
    rng = np.random.default_rng(seed)
    flipped = np.zeros(len(true), np.bool_)
    flipped[rng.choice(len(true), round(FLIPPED * len(true)), replace=False)] = True
    moved = (true + rng.integers(1, classes, len(true))) % classes
    return np.where(flipped, moved, true), flipped


if __name__ == "__main__":
    main()
