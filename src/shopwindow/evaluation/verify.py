"""No bundle goes out unverified: served, it must answer like the model that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from shopwindow.atomic_write import write_atomically
from shopwindow.bundle import BundleInfo, read_bundle
from shopwindow.bundle.writing import with_info
from shopwindow.errors import TrainingError
from shopwindow.evaluation.asking import Probs
from shopwindow.inference.predictor import Predictor

# Between a source and its bundle. Where nothing is rounded on the way, a larger difference means
# another resize, normalisation or order of labels; 16-bit weights move a probability by more.
MAX_DIFFERENCE = 0.001
MAX_ROUNDED_DIFFERENCE = 0.01
EMBEDDINGS_COMPARED = 256  # images: a wrong layer shows in each


@dataclass(frozen=True)
class Draft:
    """A bundle that was compared with its source, and is not yet in its place.

    Attributes:
        predictor: Serves it.
        answers: What it said about the images of the comparison, (n, C) per label column.
        difference: The largest difference from a probability of the source (0 to 1), or of an
            embedding: 1 less the cosine of the angle.
    """

    predictor: Predictor
    answers: Probs
    difference: float


@dataclass(frozen=True)
class EmbeddingCheck:
    """What a bundle must say about some images beside its answers.

    Attributes:
        expected: (n, D) what the last layer of the source sees, of any length.
        ask: Returns the (n, D) embeddings of the same images.
    """

    expected: NDArray[np.float32]
    ask: Callable[[Predictor], NDArray[np.float32]]

    def difference(self, predictor: Predictor) -> float:
        """Return 1 less the least cosine between expected and served, 0 to 1; never a NaN."""
        lengths = np.linalg.norm(self.expected, axis=1)
        served = self.ask(predictor)
        if served.shape != self.expected.shape:
            return 1.0
        cosines = (self.expected * served).sum(axis=1) / np.maximum(lengths, 1e-12)
        # Where there is no direction, there must be none in the bundle either.
        cosines = np.where(lengths > 0, cosines, ~served.any(axis=1))
        return float(np.clip(np.nan_to_num(1 - cosines, nan=1.0), 0, 1).max(initial=0))


def write_verified_bundle(
    out: Path,
    graphs: Iterable[onnx.ModelProto],
    info: BundleInfo,
    expected: Probs,
    ask: Callable[[Predictor], Probs],
    finish: Callable[[Draft], BundleInfo],
    *,
    allowed: float,
    embeddings: EmbeddingCheck | None = None,
) -> BundleInfo:
    """Write the first graph as a bundle whose answers are those of its source, or nothing.

    Args:
        out: Where the bundle goes; its folder is made where it is missing.
        graphs: Which to try, in this order.
        info: What the bundle says about itself.
        expected: What the source says about some images.
        ask: Asks a predictor about the same images.
        finish: Called with the draft, before there is any file `out`; returns what the bundle says
            about itself in the end. What it raises stops the writing.
        allowed: By how much a probability may differ, 0 to 1; an embedding by its cosine.
        embeddings: What else to compare; None where the graphs have no embedding.

    Returns:
        What the bundle says about itself.

    Raises:
        TrainingError: The answers of all graphs differ by more.
    """
    draft = out.with_name(f".{out.name}.draft")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        for graph in graphs:
            write_atomically(draft, with_info(graph, info))
            predictor = Predictor(read_bundle(draft), engine="onnxruntime")
            answers = ask(predictor)
            difference, what = _largest_difference(expected, answers)
            if embeddings is not None:
                turned = embeddings.difference(predictor)
                if turned > difference:
                    difference, what = turned, "embeddings"
            if difference <= allowed:
                break
        else:
            raise TrainingError(
                "export: expected the bundle to predict like the trained model, but "
                f"{what} differ by up to {difference:.4f} (allowed: {allowed}); "
                "nothing written"
            )
        info = finish(Draft(predictor, answers, difference))
        write_atomically(draft, with_info(graph, info))
        read_bundle(draft)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return info


def _largest_difference(expected: Probs, served: Probs) -> tuple[float, str]:
    """Return by how much probabilities differ at most, and in which column; never a NaN."""
    differences = {
        name: float(np.nan_to_num(np.abs(rows - served[name]), nan=1.0).max())
        for name, rows in expected.items()
    }
    column = max(differences, key=differences.__getitem__)
    return differences[column], f"probabilities of {column}"
