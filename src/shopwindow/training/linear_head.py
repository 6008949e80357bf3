"""The head of a network whose body stands still: a logistic regression on its features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import allowed_labels
from shopwindow.regression import fit_head
from shopwindow.training.mix import TrainingMix
from shopwindow.training.network import Classifier

# What suits some thousand images; fine-tuning starts from this head and changes it.
_PENALTY = 1e-4


def fit_linear_head(model: Classifier, mix: TrainingMix, batch_size: int = 128) -> None:
    """Replace the last layer by the best one for the body as it is.

    Args:
        model: Ends in one linear layer; see `pooled_answer`. Changed in place.
        mix: What to learn from, each source by its share.
        batch_size: Images that go through the body at a time.
    """
    sources = mix.sources
    rows = [_features(model, source.images, source.train, batch_size) for source in sources]
    targets = np.concatenate([source.targets[source.train] for source in sources])
    shares = [1 - sum(source.share for source in sources[1:]), *(s.share for s in sources[1:])]
    weights = np.concatenate(
        [np.full(len(part), share / len(part)) for part, share in zip(rows, shares, strict=True)]
    )
    features = np.concatenate(rows)
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


@torch.inference_mode()
def accuracy_of(
    model: Classifier, dataset: Dataset, indices: NDArray[np.int64], batch_size: int = 128
) -> float:
    """Return the share of images, 0 to 1, whose main label is the likeliest or one that is allowed.

    Args:
        model: Any network of this project; asked as it is.
        dataset: Of the size that it takes.
        indices: (n,) which images.
        batch_size: Images at a time.
    """
    training, device = model.training, model.mean.device
    model.eval()
    main = dataset.label_columns[0]
    allowed = allowed_labels(dataset.codes[main][indices], dataset.sets[main])
    right = 0
    for start in range(0, len(indices), batch_size):
        some = slice(start, start + batch_size)
        batch = torch.from_numpy(dataset.images(indices[some])).to(device)
        logits = model(batch.permute(0, 3, 1, 2).float() / 255)[:, : model.sizes[0]]
        best = logits.argmax(dim=1).cpu().numpy()
        right += int(allowed[some][np.arange(len(best)), best].sum())
    model.train(training)
    return right / max(1, len(indices))


@torch.inference_mode()
def _features(
    model: Classifier,
    images: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
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
