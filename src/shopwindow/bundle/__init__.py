"""A trained classifier as one ONNX file, with everything about it as JSON in the file's metadata.

The layout is described, for other tools too, in docs/bundle.md.
"""

from shopwindow.bundle.info import (
    ACTIVATION_OUTPUT,
    EMBEDDING_OUTPUT,
    KINDS_OUTPUT,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    BundleInfo,
    Families,
    LabelColumn,
    Threshold,
)
from shopwindow.bundle.novelty import NOVELTY_OUTPUT, KnownPhotos, Novelty
from shopwindow.bundle.reading import (
    INPUT_NAME,
    MAX_BUNDLE_BYTES,
    METADATA_KEY,
    Bundle,
    arithmetic_of,
    bundled_model_path,
    has_external_data,
    read_bundle,
    refuse_bundle,
)

__all__ = [
    "ACTIVATION_OUTPUT",
    "EMBEDDING_OUTPUT",
    "INPUT_NAME",
    "KINDS_OUTPUT",
    "MAX_BUNDLE_BYTES",
    "MAX_LABELS",
    "MAX_LABEL_CHARS",
    "METADATA_KEY",
    "NOVELTY_OUTPUT",
    "Bundle",
    "BundleInfo",
    "Families",
    "KnownPhotos",
    "LabelColumn",
    "Novelty",
    "Threshold",
    "arithmetic_of",
    "bundled_model_path",
    "has_external_data",
    "read_bundle",
    "refuse_bundle",
]
