"""Frames per second of the studio's grid while it scrolls through a generated list of photos.

The page is the real one, on a real server of an empty project; the list of photos and their
thumbnails are made up on the way to the browser. Prints one row for each number of photos:

    python benchmarks/studio_grid.py --photos 200 20000
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Route, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from chromium import find_chromium

_THUMBNAIL = base64.b64decode(
    "R0lGODdhAQABAIAAAH9/fwAAACwAAAAAAQABAAACAkQBADs="  # one grey pixel
)
# Scrolls for five seconds and returns the times between frames, in ms.
_SCROLL = """
async (pxPerFrame) => {
  const photos = document.getElementById('photos');
  const times = [];
  const begun = performance.now();
  let last = begun;
  let by = pxPerFrame;
  while (performance.now() - begun < 5000) {
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
    if (photos.scrollTop + photos.clientHeight >= photos.scrollHeight - 1) by = -pxPerFrame;
    if (photos.scrollTop <= 0) by = pxPerFrame;
    photos.scrollTop += by;
  }
  return times.slice(2);
}
"""


def made_up_photos(count: int, session: str, version: int) -> dict[str, object]:
    """Return the answer of `/studio/api/photos` for a project of so many photos."""
    labels = [f"label {n}" for n in range(10)]
    return {
        "session": session,
        "version": version,
        "revision": version,
        "all": True,
        "labels": labels,
        "ids": [f"photo_{n}.jpg" for n in range(count)],
        "label": [n % 10 if n % 4 else -1 for n in range(count)],
        "guess": [n % 7 for n in range(count)],
        "confidence": [n % 100 for n in range(count)],
        "twin": [""] * count,
        "doubt": [0] * count,
        "status": [0] * count,
        "group": [""] * count,
        "removed": [],
    }


def measure(browser: Browser, url: str, count: int, px_per_frame: int) -> tuple[float, float, int]:
    """Return frames per second, the slowest frame but 1 % in ms, and elements on the page."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})

    def photos(route: Route) -> None:
        state = page.request.get(f"{url}/api/state").json()
        found = made_up_photos(count, state["session"], state["version"])
        route.fulfill(body=json.dumps(found), content_type="application/json")

    page.route("**/studio/api/photos*", photos)
    page.route(
        "**/thumbnail*", lambda route: route.fulfill(body=_THUMBNAIL, content_type="image/gif")
    )
    page.goto(url)
    page.locator(".is-photo img").first.wait_for()
    times = sorted(page.evaluate(_SCROLL, px_per_frame))
    elements = page.evaluate("document.querySelectorAll('#canvas *').length")
    page.close()
    return 1000 * len(times) / sum(times), times[int(0.99 * len(times))], elements


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[200, 20_000])
    parser.add_argument("--px-per-frame", type=int, nargs="+", default=[40, 400])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = [sys.executable, "-m", "shopwindow", "studio", f"{folder}/empty", "--port", "0"]
        environment = os.environ | {"SHOPWINDOW_FEEDBACK": "off"}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            line = next(line for line in server.stdout or () if "/studio" in line)
            url = "http://" + line.split("http://")[1].strip()
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=["--no-sandbox"]
            )
            print("photos  px/frame  frames/s  99 % of frames within  elements")
            for count in given.photos:
                for px in given.px_per_frame:
                    rate, slow_ms, elements = measure(browser, url, count, px)
                    print(f"{count:6}  {px:8}  {rate:8.1f}  {slow_ms:18.1f} ms  {elements:8}")
            browser.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
