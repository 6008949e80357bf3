"""Ask a bundle about labelled images, and which of its answers are right.

Always through the predictor that serves it, so that what is graded is what people will see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.bundle import EMBEDDING_OUTPUT, KINDS_OUTPUT, Bundle
from shopwindow.data.dataset import Dataset
from shopwindow.data.label_sets import NO_LABEL, allowed_labels, likeliest_allowed
from shopwindow.errors import BundleError, ImageError, ShopwindowError
from shopwindow.evaluation.leakage import out_of_fold_answers
from shopwindow.inference.engine import EngineName
from shopwindow.inference.predictor import Predictor, with_families

BATCH_SIZE = 64

Probs = dict[str, NDArray[np.float32]]  # by label column, (N, C) probabilities


@dataclass(frozen=True)
class ValidationSet:
    """Validation images of one data set, and what a network says about them.

    Attributes:
        name: Of the data set.
        dataset: Where they come from; its main column has the labels of the network's.
        indices: (n,) which images.
        logits: By label column of the network, (n, C) float32.
        weight: What its images count together, above 0 to 1; its part of a batch.
    """

    name: str
    dataset: Dataset
    indices: NDArray[np.int64]
    logits: Probs
    weight: float

    def has(self, column: str) -> bool:
        """Say whether these images are labelled in a column of the network."""
        return column == self._main or column in self.dataset.label_columns[1:]

    def targets(self, column: str, probs: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the (n,) codes to grade (n, C) probabilities by; -1 where there is none."""
        own = self._own(column)
        codes, sets = self.dataset.codes[own], self.dataset.sets[own]
        return likeliest_allowed(probs, codes[self.indices], sets)

    def allowed(self, column: str) -> NDArray[np.bool_]:
        """Return (n, C) bool: the labels that are right."""
        return allowed_in(self.dataset, self._own(column), self.indices)

    @property
    def _main(self) -> str:
        return next(iter(self.logits))

    def _own(self, column: str) -> str:
        # The main columns belong together whatever they are called.
        return self.dataset.label_columns[0] if column == self._main else column


def allowed_in(dataset: Dataset, column: str, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return (n, C): which labels of the data set's vocabulary each image allows."""
    return allowed_labels(dataset.codes[column][indices], dataset.sets[column])


def open_predictor(bundle: Bundle, engine: EngineName) -> Predictor:
    """Return the predictor that serves a bundle.

    Raises:
        BundleError: The engine cannot run it.
    """
    with _explained(bundle):
        return Predictor(bundle, engine=engine)


def ask(predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64]) -> Probs:
    """Return (n, C) probabilities per label column, asked about the decoded images of a cache."""
    return _ask(predictor, indices, dataset.images, progress=None)


def embeddings_of(
    predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the (n, D) embeddings of decoded images of a cache; all of them at once.

    Raises:
        KeyError: The bundle has none.
    """
    return predictor.probabilities(dataset.images(indices), with_embedding=True)[EMBEDDING_OUTPUT]


def ask_as_served(
    predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64], *, progress: bool
) -> Probs:
    """Return (n, C) per label column, asked as a server would: from the original file's bytes.

    Where the bundle tells kinds of photo apart, (n, K) under `KINDS_OUTPUT` too.

    For an image that a cross-validated bundle has learned from, this is the answer that the bundle
    carries: that of a head that had not seen the image.

    Raises:
        BundleError: The bundle cannot be run, or the answers that it carries are damaged.
    """
    bundle = predictor.bundle

    def prepare(index: int) -> NDArray[np.uint8]:
        try:
            return predictor.prepare(dataset.read_bytes(index))
        except ImageError:  # gone since it was decoded, or it may not be read any more
            image: NDArray[np.uint8] = dataset.images([index])[0]
            return image

    answers = _ask(
        predictor,
        indices,
        lambda batch: np.stack([prepare(int(index)) for index in batch]),
        progress=progress,
        with_kinds=True,
    )
    if (carried := out_of_fold_answers(bundle)) is not None:
        for row, digest in enumerate(dataset.digests[indices]):
            if (place := carried.position_of(int(digest))) is not None:
                for name, rows in answers.items():
                    if name in carried.answers:
                        rows[row] = carried.answers[name][place]
    return with_families(bundle.info, answers)


def _ask(
    predictor: Predictor,
    indices: NDArray[np.int64],
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    *,
    progress: bool | None,
    with_kinds: bool = False,
) -> Probs:
    """Ask in batches; `progress` None shows it on a terminal only."""
    parts: dict[str, list[NDArray[np.float32]]] = {
        column.name: [] for column in predictor.bundle.info.columns
    }
    if with_kinds and KINDS_OUTPUT in predictor.bundle.info.further_outputs:
        parts[KINDS_OUTPUT] = []
    disable = None if progress is None else not progress
    with tqdm(total=len(indices), desc="Predicting", unit=" images", disable=disable) as bar:
        for start in range(0, len(indices), BATCH_SIZE):
            batch = indices[start : start + BATCH_SIZE]
            images = read(batch)
            with _explained(predictor.bundle):
                answers = predictor.probabilities(images, with_kinds=with_kinds)
            for name, rows in answers.items():
                parts[name].append(rows)
            bar.update(len(batch))
    return {name: np.concatenate(rows) for name, rows in parts.items()}


@contextlib.contextmanager
def _explained(bundle: Bundle) -> Iterator[None]:
    """Say what to do about a bundle that cannot be run."""
    try:
        yield
    except (ShopwindowError, OSError):
        raise
    except Exception as error:  # the engines' own classes share no base but Exception
        raise BundleError(
            f"{bundle.path}: expected a bundle that answers, found one that cannot be run "
            f"({str(error)[:200]}); export it again"
        ) from error


def targets_of(
    dataset: Dataset,
    column: str,
    indices: NDArray[np.int64],
    labels: Sequence[str],
    probs: NDArray[np.float32],
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the images' labels as the model numbers them, -1 for none, and the labels it lacks.

    Args:
        dataset: Has the labels.
        column: Of its label columns.
        indices: (n,) which images.
        labels: The C labels of the model.
        probs: (n, C) its answers; where an image allows several labels, the likeliest is taken.
    """
    known = {label: number for number, label in enumerate(labels)}
    vocabulary = dataset.vocabularies[column]
    allowed = allowed_in(dataset, column, indices)
    unknown = [
        vocabulary[code] for code in np.flatnonzero(allowed.any(0)) if vocabulary[code] not in known
    ]
    shared = [code for code, label in enumerate(vocabulary) if label in known]
    right = np.zeros((len(indices), len(labels)), np.bool_)
    right[:, [known[vocabulary[code]] for code in shared]] = allowed[:, shared]
    best = np.where(right, probs, -1.0).argmax(axis=1)
    return np.where(right.any(axis=1), best, NO_LABEL).astype(np.int64), unknown


def right_answers(
    predictor: Predictor, dataset: Dataset, indices: NDArray[np.int64], *, progress: bool
) -> NDArray[np.bool_]:
    """Ask a bundle about n images, as a server would.

    Args:
        predictor: Of the bundle, whose main column is asked.
        dataset: Its main column has the labels that are right.
        indices: (n,) which images.
        progress: Whether to show progress on stderr.

    Returns:
        (n,) bool: whether the most probable label is right, or one of those that are; for an image
        that shows none of the labels, whether the answer is not sure.
    """
    info, column = predictor.bundle.info, dataset.label_columns[0]
    probs = ask_as_served(predictor, dataset, indices, progress=progress)[info.main.name]
    targets, _ = targets_of(dataset, column, indices, info.main.labels, probs)
    right: NDArray[np.bool_] = probs.argmax(axis=1) == targets
    for index in np.flatnonzero(~allowed_in(dataset, column, indices).any(axis=1)):
        right[index] = not info.threshold.is_sure(float(probs[index].max()))
    return right
