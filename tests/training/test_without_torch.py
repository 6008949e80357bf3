"""What a training recipe without torch stands on: data sets, calibration and the written bundle."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shopwindow.training.augmentations import AUGMENTATIONS
from shopwindow.training.mix import AUGMENTATION_NAMES

ABSENT = (
    "fastai",
    "fasttransform",
    "matplotlib",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
)

BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""

CALIBRATE_TWO_KINDS = """
import numpy as np
from shopwindow.calibration.curves import fit_confidence, softmax

rng = np.random.default_rng(1)
logits = rng.normal(scale=3, size=(2, 300, 4)).astype(np.float32)
answers = [{"kind": softmax(part)} for part in logits]
judged = [(one["kind"].max(axis=1), rng.random(300) < 0.7) for one in answers]
print(fit_confidence(answers, judged, [0.5, 0.5])(answers[0]).shape)
"""


def run_without_torch(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + script], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "module",
    [
        "calibration.calibrating",
        "calibration.calibrated_graph",
        "evaluation.measuring",
        "evaluation.verify",
        "training.options",
        "training.probe_run",
        "training.record",
        "training.start_from",
    ],
)
def test_module_is_imported_where_torch_is_not_installed(module: str) -> None:
    completed = run_without_torch(f"import shopwindow.{module}")
    assert completed.returncode == 0, completed.stderr


@pytest.mark.parametrize("module", ["graph", "augmentations"])
def test_module_that_needs_torch_cannot_be_imported_here(module: str) -> None:
    """Or else the test above could not see what it is about."""
    completed = run_without_torch(f"import shopwindow.training.{module}")
    assert "ModuleNotFoundError: No module named" in completed.stderr


def test_confidences_are_calibrated_without_scipy() -> None:
    completed = run_without_torch(CALIBRATE_TWO_KINDS)
    assert completed.stdout == "(300, 4)\n", completed.stderr


def test_augmentations_have_the_names_that_an_extra_data_set_may_ask_for() -> None:
    assert tuple(AUGMENTATIONS) == AUGMENTATION_NAMES
