"""The process in which a fastai learner is unpickled: `python -m ... JOB`.

Reading a pickle runs what is in it, so nothing of this process is used any further: it leaves an
ONNX file, an array and a JSON file in the folder JOB, and ends. `fastai_learner` starts it.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from importlib.metadata import version
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import torch
from fastai.learner import Learner, load_learner
from fastai.vision.core import PILImage

from shopwindow.errors import ShopwindowError, TrainingError
from shopwindow.importing.fastai_transforms import take_apart
from shopwindow.importing.source import decode
from shopwindow.training.to_onnx import to_onnx

# What comes from these is needed; the user's own function that labelled the images is not.
_STACK = ("fastai", "fastcore", "fasttransform", "numpy", "PIL", "plum", "timm", "torch")
# Paths of the other system cannot be made on this one; they only say where the photos were.
_PATHS: dict[str, type[PurePath]] = (
    {"PosixPath": PurePosixPath} if os.name == "nt" else {"WindowsPath": PureWindowsPath}
)


class _Unpickler(pickle.Unpickler):
    """Reads paths of any system, and puts a placeholder for a function that cannot be found."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "pathlib" and name in _PATHS:
            return _PATHS[name]
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            if module.partition(".")[0] in (*_STACK, "torchvision"):
                raise TrainingError(
                    f"expected a learner of fastai {version('fastai')}, found one that needs "
                    f"{module}.{name}, which this version lacks; export it again with this "
                    "version, or as ONNX with the version that made it"
                ) from error
            return type(name, (), {"__module__": module})


def forgiving_pickle() -> ModuleType:
    """Return the module `pickle` with the unpickler above, for `torch.load`."""
    module = ModuleType("forgiving_pickle")
    module.__dict__.update(vars(pickle), __name__="forgiving_pickle", Unpickler=_Unpickler)
    return module


def read(job: Path) -> dict[str, Any]:
    """Unpickle the learner, save its answers for the images in JOB and its graph."""
    task = json.loads((job / "job.json").read_text())
    learn = _load(Path(task["learner"]))
    labels, rule, network = take_apart(learn)
    files = [path.read_bytes() for path in sorted(job.glob("*.png"))]
    # Decoded as for the bundle, so that only what comes after is compared.
    images = [PILImage.create(decode(file, rule)) for file in files]
    loader = learn.dls.test_dl(images, num_workers=0)
    with learn.no_bar(), learn.no_logging():
        answers, _ = learn.get_preds(dl=loader)
    if not getattr(learn.loss_func, "activation", None):
        answers = torch.softmax(answers, dim=1)
    np.save(job / "answers.npy", answers.numpy().astype(np.float32), allow_pickle=False)
    onnx.save_model(to_onnx(network, rule, [task["column"]]), job / "learner.onnx")
    return {
        "labels": labels,
        "rule": rule.as_json(),
        "arch": _name_of(learn),
        "versions": {name: version(name) for name in ("fastai", "torch")},
    }


def _load(path: Path) -> Learner:
    try:
        # fastai's own function, so that whatever it repairs after reading is repaired here too.
        return load_learner(path, pickle_module=forgiving_pickle())
    except ShopwindowError:
        raise
    except Exception as error:
        raise TrainingError(
            f"expected a learner as learn.export() writes it, found a file that cannot be read as "
            f"such ({type(error).__name__}: {error})"
        ) from error


def _name_of(learn: Learner) -> str:
    arch = getattr(learn, "arch", None) or type(learn.model)
    return str(getattr(arch, "__name__", arch))


def main(job: Path) -> None:
    """Leave `found.json` in JOB, whatever happens."""
    try:
        found = read(job)
    except ShopwindowError as error:
        found = {"error": str(error)}
    except Exception as error:  # anything at all can go wrong in code that came with a pickle
        found = {"error": f"it could not be taken apart ({type(error).__name__}: {error})"}
    (job / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
