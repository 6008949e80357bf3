"""What the page costs a visitor: bytes, jumps, and the time from a chosen photo to the answer.

    python benchmarks/page.py [--photos 30] [--write docs/benchmarks.md]

A real server with the bundled model, and a real browser on the same machine. The photo is one of 12
million pixels as a phone takes it, drawn here and saved as JPEG with an orientation. The clock
starts when the browser has the file and stops when the frame with the answer has been painted.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, Response, sync_playwright

from sections import machine, table, write_section

NAME = "page"
_EXAMPLE = Path(__file__).parents[1] / "src/shopwindow/models/examples/fashion/sneaker.webp"
_SERVER = """
from shopwindow.inference.predictor import load_predictor
from shopwindow.settings import Settings
from shopwindow.web.server import serve
serve(load_predictor(), Settings(port=0))
"""
# Resolves to milliseconds when an answer has been painted, counted from the change of the input.
_WATCH = """
() => { window.answered = new Promise((resolve) => {
  const main = document.getElementById('main');
  let start = 0;
  document.getElementById('image-file').addEventListener(
    'change', () => { start = performance.now(); }, {capture: true, once: true});
  new MutationObserver((_, observer) => {
    if (main.dataset.state !== 'done') return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
  }).observe(main, {attributes: true, attributeFilter: ['data-state']});
}); }
"""
_JUMPS = """
() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
    .observe({type: 'layout-shift', buffered: true});
  requestAnimationFrame(() => setTimeout(() => resolve(sum), 50));
})
"""


def main() -> None:
    """Measure, and print or write a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=30, help="how many times to hand in a photo")
    parser.add_argument(
        "--write", type=Path, help="a page with benchmarks, such as docs/benchmarks.md"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "phone.jpg"
        photo.write_bytes(phone_photo())
        rows = measure(photo, options.photos)
    text = f"## The page\n\n{machine()}, Chromium on the same machine.\n\n{table(['', ''], rows)}\n"
    print(text)
    if options.write:
        write_section(options.write, NAME, text)


def phone_photo() -> bytes:
    """Return a JPEG of 4000 x 3000 with a grain like a sensor's, to be turned by 90 degrees."""
    with Image.open(_EXAMPLE) as drawing:
        picture = drawing.convert("RGB").rotate(90, expand=True).resize((4000, 3000))
    noise = np.random.default_rng(0).normal(0, 6, (3000, 4000, 1))
    pixels = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def measure(photo: Path, times: int) -> list[list[object]]:
    """Return the rows of the table."""
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = next(iter(server.stdout or ()))
            url = "http://" + line.split("http://")[1].split()[0]
            with sync_playwright() as playwright:
                chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                page = browser.new_page()
                sizes: list[int] = []
                page.on("response", lambda response: sizes.append(size_of(response)))
                page.goto(url, wait_until="networkidle")
                first_load_bytes = sum(sizes)
                waits_ms = [hand_in(page, photo) for _ in range(times + 1)][1:]
                jumps = page.evaluate(_JUMPS)
                browser.close()
        finally:
            server.terminate()
    ordered = sorted(waits_ms)
    return [
        ["first load, all in", f"{first_load_bytes / 1000:.1f} kB"],
        ["layout shift, load and answers", f"{jumps:.4f}"],
        [f"photo of {photo.stat().st_size / 1e6:.1f} MB to painted answer, median of {times}",
         f"{statistics.median(waits_ms):.0f} ms"],
        ["the same, 95th percentile", f"{ordered[int(0.95 * (len(ordered) - 1))]:.0f} ms"],
    ]  # fmt: skip


def size_of(response: Response) -> int:
    """Return the bytes of an answer, as the browser got them."""
    return len(response.body())


def hand_in(page: Page, photo: Path) -> float:
    """Hand in a photo; return the milliseconds until its answer was painted."""
    page.evaluate(_WATCH)
    page.set_input_files("#image-file", photo)
    return float(page.evaluate("window.answered"))


if __name__ == "__main__":
    main()
