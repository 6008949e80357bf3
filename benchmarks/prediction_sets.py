"""Prediction sets: how often they hold the right label, how large they are, and how to make them.

    python benchmarks/prediction_sets.py CATALOGUE PHONES [--model BUNDLE] [--images N]

CATALOGUE and PHONES are the folders that scripts/train-fashion trains on. Only their held-out
photos are used, of the catalogue N at random. Everything is fitted to one half of them and measured
on the other, twenty times; photos of one sender stay in one half. So the phone photos are always
those of people that nothing was fitted to, and the figures change with which people these are: the
number behind each ± is the standard deviation over the halvings.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sections import publish, table
from shopwindow.bundle import Bundle, bundled_model_path, read_bundle
from shopwindow.calibration.calibrating import Calibration, calibrate
from shopwindow.calibration.prediction_sets import LEVEL, least_probability
from shopwindow.calibration.temperature import as_logits
from shopwindow.calibration.thresholds import SURE_PRECISION
from shopwindow.data.label_sets import read_label_map
from shopwindow.data.spec import DataSpec
from shopwindow.evaluation.asking import ValidationSet, ask
from shopwindow.evaluation.grading import read_dataset
from shopwindow.evaluation.leakage import exposure_of
from shopwindow.inference.predictor import Predictor, sure_rows
from shopwindow.plain_text import percent

HALVINGS = 20
WEIGHTS = (0.66, 0.34)  # of the catalogue and of the phone photos, as in the bundle's training
SHORT = (2, 3)  # labels in a list that the page shows
PENALTIES = ((0.01, 2), (0.05, 2), (0.2, 2), (0.01, 3), (0.05, 3), (0.2, 3))  # RAPS: lambda, k_reg

# Of (n, C) probabilities, ranked: how little each label belongs into the set, 0 for the best one.
Score = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class Answers:
    """Answers to n photos of one kind.

    Attributes:
        ranked: (n, C) probabilities, highest first.
        right: (n,) the rank of the likeliest right label, from 0.
        sure: (n,) whether the answer is sure.
        like: (n, K) how likely the photo is of each kind.
    """

    ranked: NDArray[np.floating]
    right: NDArray[np.int64]
    sure: NDArray[np.bool_]
    like: NDArray[np.floating]


@dataclass(frozen=True)
class Found:
    """What sets are worth on some photos of one kind: fractions from 0 to 1, and a mean size."""

    held: float
    size: float
    held_not_sure: float
    size_not_sure: float
    short: float
    held_short: float


def main() -> None:
    """Compare the ways to make sets, and print the section."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("catalogue", type=Path, help="folder of the catalogue")
    parser.add_argument("phones", type=Path, help="folder of the phone photos")
    parser.add_argument("--model", type=Path, default=bundled_model_path())
    parser.add_argument("--images", type=int, default=3000, help="of the catalogue, at most")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the text into this page")
    options = parser.parse_args()

    bundle = read_bundle(options.model)
    catalogue = DataSpec.from_record(options.catalogue, bundle.info.data)
    phones = DataSpec(
        options.phones,
        labels_file=Path("images.csv"),
        image_column="image",
        label_column="label",
        label_map=read_label_map(options.phones / "phone-labels.json"),
        group_column="sender_id",
    )
    sets = [_held_out(bundle, catalogue, options.images), _held_out(bundle, phones, None)]
    sets = [replace(one, weight=weight) for one, weight in zip(sets, WEIGHTS, strict=True)]
    rows: dict[tuple[str, str], list[list[Found]]] = {}
    for seed in range(HALVINGS):
        random = np.random.default_rng(seed)
        first = [_half(one, random) for one in sets]
        for name, found in _judge(sets, first, random).items():
            rows.setdefault(name, []).append(found)
    publish(_text(bundle, sets, rows), options.write, "prediction sets")


def _held_out(bundle: Bundle, spec: DataSpec, most: int | None) -> ValidationSet:
    """Ask a bundle about the held-out photos of a data set that show a label; `most` at random."""
    dataset = read_dataset(bundle, spec, labels_of_model=True)
    indices = np.flatnonzero(exposure_of(bundle, dataset).held_out)
    indices = np.sort(np.random.default_rng(0).permutation(indices)[:most])
    answers = ask(Predictor(bundle, engine="onnxruntime"), dataset, indices)
    one = ValidationSet(spec.data.name, dataset, indices, as_logits(answers), 1.0)
    return _some(one, np.any(one.allowed(bundle.info.main.name), axis=1))


def _some(one: ValidationSet, chosen: NDArray[np.bool_]) -> ValidationSet:
    logits = {name: rows[chosen] for name, rows in one.logits.items()}
    return replace(one, indices=one.indices[chosen], logits=logits)


def _half(one: ValidationSet, random: np.random.Generator) -> NDArray[np.bool_]:
    groups = one.dataset.groups[one.indices]
    distinct = np.unique(groups)
    return np.isin(groups, random.permutation(distinct)[: len(distinct) // 2])


def _judge(
    sets: Sequence[ValidationSet], first: Sequence[NDArray[np.bool_]], random: np.random.Generator
) -> dict[tuple[str, str], list[Found]]:
    """Fit all ways to one half of each data set, and return what they are worth on the other."""
    fitted = calibrate(
        [_some(one, half) for one, half in zip(sets, first, strict=True)],
        {},
        precision=SURE_PRECISION,
    )
    fit = [_answers(fitted, _some(o, h)) for o, h in zip(sets, first, strict=True)]
    judged = [_answers(fitted, _some(o, ~h)) for o, h in zip(sets, first, strict=True)]
    # RAPS needs photos to choose its two numbers by, which must not calibrate it.
    tuning = [random.random(len(one.right)) < 0.5 for one in fit]
    penalty = min(PENALTIES, key=lambda one: _size_by(one, fit, tuning))
    ways: dict[str, tuple[Score, list[NDArray[np.bool_]] | None]] = {
        "LAC": (least_ambiguous, None),
        "APS": (adaptive, None),
        "RAPS": (lambda ranked: regularised(ranked, *penalty), [~one for one in tuning]),
    }
    found = {}
    for name, (score, chosen) in ways.items():
        found[name, "all"] = _worth(score, fit, judged, chosen=chosen, by_sure=False)
        found[name, "by sure"] = _worth(score, fit, judged, chosen=chosen)
    for kinds in ("known", "mixed"):
        found["LAC", f"by sure, kinds {kinds}"] = _worth(least_ambiguous, fit, judged, kinds=kinds)
    return found


def _answers(fitted: Calibration, one: ValidationSet) -> Answers:
    main = next(iter(one.logits))
    probs, like = fitted.probs(one.logits)[main], fitted.kinds_of(one.logits)
    if like is None:
        raise SystemExit("expected 200 photos or more in half of each data set, found fewer")
    order = np.argsort(-probs, axis=1, kind="stable")
    return Answers(
        np.take_along_axis(probs, order, axis=1).astype(np.float64),
        np.take_along_axis(one.allowed(main), order, axis=1).argmax(axis=1),
        sure_rows(fitted.threshold, probs),
        like,
    )


def least_ambiguous(ranked: NDArray[np.floating]) -> NDArray[np.floating]:
    """LAC (Sadinle, Lei, Wasserman 2019): the less probable, the less it belongs."""
    scores = 1 - ranked
    scores[:, 0] = 0
    return scores


def adaptive(ranked: NDArray[np.floating]) -> NDArray[np.floating]:
    """APS (Romano, Sesia, Candes 2020), not randomised: the sum of all more probable ones."""
    before: NDArray[np.floating] = np.cumsum(ranked, axis=1) - ranked
    return before


def regularised(ranked: NDArray[np.floating], penalty: float, free: int) -> NDArray[np.floating]:
    """RAPS (Angelopoulos et al. 2021): and a penalty for each rank after the first `free` ones."""
    ranks = np.arange(1, ranked.shape[1] + 1)
    penalised: NDArray[np.floating] = adaptive(ranked) + penalty * np.maximum(0, ranks - free)
    return penalised


def _size_by(
    penalty: tuple[float, int], fit: Sequence[Answers], tuning: Sequence[NDArray[np.bool_]]
) -> float:
    """Return the mean size of RAPS' sets of the photos that choose its penalty."""
    found = _worth(lambda ranked: regularised(ranked, *penalty), fit, fit, chosen=tuning)
    return sum(one.size for one in found)


def _worth(
    score: Score,
    fit: Sequence[Answers],
    judged: Sequence[Answers],
    *,
    chosen: Sequence[NDArray[np.bool_]] | None = None,
    by_sure: bool = True,
    kinds: str = "told",
) -> list[Found]:
    """Return what a way to make sets is worth on the photos of each kind.

    Args:
        score: Of the labels.
        fit: The photos to calibrate on, by kind.
        judged: The photos to judge, by kind.
        chosen: Which of `fit` to use; all where left out.
        by_sure: Whether sure answers and the others have bounds of their own.
        kinds: `told`: the kind that the network takes a photo for; `mixed`: the mean of the bounds
            by how likely each is; `known`: the kind that it is, which nobody knows when serving.
    """
    bounds = np.full((len(fit), 2), np.inf)
    for kind, one in enumerate(fit):
        scores = score(one.ranked.copy())[np.arange(len(one.right)), one.right]
        used = np.ones(len(scores), np.bool_) if chosen is None else chosen[kind].copy()
        if kinds == "told":
            used &= one.like.argmax(axis=1) == kind
        for sure in (0, 1):
            some = used & (one.sure == bool(sure)) if by_sure else used
            bound = least_probability(-scores[some])
            bounds[kind, sure] = np.inf if bound is None else -bound
    found = []
    for kind, one in enumerate(judged):
        of_kind = bounds[:, one.sure.astype(int)].T  # (n, K)
        if kinds == "mixed":
            bound_of = (of_kind * one.like).sum(axis=1)
        else:
            told = one.like.argmax(axis=1) if kinds == "told" else np.full(len(of_kind), kind)
            bound_of = of_kind[np.arange(len(told)), told]
        inside = score(one.ranked.copy()) <= bound_of[:, None]
        sizes, held = inside.sum(axis=1), inside[np.arange(len(one.right)), one.right]
        short = ~one.sure & (sizes >= SHORT[0]) & (sizes <= SHORT[1])
        found.append(
            Found(
                held.mean(),
                sizes.mean(),
                held[~one.sure].mean(),
                sizes[~one.sure].mean(),
                short.mean(),
                held[short].mean() if short.any() else math.nan,
            )
        )
    return found


def _text(
    bundle: Bundle,
    sets: Sequence[ValidationSet],
    rows: dict[tuple[str, str], list[list[Found]]],
) -> str:
    def cells(name: tuple[str, str], kind: int) -> list[object]:
        each = [found[kind] for found in rows[name]]

        def mean(what: str) -> float:
            return float(np.nanmean([getattr(one, what) for one in each]))

        spread = float(np.std([one.held for one in each]))
        return [
            f"{percent(mean('held'))} ± {100 * spread:.1f}",
            f"{mean('size'):.2f}",
            percent(mean("held_not_sure")),
            f"{mean('size_not_sure'):.1f}",
            percent(mean("short")),
            percent(mean("held_short")),
        ]

    titles = {
        ("LAC", "all"): "LAC",
        ("APS", "all"): "APS",
        ("RAPS", "all"): "RAPS",
        ("LAC", "by sure"): "**LAC, sure or not apart**",
        ("APS", "by sure"): "APS, sure or not apart",
        ("RAPS", "by sure"): "RAPS, sure or not apart",
        ("LAC", "by sure, kinds known"): "LAC, apart, kind known",
        ("LAC", "by sure, kinds mixed"): "LAC, apart, bounds mixed by kind",
    }
    columns = ["", "held", "size", "held, not sure", "size, not sure", "short lists", "held there"]
    photos = " and ".join(f"{len(one.indices):,} of {one.name}" for one in sets)
    senders = len(np.unique(sets[1].dataset.groups[sets[1].indices]))
    lines = [
        f"{bundle.info.name} {bundle.info.version}, held-out photos: {photos} (from {senders} "
        f"people); promised {percent(LEVEL, 0)}. Measured with `benchmarks/prediction_sets.py`.",
    ]
    for kind, one in enumerate(sets):
        listed = [[title, *cells(name, kind)] for name, title in titles.items()]
        lines += [f"**{one.name}**", table(columns, listed)]
    return "\n\n".join(lines)


if __name__ == "__main__":
    main()
