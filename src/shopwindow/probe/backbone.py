"""The frozen network under a linear probe, and the features of whole data sets, kept on disk."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shopwindow.data.dataset import Dataset
from shopwindow.errors import BundleError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.inference.engine import Engine, EngineName, open_engine

METADATA_KEY = "shopwindow-backbone"
FEATURES = "features"  # the output, (N, D) float32
MAP = "feature_map"  # inside the graph, (N, D, h, w) float32: its means are the features

_BATCH = 32


@dataclass(frozen=True)
class Backbone:
    """An ONNX file from images to features, ready to run.

    Attributes:
        name: Of the network, such as "EfficientNet-Lite0".
        arch: timm's name of it, from which fine-tuning rebuilds it.
        rule: Size of the images that it takes.
        weights: Where they come from, and their licence.
        model: The whole file.
        engine: What runs it.
    """

    name: str
    arch: str
    rule: ResizeRule
    weights: str
    model: bytes = field(repr=False)
    engine: Engine = field(repr=False)

    @property
    def sha256(self) -> str:
        """Digest of the file, as lower-case hexadecimal text."""
        return hashlib.sha256(self.model).hexdigest()

    def features(self, images_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8, RGB, of the rule's size -> (N, D) float32."""
        return self.engine.run(images_nhwc)[FEATURES]

    def features_of(self, dataset: Dataset, *, progress: bool) -> NDArray[np.float32]:
        """Return the features of all images of a data set, (N, D) float32.

        Each is kept beside the decoded images at once, so that none is ever computed twice.

        Args:
            dataset: At the size of `rule`.
            progress: Whether to show progress, with the time left, on stderr.
        """
        wide = self.features(np.zeros((1, *self.engine.input_shape), np.uint8)).shape[1]
        # float16 is precise enough for a feature, and half the size.
        kept, rows = dataset.open_features(self.sha256[:16], wide)
        missing = rows[np.isnan(kept[rows]).any(axis=1)]
        with tqdm(
            total=len(rows), desc="Reading images", unit=" images", disable=not progress
        ) as bar:
            bar.update(len(rows) - len(missing))
            for start in range(0, len(missing), _BATCH):
                some = missing[start : start + _BATCH]
                kept[some] = self.features(dataset.cached_images(some))
                bar.update(len(some))
        kept.flush()
        return np.asarray(kept[rows], np.float32)


def bundled_backbone_path() -> Path:
    """Return the path of the backbone that comes with shopwindow."""
    return Path(str(importlib.resources.files("shopwindow") / "models" / "imagenet.onnx"))


def open_backbone(path: Path | None = None, *, engine: EngineName = "auto") -> Backbone:
    """Open a backbone.

    Args:
        path: A file that scripts/make-backbone wrote; by default the one in this package.
        engine: What runs it; see `choose_engine`.

    Raises:
        BundleError: The file is missing, or not a backbone.
    """
    import onnxruntime

    path = path or bundled_backbone_path()
    try:
        model = path.read_bytes()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        facts = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
        rule = ResizeRule.from_json(facts["resize"])
        name, arch, weights = (str(facts[key]) for key in ("name", "arch", "weights"))
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise BundleError(
            f"{path}: expected the ImageNet backbone that comes with shopwindow, found none that "
            f"can be read ({type(error).__name__}); install shopwindow again"
        ) from error
    return Backbone(name, arch, rule, weights, model, open_engine(model, name=engine))
