"""What the command line tells about itself."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest
from command_line import Run

import shopwindow
from shopwindow.cli import program
from shopwindow.settings import Settings

COMMANDS = [
    "serve",
    "studio",
    "predict",
    "summary",
    "inspect",
    "train",
    "find-lr",
    "evaluate",
    "compare",
    "feedback",
    "promote",
    "rollback",
    "export",
    "import",
    "calibrate",
    "card",
    "download",
]


def test_version_is_printed(run_shopwindow: Run) -> None:
    completed = run_shopwindow("--version")
    assert (completed.returncode, completed.stdout) == (0, f"shopwindow {shopwindow.__version__}\n")


def test_all_commands_are_listed_in_the_order_of_their_use(run_shopwindow: Run) -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", run_shopwindow("--help").stdout, re.MULTILINE)
    assert [name for name in listed if not name.startswith("-")] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_shows_an_example_that_would_run(
    run_shopwindow: Run, command: str
) -> None:
    completed = run_shopwindow(command, "--help")
    assert completed.returncode == 0
    (example,) = re.findall(r"Example: shopwindow (.+)", completed.stdout)
    name, *arguments = example.split()
    assert name == command
    known = {option for parameter in program.commands[name].params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known


def test_help_of_serve_lists_every_setting_with_its_unit_and_default(run_shopwindow: Run) -> None:
    said = " ".join(run_shopwindow("serve", "--help", env={"COLUMNS": "80"}).stdout.split())
    for knob in fields(Settings):
        default = f"; default: {knob.default}" if knob.default != "" else ""
        entry = f"{knob.metadata['help']} [{knob.metadata['unit']}{default}]"
        assert f"SHOPWINDOW_{knob.name.upper()} {entry}" in said


def test_help_loads_neither_the_model_runtime_nor_the_training_stack() -> None:
    script = (
        "import sys; from shopwindow.cli import main; main(['train', '--help']); "
        "print(sorted({'numpy', 'PIL', 'onnxruntime', 'flask', 'torch'} & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert completed.stdout.splitlines()[-1] == "[]"
