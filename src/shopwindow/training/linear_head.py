"""The head of a network with a frozen body: a logistic regression on its features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from tqdm import tqdm

from shopwindow.calibration.regression import fit_head
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.runs.mix import TrainingMix
from shopwindow.training.network import Classifier, logits_of

# Suits some thousand images; fine-tuning starts from this head and changes it.
_PENALTY = 1e-4


def fit_linear_head(model: Classifier, mix: TrainingMix, batch_size: int = 128) -> None:
    """Replace the last layer by the best for the body as it is.

    Args:
        model: Ends in one linear layer; see `pooled_answer`. Changed in place.
        mix: What to learn from, each source by its fraction of a batch.
        batch_size: Images that go through the body at a time.
    """
    rows = [_features(model, source.images, source.train, batch_size) for source in mix.sources]
    features = np.concatenate(rows)
    targets, weights = mix.targets_and_weights()
    heads = []
    for column, sets in enumerate(mix.sets):
        codes = targets[:, column]
        known = codes >= 0
        head = fit_head(
            features[known],
            allowed_labels(codes[known], sets),
            penalty=_PENALTY,
            weights=weights[known],
        )
        heads.append(head)
    *_, last = model.net[1].children()
    assert isinstance(last, nn.Linear)  # noqa: S101 (see the argument)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(np.concatenate([h.weights.T for h in heads])))
        last.bias.copy_(torch.from_numpy(np.concatenate([h.bias for h in heads])))


def accuracy_of(model: Classifier, dataset: Dataset, indices: NDArray[np.int64]) -> float:
    """Return the fraction of images, 0 to 1, whose main label is right.

    Args:
        model: Any network of this project.
        dataset: At its input size.
        indices: (n,) which images.
    """
    main = dataset.label_columns[0]
    allowed = allowed_labels(dataset.codes[main][indices], dataset.sets[main])
    best = logits_of(model, dataset, indices)[0].argmax(axis=1)
    return float(allowed[np.arange(len(best)), best].mean())


@torch.inference_mode()
def _features(
    model: Classifier,
    images: Callable[[ArrayLike], NDArray[np.uint8]],
    indices: NDArray[np.int64],
    batch_size: int,
) -> NDArray[np.float32]:
    """(n, D) float32: what the last layer is given."""
    body, head = model.net
    pool = nn.Sequential(*list(head.children())[:-1])
    training, device = model.training, model.mean.device
    model.eval()
    rows = []
    for start in tqdm(range(0, len(indices), batch_size), desc="features", disable=None):
        batch = torch.from_numpy(images(indices[start : start + batch_size])).to(device)
        pixels = batch.permute(0, 3, 1, 2).float() / 255
        features = pool(body((pixels - model.mean) / model.std))
        rows.append(features.cpu().numpy())
    model.train(training)
    return np.concatenate(rows)
