"""What is wrong is said in one line on stderr, with the right exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run, assert_one_line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tarin"], "No such command 'tarin'"),
        (["train"], "Missing argument 'DATA'"),
        (["predict"], "Missing argument 'PATHS...'"),
        (["predict", "x.png", "--top", "0"], "0 is not in the range"),
        (["predict", "x.png", "--format", "xml"], "'xml' is not one of"),
        (["inspect", "nowhere"], "'nowhere' does not exist"),
        (["train", ".", "--size", "60by60"], "expected pixels such as 60 or 80x60"),
        (["train", ".", "--epochs", "6;6"], "expected whole numbers such as 6,6, got '6;6'"),
        (["train", ".", "--also", "a,,b"], "expected names with single commas between them"),
        (["train", "--resume"], "expected the folder of the run to continue, as --out RUN"),
        (["serve", "--port", "99999"], "99999 is not in the range"),
        (["serve", "--model", "nowhere.onnx"], "'nowhere.onnx' does not exist"),
        (["evaluate", "."], "Missing argument 'DATA'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run_shopwindow: Run, arguments: list[str], expected: str
) -> None:
    assert expected in assert_one_line(run_shopwindow(*arguments), 2)


def test_process_ends_with_the_exit_code_and_the_line() -> None:
    command = [sys.executable, "-m", "shopwindow", "tarin"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No such command 'tarin'" in assert_one_line(completed, 2)
    assert completed.stdout == ""


def test_wrong_usage_names_the_help_of_the_command(run_shopwindow: Run) -> None:
    said = assert_one_line(run_shopwindow("predict", "x.png", "--top", "none"), 2)
    assert said.endswith("see: shopwindow predict --help")


def test_without_a_command_the_help_is_shown_with_exit_code_2(run_shopwindow: Run) -> None:
    completed = run_shopwindow()
    assert completed.returncode == 2
    assert "Commands:" in completed.stderr
    assert completed.stdout == ""


def test_file_that_is_no_bundle_is_wrong_usage(run_shopwindow: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    said = assert_one_line(run_shopwindow("predict", "a.png", "--model", "model.onnx"), 2)
    assert "model.onnx" in said


def test_message_with_control_characters_is_still_one_harmless_line(run_shopwindow: Run) -> None:
    said = assert_one_line(run_shopwindow("inspect", "no\nsuch\x1b[31m"), 2)
    assert "\x1b" not in said


def test_place_that_cannot_be_written_is_one_line_and_no_trace(
    run_shopwindow: Run, colour_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    page = tmp_path / "file" / "page.html"
    assert str(page) in assert_one_line(run_shopwindow("inspect", colour_photos, "--out", page), 2)


def test_failure_of_the_machine_is_one_line_and_no_trace(
    colour_bundle: Path, colour_photos: Path
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as disk:
        completed = subprocess.run(
            [
                *(sys.executable, "-m", "shopwindow", "predict", colour_photos),
                *("--model", colour_bundle),
            ],
            stdout=disk,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert assert_one_line(completed, 74) == "No space left on device"
