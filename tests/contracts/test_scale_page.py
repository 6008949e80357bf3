"""docs/scale.md keeps its word where a test can hold it to it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from shopwindow.bundle import bundled_model_path, read_bundle
from shopwindow.cli import program
from shopwindow.inference.predictor import MAX_BATCH


@pytest.fixture(scope="module")
def page(repository_root: Path) -> str:
    return (repository_root / "docs" / "scale.md").read_text("utf-8")


def test_the_configuration_for_triton_fits_the_bundled_model(page: str) -> None:
    if not bundled_model_path().is_file():
        pytest.skip("this clone has no bundled model (make train-fashion makes it)")
    rule = read_bundle(bundled_model_path()).info.rule
    name, kind, dims = re.findall(
        r'input \[ \{ name: "(\w+)", data_type: (\w+), dims: \[ ([\d, ]+) \]', page
    )[0]
    # `read_bundle` has made sure that the graph takes uint8 `images`, and any number of them.
    assert (name, kind) == ("images", "TYPE_UINT8")
    assert [int(dim) for dim in dims.split(",")] == [rule.height_px, rule.width_px, 3]
    assert int(re.findall(r"max_batch_size: (\d+)", page)[0]) == MAX_BATCH


def test_commands_have_the_options_they_show(page: str) -> None:
    commands = re.findall(r"(?:^    |`)(shopwindow [^\n`]+)", page, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        _, name, *words = shlex.split(command)
        known = {option for one in program.commands[name].params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= known, command


def test_links_lead_somewhere(repository_root: Path, page: str) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", page):
        assert (repository_root / "docs" / link).exists() or link == "benchmarks.md", link
