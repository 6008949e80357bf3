"""benchmarks/ablations.py in a small form: real trainings, stopped and gone on with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ablations
from shopwindow.bundle import read_bundle

Ablations = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture
def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ablations:
    """Return a function that runs the benchmark on its drawings and returns what it says."""

    def call(*words: str) -> str:
        argv = ["ablations.py", "--quick", "--out", str(folder / "runs"), *words]
        monkeypatch.setattr(sys, "argv", [*argv, "--", "--cache-dir", str(folder / "cache")])
        ablations.main()
        return capfd.readouterr().out

    return call


def test_without_time_nothing_is_begun(run: Ablations, folder: Path) -> None:
    assert "Not finished: the same command goes on." in run("--minutes", "0")
    assert {path.name for path in (folder / "runs").iterdir()} == {"quick-data", "question.json"}


def test_runs_with_other_options_are_not_mixed(run: Ablations, folder: Path) -> None:
    run("--minutes", "0")
    with pytest.raises(SystemExit, match="before they had arch small_resnet, now small_resnet_w32"):
        run("--minutes", "0", "--arch", "small_resnet_w32")


def test_runs_of_which_nobody_knows_what_was_asked_are_left_alone(
    run: Ablations, folder: Path
) -> None:
    stranger = folder / "strange" / "plain-1"
    stranger.mkdir(parents=True)
    (stranger / "run.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"expected question\.json beside the runs"):
        run("--minutes", "0", "--out", str(folder / "strange"))


def test_networks_are_compared_with_others_like_that_of_all_runs() -> None:
    assert ablations.relatives("small_resnet_w32") == {
        "narrower": "small_resnet_w24",
        "wider": "small_resnet_w48",
        "excited": "small_se_resnet_w32",
    }
    titles = [ablations.title(one, "small_resnet", 16) for one in ablations.VARIATIONS]
    assert {"plain", "wide `--arch small_resnet_w96`", "longer `--epochs 32`"} <= set(titles)
    for given in ("resnet18", "small_resnet_w16", "small_resnet_w200"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"expected small_resnet.*got {given}"):
            ablations.read_arch(given)


def test_teacher_has_to_be_trained_first(run: Ablations) -> None:
    with pytest.raises(SystemExit, match="distil: expected plain to be trained first"):
        run("--only", "distil")


def test_broken_off_it_goes_on_and_does_nothing_twice(run: Ablations, folder: Path) -> None:
    # A second and a half is over while the training starts, whatever it has reached by then.
    assert "Not finished" in run("--minutes", "0.025", "--only", "plain,distil")
    page = folder / "page.md"
    said = run("--only", "plain,distil", "--write", str(page))
    assert "Not finished" not in said
    rows = {line.split("|")[1].strip(): line for line in said.splitlines() if line[:1] == "|"}
    assert {"plain", "distil `--distil {plain}`"} <= set(rows)
    assert "(" not in rows["plain"]
    assert rows["distil `--distil {plain}`"].count("(") == 4, "differences of four figures"
    assert rows["plain"] in page.read_text()

    bundles = {name: folder / "runs" / f"{name}-1" / "model.onnx" for name in ("plain", "distil")}
    (teacher,) = read_bundle(bundles["distil"]).info.training["teachers"]
    assert teacher["sha256"] == read_bundle(bundles["plain"]).sha256
    # The second kind of photos was graded although neither run has learned from it.
    other = ablations.read_outcome(bundles["plain"].parent, folder / "no longer needed").other
    assert other is not None
    assert 0 <= other <= 1

    written = {name: path.stat().st_mtime_ns for name, path in bundles.items()}
    again = run("--only", "plain,distil")
    assert rows["plain"] in again
    assert {name: path.stat().st_mtime_ns for name, path in bundles.items()} == written


def test_images_of_a_mixture_are_counted(shapes_run: Path) -> None:
    bundle = read_bundle(shapes_run / "model.onnx")
    assert ablations.count_images(bundle) == 2 * 4 * 16, "72 images: four batches of 16, twice"
    bundle.info.data["outliers"] = 0.25
    assert ablations.count_images(bundle) == 2 * 6 * 16, "six batches with 12 of the 72"
