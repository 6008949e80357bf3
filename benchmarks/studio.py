"""How long the studio takes for photos, and for a model after each label.

    python benchmarks/studio.py PHOTOS [--photos 1000] [--write docs/benchmarks.md]

PHOTOS is a folder with a table `images.csv` (image,label) and its photos in `images/`. Seconds of
the clock, through the server, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sections import command, machine, publish, table

_REQUEST_FILES, _REQUEST_BYTES = 100, 50_000_000
_CHANGES = 9


def main() -> None:
    """Import photos, change labels, open again, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", metavar="PHOTOS", type=Path)
    parser.add_argument("--photos", type=int, default=1000, help="How many.")
    parser.add_argument("--write", type=Path, help="Put the table into this Markdown file.")
    options = parser.parse_args()
    photos = read_photos(options.data, options.photos)
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        with running_studio(Path(folder) / "project") as page:
            began = time.perf_counter()
            for label, files in batches(photos):
                page.post("/studio/api/photos", files=files, data={"label": label})
            rows.append(["photos sent and on disk", f"{time.perf_counter() - began:.1f}"])
            follow(page, lambda state: state["project"]["reading"] == 0)
            rows.append(["all of them read by the backbone", f"{time.perf_counter() - began:.1f}"])
            state = follow(page, lambda state: state["model"]["measured_on"] == len(photos))
            rows.append(["the model is measured", f"{time.perf_counter() - began:.1f}"])
            seen, fits = [], []
            for _ in range(_CHANGES):
                seconds, fit_s = change_labels(page)
                seen.append(seconds)
                fits.append(fit_s)
            rows.append(["from a label to a new model", f"{statistics.median(seen):.2f}"])
            rows.append(["of which fitting and guessing", f"{statistics.median(fits):.2f}"])
            began = time.perf_counter()
            page.get("/studio/api/photos").raise_for_status()
            rows.append(["the list of all photos", f"{time.perf_counter() - began:.2f}"])
        began = time.perf_counter()
        with running_studio(Path(folder) / "project") as page:
            follow(
                page, lambda state: state["project"]["reading"] == 0 and state["model"]["version"]
            )
            rows.append(["opened again, with a model", f"{time.perf_counter() - began:.1f}"])
    labels = state["model"]["labels"]
    heads = [f"{len(photos):,} photos, {labels} labels", "seconds"]
    publish(
        f"## The studio\n\n{machine()}. `{command()}`\n\n{table(heads, rows)}",
        options.write,
        "studio",
    )


def read_photos(data: Path, count: int) -> list[tuple[Path, str]]:
    """Return photos and their labels, the first in the table."""
    with (data / "images.csv").open(newline="") as file:
        found = (
            (data / "images" / f"{row['image']}.jpg", row["label"]) for row in csv.DictReader(file)
        )
        return [(path, label) for path, label in found if path.exists()][:count]


def batches(photos: list[tuple[Path, str]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield a label and the files of a request, as the page sends them."""
    for label in sorted({label for _, label in photos}):
        files: list[Any] = []
        size = 0
        for path in (path for path, of in photos if of == label):
            if files and (len(files) == _REQUEST_FILES or size > _REQUEST_BYTES):
                yield label, files
                files, size = [], 0
            files.append(("file", (path.name, path.read_bytes())))
            size += path.stat().st_size
        yield label, files


def change_labels(page: httpx.Client) -> tuple[float, float]:
    """Give two photos another label; return seconds until a new model was seen, and its fit's."""
    state = page.get("/studio/api/state").raise_for_status().json()
    columns = page.get("/studio/api/photos").raise_for_status().json()
    label = columns["labels"][columns["label"][-1]]
    body = {"ids": columns["ids"][:2], "label": label, "revision": state["revision"]}
    began = time.perf_counter()
    page.post("/studio/api/labels", json=body).raise_for_status()
    fits = state["model"]["version"]
    new = follow(page, lambda now: now["model"]["version"] > fits)
    seconds = time.perf_counter() - began
    page.post("/studio/api/undo", json={"revision": new["version"]}).raise_for_status()
    follow(page, lambda now: now["model"]["version"] > new["model"]["version"])
    return seconds, new["model"]["fit_s"]


def follow(page: httpx.Client, until: Any) -> dict[str, Any]:
    """Follow the state until something holds of it, and return it."""
    state: dict[str, Any] = page.get("/studio/api/state").raise_for_status().json()
    while not until(state):
        params = {"since": state["version"], "wait": 20}
        state = page.get("/studio/api/state", params=params).raise_for_status().json()
    return state


@contextmanager
def running_studio(folder: Path) -> Iterator[httpx.Client]:
    """Yield the studio of a folder, as its page reaches it."""
    words = [sys.executable, "-m", "shopwindow", "studio", str(folder), "--port", "0"]
    environment = os.environ | {"SHOPWINDOW_FEEDBACK": "off"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = (process.stdout or sys.stdin).readline()
            url = "http://" + line.split("http://")[1].split()[0]
            with httpx.Client(base_url=url, timeout=600) as page:
                text = page.get("/studio").raise_for_status().text
                found = re.search(r'data-token="([^"]+)"', text)
                page.headers["X-CSRF-Token"] = found[1] if found else ""
                yield page
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
