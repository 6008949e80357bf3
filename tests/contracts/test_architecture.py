"""Data flows down, and serving works where the training stack does not exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Completed, assert_one_line
from importlinter import api

from shopwindow.bundle import read_bundle
from shopwindow.runs import Run, TrainingOptions

ROOT = Path(__file__).parents[2]

TRAINING_STACK = (
    "accelerate",
    "fastai",
    "matplotlib",
    "onnx",
    "onnxscript",
    "pandas",
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
        if name.partition(".")[0] in {TRAINING_STACK!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""

SERVE_ONE = """
import io
from pathlib import Path
from PIL import Image
from shopwindow import create_app, load_predictor

image = io.BytesIO()
Image.new("RGB", (40, 40), "red").save(image, "PNG")
client = create_app(load_predictor(Path(sys.argv[1]))).test_client()
answer = client.post("/api/v1/predict", data=image.getvalue(), content_type="image/png")
print(answer.status_code, answer.json["predictions"][0]["label"])
"""


def test_nothing_is_reported_to_the_makers_of_libraries(
    colour_bundle: Path, tmp_path: Path
) -> None:
    """onnxruntime does by itself, and then keeps an identifier among the user's files."""
    # Where it takes a machine for a test's, it keeps quiet anyway.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY"}
    } | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    left = {}
    for name, first in (("alone", "import sys, onnxruntime"), ("ours", "import sys")):
        completed = subprocess.run(
            [sys.executable, "-c", f"{first}\n{SERVE_ONE}", colour_bundle],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.stdout == "200 red\n", completed.stderr
        left[name] = [path.name for path in tmp_path.rglob("*") if path.is_file()]
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert "deviceid" in left["alone"], "this test can no longer see what it is about"
    assert left["ours"] == []


def test_all_import_contracts_are_kept(repository_root: Path) -> None:
    # In a process of its own: it would switch off the loggers of this one.
    code = "from importlinter import cli; raise SystemExit(cli.lint_imports(no_cache=True))"
    completed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_contracts_can_be_broken(repository_root: Path) -> None:
    contracts = api.read_configuration(str(repository_root / "pyproject.toml"))["contracts_options"]
    forbidden = contracts[0]["forbidden_modules"]
    # What the test below blocks and what the linter forbids must not drift apart.
    assert set(forbidden) - {"pickle"} <= set(TRAINING_STACK)


def test_a_prediction_is_served_without_the_training_stack(colour_bundle: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", BLOCK + SERVE_ONE, colour_bundle],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == "200 red\n"


RUN_EACH = """
import contextlib, io, json
from shopwindow.cli import main

said = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = main(arguments)
    said.append((arguments, code, output.getvalue(), errors.getvalue()))
print(json.dumps(said))
"""


def run_without_the_training_stack(
    folder: Path, *commands: str, but: tuple[str, ...] = ()
) -> list[Completed]:
    """Run one command after the other, all in one process where the stack cannot be imported."""
    absent = tuple(name for name in TRAINING_STACK if name not in but)
    program = BLOCK.replace(repr(TRAINING_STACK), repr(absent)) + RUN_EACH
    ran = subprocess.run(
        [sys.executable, "-c", program, json.dumps([command.split() for command in commands])],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [Completed(*said) for said in json.loads(ran.stdout)]


def test_training_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    Run(tmp_path / "begun", TrainingOptions(data=tmp_path, recipe="transfer")).save()
    lacking = {
        "train . --recipe finetune": "The recipe finetune",
        "train . --recipe transfer": "The recipe transfer",
        "find-lr .": "Training",
        "export .": "Training",
        "train --resume --out begun": "Training",
        "import m.onnx --labels m.onnx --yes --out x.onnx": "Importing a model",
    }
    for completed in run_without_the_training_stack(tmp_path, *lacking):
        what = lacking[" ".join(completed.args)]
        assert assert_one_line(completed, 2) == (
            f"{what} needs packages that are not installed here: "
            "make dev-environment in a clone, else pip install 'shopwindow[train]'"
        )


def test_options_are_refused_before_the_training_stack_is_needed(tmp_path: Path) -> None:
    Run(tmp_path / "begun", TrainingOptions(data=tmp_path)).save()
    refused = {
        "train . --lr 0.1": (2, "--lr has no effect on a linear probe"),
        "train . --recipe transfer --lr -1": (2, "learning rate: expected a number above 0"),
        "train . --recipe transfer --epochs 3": (
            2,
            "one number for each stage of transfer, such as 6,6, got 3",
        ),
        "train . --out begun": (1, "found a run in it"),
        "train --resume --out nothing": (1, "found no run.json in it"),
        "train --resume --out begun --arch resnet18": (2, "has no effect with --resume"),
    }
    for completed in run_without_the_training_stack(tmp_path, *refused):
        exit_code, expected = refused[" ".join(completed.args)]
        assert expected in assert_one_line(completed, exit_code)


def test_a_linear_probe_is_fitted_without_the_training_stack(
    colour_photos: Path, tmp_path: Path
) -> None:
    """All but onnx, which writes the bundle, and which the serving environment has for that."""
    trained, resumed = run_without_the_training_stack(
        tmp_path, f"train {colour_photos} --out run", "train --resume --out run", but=("onnx",)
    )
    assert trained.returncode == 0, trained.stderr
    assert "40 images, 2 labels (label); graded by cross-validation" in trained.stdout
    assert read_bundle(tmp_path / "run" / "model.onnx").info.quality["accuracy"] > 0.9
    assert resumed.returncode == 0, resumed.stderr
    (graded,) = run_without_the_training_stack(tmp_path, f"evaluate run {colour_photos}")
    assert graded.returncode == 0, graded.stderr
    assert "the model was trained on 40 of these images" in graded.stdout


def test_no_module_of_the_server_is_loaded_from_the_training_stack(colour_bundle: Path) -> None:
    """The same without a block: nothing that is installed is loaded by the way either."""
    script = (
        "import sys\n" + SERVE_ONE + f"\nprint(sorted(set({TRAINING_STACK!r}) & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script, colour_bundle], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "200 red\n[]\n"


@pytest.mark.parametrize("page", ["architecture.md", "server.md"])
def test_each_stop_on_a_way_is_where_the_page_says(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    stops = re.findall(r"^\| \d \| `(?:\w+\.)?(\w+)`.*? in `([\w/]+\.py)`", text, re.MULTILINE)
    assert len(stops) >= 6
    for name, path in stops:
        source = (ROOT / "src/shopwindow" / path).read_text("utf-8")
        assert re.search(rf"(?:def|class) {name}\b", source), f"{page}: no {name} in {path}"
