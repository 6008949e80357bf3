"""`promote` and `rollback`: worse is refused, and a running server takes what is better."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import Run, assert_one_line

from colour_bundle import colour_info, write_colour_bundle
from served import Served, running_app
from shopwindow.bundle import LabelColumn
from shopwindow.data.dataset import load_dataset
from shopwindow.data.split import split_images

LIMIT_S = 60


@pytest.fixture
def bundles(colour_photos: Path, tmp_path: Path) -> dict[str, Path]:
    """`good` is right on the photos, `swapped` on none; `good again` has another version."""
    rule = colour_info().rule
    dataset = load_dataset(colour_photos, rule=rule, cache_dir=tmp_path / "cache" / "shopwindow")
    record = split_images(dataset).as_record(dataset)

    def write(name: str, labels: tuple[str, ...], version: str) -> Path:
        info = replace(
            colour_info(),
            version=version,
            columns=(LabelColumn("colour", labels), colour_info().columns[1]),
            data={"split": record},
        )
        path = tmp_path / f"{name}.onnx"
        return write_colour_bundle(path, metadata=json.dumps(info.as_json()))

    labels = ("red", "green", "blue", "black", "white")
    return {
        "good": write("good", labels, "1.0"),
        "again": write("again", labels, "2.0"),
        "swapped": write("swapped", ("blue", "green", "red", "black", "white"), "3.0"),
    }


def ask(served: Served, picture: bytes) -> dict[str, Any]:
    answer = httpx.post(
        f"{served.url}/api/v1/predict", content=picture, headers={"Content-Type": "image/png"}
    )
    found: dict[str, Any] = answer.json()
    return found


def wait_for(served: Served, picture: bytes, version: str) -> str:
    """Wait until a version answers, and return its label."""
    deadline = time.monotonic() + LIMIT_S
    while (found := ask(served, picture))["model"]["version"] != version:
        assert time.monotonic() < deadline, found
    label: str = found["predictions"][0]["label"]
    return label


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_promote_asks_with_the_engine_of_the_settings(
    engine: str, run_shopwindow: Run, bundles: dict[str, Path], colour_photos: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    command = ("promote", bundles["again"], "--model", bundles["good"], "--data", colour_photos)
    said = assert_one_line(run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": "abacus"}), 2)
    assert said.startswith("engine: expected one of auto, onnxruntime, openvino")
    completed = run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": engine})
    assert completed.returncode == 0, completed.stderr
    assert re.search(rf"with {engine} \w+, on \d+ held-out images", completed.stdout)


def test_running_server_takes_a_promoted_bundle_and_goes_back(
    run_shopwindow: Run,
    bundles: dict[str, Path],
    colour_photos: Path,
    image_bytes: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    (tmp_path / "service").mkdir()
    model = tmp_path / "service" / "model.onnx"
    model.write_bytes(bundles["swapped"].read_bytes())
    red = image_bytes("red")
    with running_app(model, model_check_s=1) as served:
        assert wait_for(served, red, "3.0") == "blue"
        promoted = run_shopwindow(
            "promote", bundles["good"], "--model", model, "--data", colour_photos
        )
        assert promoted.returncode == 0, promoted.stderr
        assert "on 8 held-out images" in promoted.stdout
        assert "difference      +100.00   points" in promoted.stdout
        assert "(McNemar, exact)" in promoted.stdout
        assert wait_for(served, red, "1.0") == "red"
        again = run_shopwindow(
            "promote", bundles["good"], "--model", model, "--data", colour_photos
        )
        assert (again.returncode, "is already in service" in again.stdout) == (0, True)
        returned = run_shopwindow("rollback", "--model", model)
        assert returned.returncode == 0, returned.stderr
        assert wait_for(served, red, "3.0") == "blue"
    assert "nothing was in service before" in assert_one_line(
        run_shopwindow("rollback", "--model", model), 1
    )


def test_worse_and_broken_bundles_are_refused_and_the_old_one_stays(
    run_shopwindow: Run, bundles: dict[str, Path], colour_photos: Path, tmp_path: Path
) -> None:
    model, data = bundles["good"], ("--data", colour_photos)
    before = model.read_bytes()
    worse = run_shopwindow("promote", bundles["swapped"], "--model", model, *data)
    assert "is not put in service: it is worse on the held-out images" in assert_one_line(worse, 1)
    bundles["again"].write_bytes(bundles["again"].read_bytes()[:1000])
    broken = run_shopwindow("promote", bundles["again"], "--model", model, *data)
    assert "is not an ONNX model" in assert_one_line(broken, 2)
    assert model.read_bytes() == before
