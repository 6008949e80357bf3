"""`export.pkl` of fastai, read in a process of its own that leaves only plain data behind."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from shopwindow.bundle import MAX_BUNDLE_BYTES, has_external_data
from shopwindow.errors import TrainingError
from shopwindow.imaging.preprocess import ResizeRule
from shopwindow.importing.source import Source

_PROCESS = "shopwindow.importing.fastai_process"


def read_learner(path: Path, images: Sequence[bytes], *, column: str) -> Source:
    """Read a learner and its answers for some images. This runs the code in the file.

    Args:
        path: What `learn.export()` wrote.
        images: PNG files for the comparison with the bundle.
        column: What the bundle will call its label column.

    Raises:
        TrainingError: It is not a learner, or does what no bundle can.
    """
    with tempfile.TemporaryDirectory(prefix="shopwindow-import-") as folder:
        job = Path(folder)
        for number, image in enumerate(images):
            (job / f"{number:03}.png").write_bytes(image)
        task = {"learner": str(path.resolve()), "column": column}
        (job / "job.json").write_text(json.dumps(task))
        found = _run(job, path)
        graph = _read_graph(job / "learner.onnx")
        expected = np.load(job / "answers.npy", allow_pickle=False)
    return Source(
        graph=graph,
        rule=ResizeRule.from_json(found["rule"]),
        labels=tuple(found["labels"]),
        column=column,
        expected=expected,
        facts={
            "arch": found["arch"],
            "weights": path.name,
            "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "versions": found["versions"],
        },
    )


def _run(job: Path, path: Path) -> dict[str, Any]:
    # What it prints comes from other people's code: only the last line of it may be shown.
    process = subprocess.run(  # noqa: S603 (our own module, and a folder of our own)
        [sys.executable, "-m", _PROCESS, str(job)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads((job / "found.json").read_text())
    except (OSError, ValueError) as error:
        last = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise TrainingError(
            f"{path.name}: the process that read it ended with exit code {process.returncode} and "
            f"without a result ({last[:200]})"
        ) from error
    if "error" in found:
        raise TrainingError(f"{path.name}: {found['error']}")
    return found


def _read_graph(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BUNDLE_BYTES or has_external_data(data := path.read_bytes()):
        raise TrainingError(
            f"expected a learner whose graph fits into one file of at most "
            f"{MAX_BUNDLE_BYTES // 10**6} MB"
        )
    return onnx.load_model_from_string(data)
