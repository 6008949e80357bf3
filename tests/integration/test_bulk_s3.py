"""Photos in an S3 store, with a real server and the real client."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shopwindow.bulk.inputs import Input, list_inputs
from shopwindow.bulk.pipeline import read_input
from shopwindow.errors import UsageError

pytestmark = pytest.mark.slow

pytest.importorskip("s3fs", reason="s3fs is not installed")
server_module = pytest.importorskip("moto.server", reason="moto is not installed")

BUCKET = "s3://shop"
ODD = {"shoe [1].jpg": "blue", "a*.jpg": "white", "b::c.jpg": "black"}


@pytest.fixture(scope="module")
def store(image_bytes: Callable[..., bytes]) -> Iterator[dict[str, str]]:
    """A bucket `shop` with photos, on a server of its own; the environment that leads there."""
    import fsspec

    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("shop")
        for number in range(40):
            files.pipe(f"shop/photos/{number:03}.png", image_bytes(["red", "blue"][number % 2]))
        files.pipe("shop/photos/sub/deep.jpg", image_bytes("white", format="JPEG"))
        files.pipe("shop/photos/empty.png", b"")
        files.pipe("shop/photos/notes.txt", b"not an image")
        files.pipe("shop/lists/shop.csv", b"image\ns3://shop/photos/003.png\n../photos/002.png\n")
        for name in ("shoe 1.jpg", "shoe [1].jpg", "a*.jpg", "b::c.jpg", "x [1]/y?.png"):
            files.pipe(f"shop/odd/{name}", image_bytes(ODD.get(name, "red")))
        files.pipe("shop/lists/odd [1].csv", b"image\n../odd/b::c.jpg\ns3://shop/odd/a*.jpg\n")
        try:
            yield environment
        finally:
            server.stop()


def predict(environment: dict[str, str], bundle: Path, *arguments: str) -> list[dict[str, str]]:
    completed = subprocess.run(
        [sys.executable, "-m", "shopwindow", "predict", *arguments, "--model", bundle],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode in (0, 1), completed.stderr
    return list(csv.DictReader(completed.stdout.splitlines()))


def test_a_remote_folder_is_predicted_by_several_processes(
    store: dict[str, str], colour_bundle: Path
) -> None:
    rows = predict(store, colour_bundle, *[f"{BUCKET}/photos"] * 4, "--workers", "2")
    names = [f"{number:03}.png" for number in range(40)] + ["empty.png", "sub/deep.jpg"]
    assert [row["path"] for row in rows] == [f"{BUCKET}/photos/{name}" for name in names] * 4
    assert [row["label"] for row in rows] == [*["red", "blue"] * 20, "", "white"] * 4
    assert rows[40]["error"].startswith("This file is empty")


def test_patterns_tables_and_missing_objects_of_a_store(
    store: dict[str, str], colour_bundle: Path
) -> None:
    rows = predict(
        store,
        colour_bundle,
        f"{BUCKET}/photos/00[12].png",
        f"{BUCKET}/lists/shop.csv",
        f"{BUCKET}/gone.png",
    )
    assert [row["path"] for row in rows] == [
        f"{BUCKET}/photos/001.png",
        f"{BUCKET}/photos/002.png",
        f"{BUCKET}/photos/003.png",
        f"{BUCKET}/lists/../photos/002.png",
        f"{BUCKET}/gone.png",
    ]
    assert [row["label"] for row in rows] == ["blue", "red", "blue", "", ""]
    # A store has no folders, and so none above one.
    assert rows[3]["error"] == rows[4]["error"] == "There is no such file."


def test_what_is_in_a_store_under_its_very_name_is_no_pattern_and_no_chain(
    store: dict[str, str], colour_bundle: Path
) -> None:
    names = [f"{BUCKET}/odd/{name}" for name in ("shoe [1].jpg", "a*.jpg", "b::c.jpg")]
    rows = predict(store, colour_bundle, *names, f"{BUCKET}/odd/shoe [0-9].jpg")
    assert [row["path"] for row in rows] == [*names, f"{BUCKET}/odd/shoe 1.jpg"]
    assert [row["label"] for row in rows] == ["blue", "white", "black", "red"]
    rows = predict(store, colour_bundle, f"{BUCKET}/odd/x [1]", f"{BUCKET}/odd/s*.jpg")
    assert [row["path"].removeprefix(f"{BUCKET}/odd/") for row in rows] == [
        "x [1]/y?.png",
        "shoe 1.jpg",
        "shoe [1].jpg",
    ]
    assert [row["label"] for row in rows] == ["red", "red", "blue"]
    assert len(predict(store, colour_bundle, f"{BUCKET}/odd")) == 5


def test_keys_with_signs_of_patterns_are_names_in_tables_and_tables(store: dict[str, str]) -> None:
    found = [str(one) for one in list_inputs([f"{BUCKET}/lists/odd [1].csv"])]
    assert found == [f"{BUCKET}/lists/../odd/b::c.jpg", f"{BUCKET}/odd/a*.jpg"]
    assert read_input(Input(found[1])) == read_input(Input(f"{BUCKET}/odd/a*.jpg"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{BUCKET}/phtoos", "There is nothing at s3://shop/phtoos"),
        (f"{BUCKET}/photos/*.gif", "Nothing matches the pattern"),
    ],
)
def test_urls_that_lead_nowhere_are_refused(store: dict[str, str], url: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        list(list_inputs([url]))
