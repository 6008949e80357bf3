"""docs/start.md keeps its word: its commands run, one after the other, as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_block

from shopwindow.bundle import bundled_model_path


def test_the_commands_lead_from_photos_to_an_answer(
    repository_root: Path, colour_photos: Path, tmp_path: Path
) -> None:
    text = (repository_root / "docs" / "start.md").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.+?)```", text, re.DOTALL)
    make, activate, train, serve, ask, label = blocks
    assert make == "make serve\n"  # test_readme.py runs it
    assert activate == "source .venv/bin/activate\n"

    completed = run_block(train, tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "evaluation" / "report.html").is_file()

    photo = min((colour_photos / "red").iterdir())
    shutil.copy(photo, tmp_path / "cup.jpg")  # content decides, not the name
    assert _answer(serve, ask, tmp_path)["predictions"][0]["label"] == "red"

    if not bundled_model_path().is_file():
        pytest.skip("this clone has no bundled model (make train-fashion makes it)")
    colour_photos.rename(tmp_path / "new-photos")
    completed = run_block(label, tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert len((tmp_path / "labels.csv").read_text("utf-8").splitlines()) == 41


def _answer(serve: str, ask: str, folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return what the page's request gets from the page's server, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "SHOPWINDOW_PORT": port, "SHOPWINDOW_FEEDBACK": "off"}
    with subprocess.Popen(
        ["sh", "-c", f"exec {serve}"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            said = next((line for line in server.stdout if "http://" in line), "")
            assert port in said
            completed = run_block(ask.replace(":5000/", f":{port}/"), folder)
        finally:
            server.send_signal(signal.SIGINT)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)
