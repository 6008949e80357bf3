"""How long after `shopwindow serve` the first answer is there.

    python benchmarks/startup.py [--model M] [--starts 5] [--write docs/benchmarks.md]

The clock starts with the command and stops when the answer about an image has arrived. Processor
time is what the server's process used until then: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import httpx
import psutil
from PIL import Image

from sections import machine, publish, table
from served import running_app
from shopwindow.bundle import bundled_model_path

GOAL_S = 2.0


def main() -> None:
    """Start the server a few times and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled_model_path(), help="A bundle.")
    parser.add_argument("--starts", type=int, default=5, help="How often to start it.")
    parser.add_argument("--write", type=Path, help="Put the table into this Markdown file.")
    options = parser.parse_args()
    found = [first_answer(options.model) for _ in range(options.starts)]
    rows = [
        [name, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}", f"{GOAL_S:g}"]
        for name, seconds in zip(
            ("seconds to the first answer", "of processor time"),
            zip(*found, strict=True),
            strict=True,
        )
    ]
    heads = [f"{options.starts} starts", "median", "most", "goal"]
    text = f"## Start\n\n{machine()}. `python benchmarks/startup.py`\n\n{table(heads, rows)}"
    publish(text, options.write, "startup")


def first_answer(model: Path) -> tuple[float, float]:
    """Start the server, ask it once, stop it; return seconds of the clock and of the processor."""
    buffer = io.BytesIO()
    Image.new("RGB", (60, 80), "red").save(buffer, "JPEG")
    start = time.perf_counter()
    with running_app(model) as served:
        httpx.post(
            f"{served.url}/api/v1/predict",
            content=buffer.getvalue(),
            headers={"Content-Type": "image/jpeg"},
            timeout=60,
        ).raise_for_status()
        spent = time.perf_counter() - start
        times = psutil.Process(served.process.pid).cpu_times()
    return spent, times.user + times.system


if __name__ == "__main__":
    main()
