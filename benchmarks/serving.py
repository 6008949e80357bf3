"""How fast the app serves, beside the bare limit and beside what else people use.

    python benchmarks/serving.py [--quick] [--apps shopwindow,flask] [--write docs/benchmarks.md]

All servers run on this machine at the same time and are loaded in turns, a few seconds each, so
that other load on the machine affects all alike; figures are medians over the rounds. The bare
limit is decode + run in a loop, with nothing around it: one image after another for one client,
else batches of as many images as there are clients (32 at most), decoded on all cores.

Closed loops have 1, 8 and 64 clients; open loops send 0.5, 1 and 3 times the rate that a server
managed with 64 clients. Processor time is that of the server's processes; the load generator runs
beside them on the same cores. So the fraction of the limit by the clock is lower than a client on
another machine would see, and the fraction by processor time says what serving costs.

The peers have an environment of their own, from benchmarks/requirements.txt; the article's app
needs fastai, so run this in the development environment.
"""

from __future__ import annotations

import argparse
import io
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from contenders import NAMES, Running, drive, line_up, require, running
from sections import command, machine, publish, table
from shopwindow.bundle import bundled_model_path
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import load_predictor
from shopwindow.settings import Settings

LIMIT = "bare limit"
MAX_BATCH = 32


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did under one load.

    Attributes:
        images_per_s: Answers with status 200, per second.
        p50_s: Median time of these.
        p99_s: 99th percentile of these.
        cpu_s: Processor time of the server for each of these.
        refused: Share of questions that got another answer.
        failed: Share of questions that got none.
    """

    images_per_s: float
    p50_s: float
    p99_s: float
    cpu_s: float
    refused: float
    failed: float


def main() -> None:
    """Measure what the command line asks for, and print tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the servers too
    options = parse()
    names = options.apps.split(",")
    if unknown := set(names) - set(NAMES):
        options.error(f"--apps: expected {', '.join(NAMES)}, got {', '.join(sorted(unknown))}")
    require(options.peers, names)
    images = make_images(["60 x 80 pixels"] if options.quick else list(SIZES))
    clients = (1, 8) if options.quick else (1, 8, 64)
    contenders = line_up(options.model, options.peers, names)
    first = next(iter(images.values()))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(contenders, options.model, Path(folder), first) as servers,
    ):
        closed = {
            (size, count): closed_loops(servers, image, count, options)
            for size, image in images.items()
            for count in clients
        }
        loads = (3.0,) if options.quick else (0.5, 1.0, 3.0)
        capacity = closed[next(iter(images)), clients[-1]]
        opened = {
            load: open_loops(servers, first, load, capacity, options.seconds) for load in loads
        }
    text = report(closed, opened, list(images), clients)
    publish(text, options.write, "serving")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled_model_path(), help="A bundle.")
    parser.add_argument("--apps", default=",".join(NAMES), help="Which to compare, with commas.")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"), help="Environment.")
    parser.add_argument("--seconds", type=float, default=5, help="Each turn.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each server.")
    parser.add_argument("--quick", action="store_true", help="Only show that it works.")
    parser.add_argument("--write", type=Path, help="Put the tables into this Markdown file.")
    options = parser.parse_args()
    options.model, options.peers = options.model.resolve(), options.peers.absolute()
    options.error = parser.error
    if options.quick:
        options.seconds, options.rounds = 1.0, 1
    return options


SIZES = {
    "60 x 80 pixels": (60, 80, 85),
    "100 kB": (900, 1200, 70),
    "12 megapixels": (3000, 4000, 80),
}


def make_images(sizes: Iterable[str]) -> dict[str, bytes]:
    """Return JPEGs that are smooth with some grain, as photos are."""
    random = np.random.default_rng(0)
    images = {}
    for size in sizes:
        width, height, quality = SIZES[size]
        coarse = Image.fromarray(random.integers(40, 216, (12, 9, 3), np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        grain = random.integers(-9, 10, (height, width, 1), np.int16)
        buffer = io.BytesIO()
        pixels = (smooth + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        images[size] = buffer.getvalue()
    return images


def closed_loops(
    servers: Sequence[Running], image: bytes, clients: int, options: argparse.Namespace
) -> dict[str, Figures]:
    """Return the figures of the limit and of each server, medians over interleaved rounds."""
    seen: dict[str, list[Figures]] = {LIMIT: []}
    limit = BareLimit(options.model)
    for _ in range(options.rounds):
        seen[LIMIT].append(limit.measure(image, clients, options.seconds))
        for one in servers:
            figures = measure(one, image, concurrency=clients, seconds=options.seconds)
            seen.setdefault(one.contender.name, []).append(figures)
    return {name: median(rounds) for name, rounds in seen.items()}


def open_loops(
    servers: Sequence[Running],
    image: bytes,
    load: float,
    capacity: dict[str, Figures],
    seconds: float,
) -> dict[str, Figures]:
    """Return the figures of each server when `load` times its capacity comes."""
    return {
        one.contender.name: measure(
            one,
            image,
            rate=max(0.2, load * capacity[one.contender.name].images_per_s),
            seconds=2 * seconds,
        )
        for one in servers
    }


def measure(one: Running, image: bytes, **how: float) -> Figures:
    """Load a server and return its figures."""
    before = one.cpu_seconds()
    outcome = drive(one, image, **how)
    cpu_s = one.cpu_seconds() - before
    times = [seconds for status, seconds in outcome["outcomes"] if status == 200]
    asked = max(1, len(outcome["outcomes"]))
    failed = sum(status == 0 for status, _ in outcome["outcomes"])
    p50_s, p99_s = np.quantile(times, (0.5, 0.99)) if times else (float("nan"), float("nan"))
    seconds = max(how["seconds"], outcome["seconds"])  # until the last answer
    return Figures(
        len(times) / seconds,
        float(p50_s),
        float(p99_s),
        cpu_s / max(1, len(times)),
        (asked - failed - len(times)) / asked,
        failed / asked,
    )


class BareLimit:
    """Decode + run in a loop: what no server around the same code can exceed."""

    def __init__(self, model: Path) -> None:
        self._predictor = load_predictor(model)

    def measure(self, image: bytes, clients: int, seconds: float) -> Figures:
        """Return the figures of batches for so many clients."""
        batch = min(clients, MAX_BATCH)
        prepare = self._predictor.prepare
        times: list[float] = []
        with ThreadPoolExecutor(available_cores()) as pool:
            start, cpu = time.perf_counter(), time.process_time()
            while not times or time.perf_counter() - start < seconds:
                began = time.perf_counter()
                one = [prepare(image)] if batch == 1 else list(pool.map(prepare, [image] * batch))
                self._predictor.predict_images(np.stack(one))
                times.append(time.perf_counter() - began)
            spent, cpu = time.perf_counter() - start, time.process_time() - cpu
        count = len(times) * batch
        p50_s, p99_s = np.quantile(times, (0.5, 0.99))
        return Figures(count / spent, float(p50_s), float(p99_s), cpu / count, 0.0, 0.0)


def median(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(
        *(
            statistics.median(getattr(figures, name) for figures in rounds)
            for name in Figures.__dataclass_fields__
        )
    )


def report(
    closed: dict[tuple[str, int], dict[str, Figures]],
    opened: dict[float, dict[str, Figures]],
    sizes: Sequence[str],
    clients: Sequence[int],
) -> str:
    """Return the tables, and how the goals were met."""
    parts = [f"## Serving\n\n{machine()}. `{command()}`"]
    heads = [
        *("images/s", "p50 ms", "p99 ms", "processor ms per image"),
        *("of the limit", "of it, by processor", "not answered"),
    ]
    for size in sizes:
        for count in clients:
            figures = closed[size, count]
            limit = figures[LIMIT]
            rows = [[name, *_cells(one, limit)] for name, one in figures.items()]
            parts.append(table([f"JPEG of {size}, {count} at a time", *heads], rows))
    for load, figures in opened.items():
        peak = closed[sizes[0], clients[-1]]
        rows = [
            [
                name,
                f"{one.images_per_s:.1f}",
                f"{one.images_per_s / peak[name].images_per_s:.2f}",
                f"{1e3 * one.p50_s:.0f}",
                f"{1e3 * one.p99_s:.0f}",
                f"{one.refused:.0%}",
                f"{one.failed:.0%}",
            ]
            for name, one in figures.items()
        ]
        heads = ["images/s", "of its peak", "p50 ms", "p99 ms", "refused", "not answered"]
        parts.append(table([f"Open loop, {load:g} x capacity, {sizes[0]}", *heads], rows))
    parts.append(goals(closed, opened, sizes, clients))
    return "\n\n".join(parts)


def _cells(one: Figures, limit: Figures) -> list[str]:
    return [
        f"{one.images_per_s:.1f}",
        f"{1e3 * one.p50_s:.1f}",
        f"{1e3 * one.p99_s:.1f}",
        f"{1e3 * one.cpu_s:.1f}",
        f"{one.images_per_s / limit.images_per_s:.2f}",
        f"{limit.cpu_s / one.cpu_s:.2f}" if one.cpu_s else "",
        f"{one.refused + one.failed:.0%}",
    ]


def goals(
    closed: dict[tuple[str, int], dict[str, Figures]],
    opened: dict[float, dict[str, Figures]],
    sizes: Sequence[str],
    clients: Sequence[int],
) -> str:
    """Return what was aimed at and what came of it, for this app."""
    ours = "shopwindow"
    if ours not in closed[sizes[0], clients[-1]]:
        return ""
    rows: list[list[object]] = []
    for size in sizes:
        full, idle = closed[size, clients[-1]], closed[size, clients[0]]
        saturated, limit = full[ours], full[LIMIT]
        peers = [
            figures.images_per_s for name, figures in full.items() if name not in (ours, LIMIT)
        ]
        by_cpu = limit.cpu_s / saturated.cpu_s
        share = saturated.images_per_s / limit.images_per_s
        rows.append([f"{size}: fraction of the limit at saturation", "0.85", f"{share:.2f}"])
        rows.append([f"{size}: the same, by processor time", "0.85", f"{by_cpu:.2f}"])
        if peers:
            best = saturated.images_per_s / max(peers)
            rows.append([f"{size}: times the best peer", "1.5", f"{best:.2f}"])
        slower = idle[ours].p50_s / idle[LIMIT].p50_s
        rows.append([f"{size}: idle p50 over decode + run", "at most 1.3", f"{slower:.2f}"])
    if 3.0 in opened:
        flood, peak = opened[3.0][ours], closed[sizes[0], clients[-1]][ours]
        kept = flood.images_per_s / peak.images_per_s
        deadline = Settings().deadline_s
        rows.append(["goodput at 3 x capacity, of the peak", "0.9", f"{kept:.2f}"])
        rows.append(["p99 of the accepted, s", f"at most {deadline}", f"{flood.p99_s:.2f}"])
    return table(["This app", "goal", "found"], rows)


if __name__ == "__main__":
    main()
