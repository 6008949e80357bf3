"""What the command line does for a person at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run, assert_one_line


def on_a_terminal(folder: Path, *arguments: str | Path) -> str:
    """Run the program with a terminal as its output, and return what it shows."""
    terminal, output = os.openpty()
    command = [sys.executable, "-m", "shopwindow", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL
    ):
        os.close(output)
        shown = b""
        try:
            while piece := os.read(terminal, 4096):
                shown += piece
        except OSError:  # Linux says so when the other side is closed
            pass
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n")


def test_predict_shows_a_table_on_a_terminal(
    colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    command = ("predict", "photos/red/00.png", "broken.jpg", "--model", colour_bundle)
    photo, broken = on_a_terminal(tmp_path, *command).splitlines()
    name, label, number, sign, *verdict = photo.split()
    assert (name, label, sign) == ("photos/red/00.png", "red", "%")
    assert number.lstrip(">").isdigit()
    assert " ".join(verdict) in ("almost certain", "very likely", "likely", "not sure")
    assert broken.startswith("broken.jpg         –")
    assert "image" in broken


def test_predict_writes_csv_on_a_terminal_that_asks_for_it(
    colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = ("predict", "photos/red/00.png", "--model", colour_bundle, "--format", "csv")
    assert on_a_terminal(tmp_path, *command).startswith("path,label,confidence,sure,")


def test_second_training_without_out_gets_a_number(
    run_shopwindow: Run, colour_photos: Path, tmp_path: Path
) -> None:
    for folder in ("photos", "photos-2"):
        completed = run_shopwindow("train", "photos")
        assert completed.returncode == 0, completed.stderr
        assert (tmp_path / "runs" / folder / "model.onnx").exists()
    first = completed.stdout.splitlines()[0]
    assert first == "runs/photos holds a run already, so this one goes to runs/photos-2"
    said = assert_one_line(run_shopwindow("train", "photos", "--out", "runs/photos"), 1)
    assert "found a run in it" in said


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("trian",), "No such command 'trian'; did you mean 'train'?; see: shopwindow --help"),
        (
            ("predict", "a.jpg", "--modle", "m.onnx"),
            "No such option '--modle'; did you mean '--model'?; see: shopwindow predict --help",
        ),
    ],
)
def test_misspelt_word_is_answered_with_the_likely_one(
    run_shopwindow: Run, arguments: tuple[str, ...], hint: str
) -> None:
    assert assert_one_line(run_shopwindow(*arguments), 2) == hint


def test_bash_completes_commands_and_options(run_shopwindow: Run) -> None:
    def completions(words: str) -> list[str]:
        env = {
            "_SHOPWINDOW_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        return run_shopwindow(env=env).stdout.split()

    assert completions("shopwindow tr") == ["plain,train"]
    assert completions("shopwindow train --reci") == ["plain,--recipe"]
    script = run_shopwindow(env={"_SHOPWINDOW_COMPLETE": "bash_source"}).stdout
    assert "complete -o nosort -F _shopwindow_completion shopwindow" in script
