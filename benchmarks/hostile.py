"""Odd and malicious image files, by every way into the app: does anything break, stall or swell?

    python benchmarks/hostile.py [FOLDER or ARCHIVE] [--write docs/benchmarks.md]

The folder (or .tar.xz) holds images and an INDEX.csv with the columns `file` and `expect`:
"decodes", "must_reject", or "either". Each file goes through `shopwindow predict`, the API (as the
body and as a form) and the page, and through both again with 64 requests at a time. The answer has
to be the same by every way. The exit code is 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from sections import machine, publish, table
from served import Served, running_app

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hostile-images.tar.xz"
MAX_SECONDS = 2.0
MAX_RESIDENT_BYTES = 600_000_000
AT_ONCE = 64
MAX_LINES = 20  # of what is broken


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the corpus, and what is expected of it."""

    name: str
    expect: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one file got: an HTTP status (200 or 500 for the command line), how fast, what label."""

    status: int
    seconds: float
    label: str | None


@dataclass(frozen=True, slots=True)
class Way:
    """One way into the app, and what became of each file on it."""

    name: str
    outcomes: list[Outcome]
    peak_resident_bytes: int | None = None

    def broken(self, pictures: list[Picture]) -> list[str]:
        """Return each broken promise in words."""
        said = []
        for picture, outcome in zip(pictures, self.outcomes, strict=True):
            status = outcome.status
            if status >= 500:
                said.append(f"{picture.name}: {status}")
            elif picture.expect == "decodes" and status != 200:
                said.append(f"{picture.name}: {status}, though it is sound")
            elif picture.expect == "must_reject" and status == 200:
                said.append(f"{picture.name}: accepted, though it is not")
            if outcome.seconds > MAX_SECONDS:
                said.append(f"{picture.name}: {outcome.seconds:.1f} s")
        if (self.peak_resident_bytes or 0) > MAX_RESIDENT_BYTES:
            said.append(f"{self.peak_resident_bytes:,} bytes of memory")
        return [f"{self.name}: {what}" for what in said]


def read_corpus(data: Path, scratch: Path) -> tuple[Path, list[Picture]]:
    """Return the folder of the files and the files; an archive is unpacked to `scratch` first."""
    if data.is_file():
        with tarfile.open(data) as archive:
            archive.extractall(scratch, filter="data")
        data = next(scratch.rglob("INDEX.csv")).parent
    with (data / "INDEX.csv").open(newline="", encoding="utf-8") as file:
        return data, [
            Picture(row["file"], row["expect"], (data / row["file"]).read_bytes())
            for row in csv.DictReader(file)
        ]


def by_command_line(folder: Path, pictures: list[Picture]) -> Way:
    """Predict all files with one command; its seconds are shared evenly."""
    start = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, "-m", "shopwindow", "predict", "--format", "jsonl", "--"]
        + [str(folder / picture.name) for picture in pictures],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = (time.perf_counter() - start) / max(1, len(pictures))
    rows = [json.loads(line) for line in completed.stdout.splitlines()]
    if completed.returncode not in {0, 1} or len(rows) != len(pictures):
        sys.exit(f"shopwindow predict failed:\n{completed.stderr}")
    outcomes = [Outcome(422 if row["error"] else 200, seconds, row["label"]) for row in rows]
    return Way("`shopwindow predict`", outcomes)


Send = Callable[[httpx.Client, Picture], httpx.Response]


def send_body(client: httpx.Client, picture: Picture) -> httpx.Response:
    """Send a file as the body of an API request."""
    headers = {"Content-Type": "application/octet-stream"}
    return client.post("/api/v1/predict", content=picture.content, headers=headers)


def send_form(client: httpx.Client, picture: Picture) -> httpx.Response:
    """Send a file as the form of an API request, under the name and type that it claims."""
    return client.post("/api/v1/predict", files={"image": (picture.name, picture.content)})


def send_page(client: httpx.Client, picture: Picture) -> httpx.Response:
    """Send a file as the page without JavaScript does."""
    return client.post("/", files={"image-file": (picture.name, picture.content)})


def by_http(
    name: str, served: Served, pictures: list[Picture], send: Send, *, at_once: int = 1
) -> Way:
    """Send each file, so many at a time."""
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    with httpx.Client(base_url=served.url, timeout=60, limits=limits) as client:

        def ask(picture: Picture) -> Outcome:
            start = time.perf_counter()
            response = send(client, picture)
            seconds = time.perf_counter() - start
            return Outcome(response.status_code, seconds, _label_in(response))

        with ThreadPoolExecutor(at_once) as pool:
            outcomes = list(pool.map(ask, pictures))
    return Way(name, outcomes, served.peak_resident_bytes)


def _label_in(response: httpx.Response) -> str | None:
    if response.status_code != 200:
        return None
    if response.headers["Content-Type"].startswith("application/json"):
        return str(response.json()["predictions"][0]["label"])
    # The first of its best guesses: the heading may be a family, or that it can't tell.
    found = re.search(r'id="bars">\s*<li><span class="of">(.*?)</span>', response.text)
    return html.unescape(found[1]) if found else "(none)"


def differences(pictures: list[Picture], ways: list[Way]) -> list[str]:
    """Return the files that are answered differently by different ways."""
    said = []
    for index, picture in enumerate(pictures):
        labels = {way.name: way.outcomes[index].label for way in ways}
        if len(set(labels.values())) > 1:
            said.append(f"{picture.name}: {labels}")
    return said


def as_table(pictures: list[Picture], ways: list[Way]) -> str:
    """Return one row per way."""
    counts = Counter(picture.expect for picture in pictures)
    rows: list[list[object]] = []
    for way in ways:
        pairs = list(zip(pictures, way.outcomes, strict=True))
        good = sum(p.expect == "decodes" and o.status == 200 for p, o in pairs)
        bad = sum(p.expect == "must_reject" and 400 <= o.status < 500 for p, o in pairs)
        peak = way.peak_resident_bytes
        rows.append(
            [
                way.name,
                f"{good} of {counts['decodes']}",
                f"{bad} of {counts['must_reject']}",
                sum(o.status >= 500 for _, o in pairs),
                f"{max(o.seconds for _, o in pairs):.2f}",
                "" if peak is None else f"{peak / 1e6:.0f}",
            ]
        )
    columns = ["way in", "sound: 200", "bad: 4xx", "5xx", "slowest, s", "peak memory, MB"]
    return table(columns, rows)


def main() -> int:
    """Run everything, print the table, and say what is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    options = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "error"  # a warning is a surprise, and surprises are not allowed
    with tempfile.TemporaryDirectory() as scratch:
        folder, pictures = read_corpus(options.data, Path(scratch))
        ways = [by_command_line(folder, pictures)]
        with running_app() as served:
            ways += [
                by_http("API, body", served, pictures, send_body),
                by_http("API, form", served, pictures, send_form),
                by_http("page", served, pictures, send_page),
                by_http(f"API, {AT_ONCE} at a time", served, pictures, send_body, at_once=AT_ONCE),
                by_http(f"page, {AT_ONCE} at a time", served, pictures, send_page, at_once=AT_ONCE),
            ]
    broken = [line for way in ways for line in way.broken(pictures)]
    broken += differences(pictures, ways)
    text = (
        f"## Hostile images\n\n`python benchmarks/hostile.py` on {len(pictures)} files from the "
        f"test suites of other projects. {machine()}.\n\n{as_table(pictures, ways)}\n\n"
        f"Same label by every way: {'yes' if not differences(pictures, ways) else 'no'}. "
        f"Allowed are {MAX_SECONDS:g} s a file and {MAX_RESIDENT_BYTES // 10**6} MB."
    )
    publish(text, options.write, "hostile")
    for line in broken[:MAX_LINES]:
        print("BROKEN:", line, file=sys.stderr)
    if len(broken) > MAX_LINES:
        print(f"... and {len(broken) - MAX_LINES} more", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
