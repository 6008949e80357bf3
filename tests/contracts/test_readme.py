"""The README keeps its word: each block runs as it stands, and what it names exists."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import click
import pytest
from command_line import run_block

from shopwindow.bundle import bundled_model_path
from shopwindow.cli import program

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"]


@pytest.fixture(scope="session")
def readme(repository_root: Path) -> str:
    return (repository_root / "README.md").read_text()


@pytest.fixture(scope="session")
def blocks(readme: str) -> list[str]:
    return re.findall(r"```sh\n(.+?)```", readme, re.DOTALL)


def test_there_are_three_blocks_and_each_has_its_test(blocks: list[str]) -> None:
    assert [block.split()[:2] for block in blocks] == [
        ["make", "serve"],
        ["shopwindow", "inspect"],
        ["shopwindow", "predict"],
    ]


def test_serve_block_serves_the_page_it_promises(
    repository_root: Path, colour_bundle: Path, blocks: list[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # A clone without the bundled model serves the tests' own.
    model = {} if bundled_model_path().is_file() else {"MODEL": str(colour_bundle)}
    server = subprocess.Popen(
        ["sh", "-c", blocks[0]],
        cwd=repository_root,
        env=os.environ | {"PORT": port, "MAKEFLAGS": ""} | model,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert server.stdout is not None
    try:
        said = []
        for line in server.stdout:  # the environment may be made first
            said.append(line)
            if f"http://127.0.0.1:{port}" in line:
                break
        assert said, "make serve said nothing"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert b'name="image-file"' in page.read(), said
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.communicate(timeout=60)


def test_training_block_trains_and_grades_a_model_in_the_serving_environment(
    repository_root: Path, readme: str, blocks: list[str], colour_photos: Path, tmp_path: Path
) -> None:
    made = subprocess.run(
        ["make", "serving-environment"],
        cwd=repository_root,
        env=os.environ | {"MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    serving = repository_root / ".venv" / "bin"
    has_torch = subprocess.run([serving / "python", "-c", "import torch"], capture_output=True)
    assert has_torch.returncode != 0, "the serving environment has torch"

    completed = run_block(blocks[1], tmp_path, PATH=f"{serving}{os.pathsep}{os.environ['PATH']}")
    assert completed.returncode == 0, completed.stderr
    assert "40 images, 2 labels" in completed.stdout
    assert re.search(r"accuracy +\d+\.\d+ %", completed.stdout)
    for name in ("photos.html", "runs/photos/model.onnx", "evaluation/report.html"):
        assert (tmp_path / name).is_file(), name

    (program_block,) = re.findall(r"```python\n(.+?)```", readme, re.DOTALL)
    shutil.copy(colour_photos / "red" / "00.png", tmp_path / "cup.jpg")  # content decides
    command = [serving / "python", "-c", program_block]
    answered = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answered.stdout == "red\n", answered.stderr


def test_bulk_block_labels_a_folder_with_the_bundled_model(
    blocks: list[str], colour_photos: Path, tmp_path: Path
) -> None:
    if not bundled_model_path().is_file():
        pytest.skip("this clone has no bundled model (make train-fashion makes it)")
    completed = run_block(blocks[2], tmp_path)
    assert completed.returncode == 0, completed.stderr
    with (tmp_path / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    assert all(row["label"] and not row["error"] for row in rows)


def test_commands_on_all_pages_have_the_options_they_show(repository_root: Path) -> None:
    pages = [*repository_root.glob("*.md"), *repository_root.glob("docs/**/*.md")]
    text = "\n".join(page.read_text() for page in pages).replace("\\\n", " ")
    shown = re.findall(r"`(shopwindow\s[^`]+)`", text)
    in_blocks = re.findall(r"(?m)^(?: {4})?(shopwindow .+)$", text)  # and sentences
    shown += [line for line in in_blocks if line.split()[1] in program.commands]
    assert len(shown) > 50
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        command: click.Command = program
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in p.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line
        assert command is not program or words == ["--help"], line


def test_make_targets_in_the_text_exist(repository_root: Path) -> None:
    targets = re.findall(r"(?m)^([a-z-]+):", (repository_root / "Makefile").read_text())
    for page in PAGES:
        text = (repository_root / page).read_text()
        for target in re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets, f"{page}: make {target}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(repository_root: Path, page: str) -> None:
    path = repository_root / page
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link
