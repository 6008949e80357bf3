"""The current head on the backbone, in memory: it answers like any predictor."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import ACTIVATION_OUTPUT, Bundle, BundleInfo, LabelColumn
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.predictor import MAX_BATCH, Predictor
from shopwindow.probe.backbone import FEATURES, MAP, Backbone
from shopwindow.studio.fitting import Fitted

COLUMN = "label"


class LivePredictor(Predictor):
    """A predictor whose model is no file yet. Thread-safe.

    Args:
        backbone: From `open_mapped_backbone`.
        fitted: The head.
        name: Of the project.
        version: How many heads there were before.
        limits: What is refused before it is decoded.
    """

    def __init__(
        self, backbone: Backbone, fitted: Fitted, name: str, version: int, limits: ImageLimits
    ) -> None:
        info = BundleInfo(
            name=name,
            version=f"live {version}",
            created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            rule=backbone.rule,
            columns=(LabelColumn(COLUMN, fitted.labels),),
            threshold=fitted.threshold,
            activation_map=True,
        )
        self.bundle = Bundle(info, b"", "")
        self._fitted = fitted
        self._limits, self._engine = limits, backbone.engine
        self.engine_name = backbone.engine.name

    def probabilities(
        self,
        images_nhwc: NDArray[np.uint8],
        *,
        with_activation: bool = False,
        with_embedding: bool = False,
        with_kinds: bool = False,
        with_novelty: bool = False,
    ) -> dict[str, NDArray[np.float32]]:
        """See `Predictor.probabilities`; only activation maps beside the probabilities."""
        outputs = [FEATURES, MAP] if with_activation else [FEATURES]
        starts = range(0, max(1, len(images_nhwc)), MAX_BATCH)
        parts = [self._engine.run(images_nhwc[n : n + MAX_BATCH], outputs) for n in starts]
        probs = self._fitted.probs(np.concatenate([part[FEATURES] for part in parts]))
        found = {COLUMN: probs}
        if with_activation:
            # As `probe_graph` does it: how much each place speaks for the answer.
            weights = self._fitted.head.weights
            lead = weights[:, probs.argmax(axis=1)].T - weights.mean(axis=1)
            maps = np.concatenate([part[MAP] for part in parts])
            found[ACTIVATION_OUTPUT] = np.einsum("ndhw,nd->nhw", maps, lead)
        return found
