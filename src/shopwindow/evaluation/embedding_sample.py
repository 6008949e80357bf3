"""Asks a bundle for the embeddings of a sample of labelled images, for its own metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle.training_sample import choose_sample, sample_record, sample_size
from shopwindow.data.dataset import Dataset
from shopwindow.evaluation.asking import embeddings_of
from shopwindow.inference.predictor import Predictor

Part = tuple[Dataset, NDArray[np.int64], float]


def embed_sample(predictor: Predictor, parts: Sequence[Part], *, seed: int) -> dict[str, Any]:
    """Return the embeddings of some images as JSON-ready data, to be merged into `data`.

    Args:
        predictor: Of the bundle; of one without embeddings there is no sample.
        parts: Data set, (n,) which of its images to choose from, by the labels of its first
            column, and what fraction of the sample is to come from them.
        seed: Of the choice.
    """
    width = predictor.bundle.info.embedding
    if not width or not sample_size(width):
        return {}
    rows = []
    for dataset, indices, fraction in parts:
        codes = dataset.codes[dataset.label_columns[0]][indices]
        chosen = choose_sample(codes, round(fraction * sample_size(width)), seed=seed)
        if len(chosen):
            rows.append(embeddings_of(predictor, dataset, indices[chosen]))
    return sample_record(np.concatenate(rows)) if rows else {}
