"""From a trained network to a bundle whose answers are proven to be the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shopwindow.bundle import ACTIVATION_OUTPUT
from shopwindow.bundle.embedding_output import append_embedding
from shopwindow.bundle.writing import in_half_precision
from shopwindow.calibration.calibrated_graph import with_confidence
from shopwindow.calibration.calibrating import calibrate, families_of
from shopwindow.calibration.curves import softmax
from shopwindow.calibration.novelty_graph import append_novelty, known_by
from shopwindow.calibration.thresholds import SURE_PRECISION
from shopwindow.data.dataset import Dataset
from shopwindow.errors import TrainingError
from shopwindow.evaluation.asking import Probs, ask, embeddings_of
from shopwindow.evaluation.measuring import quality_of, verdict
from shopwindow.evaluation.verify import (
    EMBEDDINGS_COMPARED,
    MAX_ROUNDED_DIFFERENCE,
    EmbeddingCheck,
    write_verified_bundle,
)
from shopwindow.runs import Run
from shopwindow.runs.record import describe_bundle, sample_training
from shopwindow.training.checkpointing import load_state
from shopwindow.training.network import Classifier, features_of, logits_of, pooled_answer
from shopwindow.training.to_onnx import to_onnx
from shopwindow.training.trainer import LAST_STAGE, Trainer, open_trainer

_PACKAGES = ("shopwindow", "fastai", "torch", "torchvision", "timm", "onnx", "onnxruntime")


class Servable(nn.Module):
    """What goes into the bundle: bytes in, probabilities at calibrated temperatures out.

    Args:
        model: The trained network.
        temperatures: One per label column.
        mapped: Whether to add an activation map; see `pooled_answer` for which networks have one.
    """

    def __init__(self, model: Classifier, temperatures: list[float], *, mapped: bool) -> None:
        super().__init__()
        self.model = model
        self.temperatures = temperatures
        # In a tuple, so that the exported weights keep the name that they have in the network.
        self._answer = (pooled_answer(model) if mapped else None,)

    @property
    def answer(self) -> nn.Linear | None:
        """The layer of the activation map, if there is to be one."""
        return self._answer[0]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, H, W, 3) -> per label column float32 (N, C) probabilities, then the map."""
        body, head = self.model.net
        pixels = images.permute(0, 3, 1, 2).float() / 255
        features = body((pixels - self.model.mean) / self.model.std)
        parts = torch.split(head(features), list(self.model.sizes), dim=1)
        probabilities = tuple(
            torch.softmax(part / temperature, dim=1)
            for part, temperature in zip(parts, self.temperatures, strict=True)
        )
        if self.answer is None:
            return probabilities
        return (*probabilities, self._activation_map(features, parts[0]))

    def _activation_map(self, features: Tensor, logits: Tensor) -> Tensor:
        """(N, K, h, w) features, (N, C) logits -> (N, h, w): places that speak for the answer.

        The class activation map of the most probable label (Zhou et al. 2016, arXiv:1512.04150),
        with weights less their mean over the labels, which does not change a softmax. So the mean
        of the map, apart from the bias, is how far the label's logit is above the mean logit.
        """
        assert self.answer is not None  # noqa: S101 (only called where there is one)
        weights = self.answer.weight[: self.model.sizes[0]]
        weights = (weights - weights.mean(dim=0))[logits.argmax(dim=1)]
        return (features * weights[:, :, None, None]).sum(dim=1)


def export_run(folder: Path, out: Path | None = None) -> Path:
    """Export the trained model of a run as a bundle.

    Args:
        folder: A run folder whose stages are finished.
        out: Where the bundle goes; `model.onnx` in the run folder if None.

    Raises:
        TrainingError: The run is not finished, or the bundle would differ from its model.
    """
    return export_trained(open_finished(folder), out or folder / "model.onnx")


def run_probabilities(
    folder: Path, dataset: Dataset, indices: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Ask the trained network itself, in PyTorch, without its bundle.

    Args:
        folder: A finished run.
        dataset: Any data set at the size of the run's.
        indices: (n,) which images.

    Returns:
        (n, C) uncalibrated probabilities per label column of the run.
    """
    trainer = open_finished(folder)
    logits = logits_of(trainer.model, dataset, indices)
    return {
        name: softmax(part)
        for name, part in zip(trainer.dataset.label_columns, logits, strict=True)
    }


def open_finished(folder: Path) -> Trainer:
    """Open a run with the weights that it ended with.

    Raises:
        TrainingError: It is not finished.
    """
    trainer = open_trainer(Run.open(folder))
    state = load_state(folder, LAST_STAGE)
    if state is None:
        raise TrainingError(
            f"{folder}: expected a finished run, found no {LAST_STAGE}.pt; continue with: "
            f"shopwindow train --resume --out {folder}"
        )
    trainer.model.load_state_dict(state["model"])
    if trainer.options.recipe == "finetune":
        trainer.keep_the_better("stage-1", LAST_STAGE)
    return trainer


def export_trained(trainer: Trainer, out: Path) -> Path:
    """Calibrate, export, compare and grade the network of `trainer`; see `export_run`.

    Temperatures, curves and thresholds are fitted to the held-out images; see `calibrate`.
    """
    dataset, valid = trainer.dataset, trainer.split.valid
    columns = list(dataset.label_columns)

    def ask_network(dataset: Dataset, indices: NDArray[np.int64]) -> Probs:
        return dict(zip(columns, logits_of(trainer.model, dataset, indices), strict=True))

    validation_sets = trainer.mix.validation_sets(trainer.options.data.name, ask_network)
    calibration = calibrate(
        validation_sets, families_of(dataset, trainer.options.families), precision=SURE_PRECISION
    )
    mapped = pooled_answer(trainer.model) is not None
    mapped = mapped and ACTIVATION_OUTPUT not in dataset.label_columns
    info = describe_bundle(
        trainer.run,
        trainer.mix,
        calibration,
        _training_facts(trainer),
        packages=_PACKAGES,
        mapped=mapped,
    )
    compared = valid[:EMBEDDINGS_COMPARED]
    features = features_of(trainer.model, dataset, compared)
    temperatures = list(calibration.temperatures.values())
    servable = Servable(trainer.model.eval().cpu(), temperatures, mapped=mapped)
    graph = to_onnx(servable, dataset.rule, columns + ([ACTIVATION_OUTPUT] if mapped else []))
    info = replace(info, embedding=append_embedding(graph, columns[0]))
    novelty = append_novelty(
        graph,
        columns[0],
        trainer.mix.learned_sets(trainer.options.data.name),
        known_by(validation_sets, out_of_fold=False),
    )
    info = replace(info, novelty=novelty)
    info = write_verified_bundle(
        out,
        # Half precision is enough for nearly every network; the others keep full precision.
        (
            with_confidence(candidate, calibration.confidence, columns, kinds=calibration.kinds)
            for candidate in (in_half_precision(graph), graph)
        ),
        info,
        calibration.probs(validation_sets[0].logits),
        lambda predictor: ask(predictor, dataset, valid),
        lambda draft: replace(
            info,
            quality=quality_of(
                validation_sets, draft.predictor, draft.answers, calibration.threshold
            ),
            data=info.data
            | sample_training(trainer.mix, draft.predictor, seed=trainer.options.seed),
        ),
        allowed=MAX_ROUNDED_DIFFERENCE,
        embeddings=EmbeddingCheck(
            features, lambda predictor: embeddings_of(predictor, dataset, compared)
        )
        if info.embedding
        else None,
    )
    print(verdict(info, out), flush=True)
    return out


def _training_facts(trainer: Trainer) -> dict[str, Any]:
    seconds = sum(float(row["seconds"]) for row in trainer.history)
    weights = trainer.weights
    return {
        "arch": trainer.arch,
        "weights": weights if weights in ("imagenet", "none") else Path(weights).name,
        "epochs": list(trainer.epochs),
        "batch_size": trainer.batch_size,
        "minutes": round(seconds / 60, 1),
        "device": trainer.device.type,
    }
