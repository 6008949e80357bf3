"""How long a visitor waits: from a photo chosen to its answer painted on the screen.

    python benchmarks/page.py [--data PHOTOS] [--times 40] [--write docs/benchmarks.md]

The real server with the bundled model, and a real Chromium without a window on the same machine, as
a visitor of `shopwindow serve` has it. The photos were taken with phones; as those at hand are
small, they are enlarged to 12 million pixels, given the grain of a sensor, and saved as a phone
does, on their side with a note on how to turn them. Each is given to the file input. The clock
starts when the browser says that a file was chosen, and stops in the task after the frame that has
the answer.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sections import machine, publish, table
from shopwindow.bundle import bundled_model_path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "phone-photos.tar.xz"
GOAL_MS = 300
SIDES_PX = (4032, 3024)
WARM_UP = 5  # the first answers pay for what both programs load only once
TIMEOUT_MS = 20_000

# Notes when the file was chosen, and when each part of the work was over. Two frames: a callback
# before the next frame comes before that is painted, so the task after it comes behind.
_WATCH = """
(timeoutMs) => { window.answered = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  const main = document.getElementById('main');
  const marks = {};
  performance.clearResourceTimings();
  const chosen = () => { marks.chosen = performance.now(); };
  addEventListener('change', chosen, { capture: true, once: true });
  const observer = new MutationObserver(() => {
    if (main.dataset.state === 'busy') return;
    observer.disconnect();
    marks.state = main.dataset.state;
    marks.answered = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        const [asked] = performance.getEntriesByType('resource')
          .filter((entry) => entry.initiatorType === 'fetch');
        marks.sent = asked?.startTime;
        marks.received = asked?.responseEnd;
        marks.painted = performance.now();
        resolve(marks);
      };
      channel.port2.postMessage(null);
    });
  });
  observer.observe(main, { attributes: true, attributeFilter: ['data-state'] });
}); }
"""
_ALL = "**all**"
# A part of the wait, and the two marks that it lies between.
_PARTS = {
    "made smaller by the browser": ("chosen", "sent"),
    "asked of the server": ("sent", "received"),
    "put on the page": ("received", "answered"),
    "painted": ("answered", "painted"),
    _ALL: ("chosen", "painted"),
}


def main() -> None:
    """Measure, print a table, and write it where one asks for it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="Photos: a folder or an archive.")
    parser.add_argument("--model", type=Path, default=bundled_model_path(), help="A bundle.")
    parser.add_argument("--times", type=int, default=40, help="How many photos to hand in.")
    parser.add_argument("--write", type=Path, help="Put the table into this Markdown file.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = phone_photos(options.data, Path(folder), count=5)
        waits = measure(options.model, photos, options.times)
        size_mb = statistics.mean(photo.stat().st_size for photo in photos) / 1e6
    rows: list[list[object]] = []
    for name, (begin, end) in _PARTS.items():
        spent_ms = [marks[end] - marks[begin] for marks in waits]
        median, high = np.percentile(spent_ms, [50, 95])
        rows.append([name, f"{median:.0f}", f"{high:.0f}", GOAL_MS if name == _ALL else ""])
    text = (
        "## The page: from a photo to its answer\n\n"
        f"{len(waits)} photos of 12 million pixels ({size_mb:.1f} MB), one after another; Chromium "
        f"and the server on {machine()}. `python benchmarks/page.py`\n\n"
        f"{table(['milliseconds', 'median', '95th percentile', 'goal'], rows)}"
    )
    publish(text, options.write, "page")


def phone_photos(data: Path, folder: Path, *, count: int) -> list[Path]:
    """Write the first photos of a folder or archive as a phone would have saved them."""
    grain = np.random.default_rng(0).normal(0, 6, (SIDES_PX[1], SIDES_PX[0], 1)).astype(np.float32)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    paths = []
    for number, content in zip(range(count), pictures(data), strict=False):
        with Image.open(io.BytesIO(content)) as small:
            upright = small.convert("RGB")
        lying = upright.rotate(90, expand=True).resize(SIDES_PX, Image.Resampling.LANCZOS)
        pixels = np.clip(np.asarray(lying) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90, exif=exif)
    if not paths:
        sys.exit(f"{data}: expected a folder or an archive with JPEG photos, found none.")
    return paths


def pictures(data: Path) -> Iterator[bytes]:
    """Yield the JPEG files of a folder or an archive."""
    if data.is_dir():
        for path in sorted(data.rglob("*.jpg")):
            yield path.read_bytes()
        return
    if not data.is_file():
        sys.exit(f"{data}: expected a folder or an archive with JPEG photos; name one with --data.")
    with tarfile.open(data) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if content is not None:
                yield content.read()


def measure(model: Path, photos: list[Path], times: int) -> list[dict[str, Any]]:
    """Hand in photos one after another; return the marks of each but the first few."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        sys.exit("no chromium here: apt-get install chromium, or name one with CHROMIUM=PATH")
    with running_server(model) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            page = browser.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(url)
            waits = [hand_in(page, photos[turn % len(photos)]) for turn in range(WARM_UP + times)]
        finally:
            browser.close()
    return waits[WARM_UP:]


def hand_in(page: Page, photo: Path) -> dict[str, Any]:
    """Hand in a photo; return its marks, in milliseconds since the page was opened."""
    page.evaluate(_WATCH, TIMEOUT_MS)
    page.set_input_files("#image-file", photo)
    marks: dict[str, Any] = page.evaluate("window.answered")
    if marks["state"] != "done":
        sys.exit(f"{photo.name} was refused: {page.locator('#image-error').inner_text()}")
    return marks


@contextmanager
def running_server(model: Path) -> Iterator[str]:
    """Yield the address of `shopwindow serve` on a free port."""
    command = [sys.executable, "-m", "shopwindow", "serve", "--model", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = next(iter(server.stdout or ()), "")
            if "http://" not in line:
                sys.exit("The server did not start; see its message above.")
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
