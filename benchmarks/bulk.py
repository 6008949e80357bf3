"""How close `shopwindow predict` comes to what the machine can do, and what a million photos cost.

    python benchmarks/bulk.py --quick                       a minute, to see that it works
    python benchmarks/bulk.py --write docs/benchmarks.md    the figures in the documentation

All contestants take turns, so that a busy machine slows down all of them:

- limit: decode and run, on every core, and nothing else: no list, no rows, no output
- shopwindow: the whole command, from its start to the finished file
- loop: one image after another in one process, the model on all cores, as people write it first
- Ray Data: a hand-written actor per core (`--ray`), without the time that Ray takes to start
- killed: the whole command, killed half-way and started again
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import logging
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import chain, cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from sections import command, machine, publish, table
from shopwindow.bulk.inputs import list_inputs
from shopwindow.bulk.manifest import shard_size, write_manifest
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import load_predictor

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
BATCH = 64
ARCHIVES = {"catalogue": "fashion-catalogue", "large": "large-photos"}
KINDS = {"catalogue": "catalogue photos", "large": "photos of 900 x 1200"}
# Enough that the two seconds in which the command starts and ends are a small part.
COUNTS = {"catalogue": 40_000, "large": 12_000}

Seconds = float


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="few images, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="also Ray Data (needs ray)")
    parser.add_argument("--only", choices=sorted(ARCHIVES), help="one kind of photos")
    parser.add_argument("--catalogue", type=Path, help="folder of small photos")
    parser.add_argument("--large", type=Path, help="folder of photos of about 900 x 1200")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="docs/benchmarks.md")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    for kind in [options.only] if options.only else ARCHIVES:
        count = 600 if options.quick else COUNTS[kind]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            photos = take(getattr(options, kind) or unpack(ARCHIVES[kind], folder), count)
            rates = measure(photos, folder, rounds, options.ray)
            listed_per_s = listing_rate(folder)
        rates_text = (
            f"**{count:,} {KINDS[kind]}**\n\n{report(rates)}\n\nOn {machine()}; the medians of "
            f"{rounds} rounds. `{command()}`"
        )
        cost_text = scale_report(KINDS[kind], rates["shopwindow"], listed_per_s)
        publish(rates_text, options.write, f"bulk {kind}")
        publish(cost_text, options.write and options.write.with_name("scale.md"), f"scale {kind}")


def take(folder: Path, count: int) -> list[Path]:
    """Return so many photos of a folder, again from the first where it has fewer."""
    photos = sorted(folder.rglob("*.jpg"))
    if not photos:
        sys.exit(f"{folder} has no photos (*.jpg)")
    return list(islice(cycle(photos), count))


def unpack(name: str, folder: Path) -> Path:
    """Unpack an archive of the shared data."""
    archive = SHARED / f"{name}.tar.xz"
    if not archive.is_file():
        sys.exit(f"expected {archive}, or the photos themselves as an option")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / name, filter="data")
    return folder / name


def measure(
    photos: Sequence[Path], folder: Path, rounds: int, with_ray: bool
) -> dict[str, list[float]]:
    """Return images per second of each contestant in each round."""
    photo_list = folder / "photos.csv"
    photo_list.write_text("\n".join(["image", *map(str, photos), ""]))
    contestants: dict[str, Callable[[], Seconds]] = {
        "limit": lambda: bare_limit(photos),
        "shopwindow": lambda: whole_command(photo_list, folder),
        "killed": lambda: killed_command(photo_list, folder),
        # A tenth is enough to know its pace.
        "loop": lambda: 10 * plain_loop(photos[: len(photos) // 10]),
    }
    if with_ray:
        contestants["Ray Data"] = lambda: ray_data(photos, folder)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            rates[name].append(len(photos) / run())
            print(f"  {name:12} {rates[name][-1]:10.1f} images/s", file=sys.stderr)
    return rates


def bare_limit(photos: Sequence[Path]) -> Seconds:
    """Decode and run on every core; the clock starts when all models are ready."""
    context = get_context("spawn")
    cores = available_cores()
    ready = context.Barrier(cores + 1)
    processes = [
        context.Process(target=_decode_and_run, args=(photos[core::cores], ready))
        for core in range(cores)
    ]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
    return time.perf_counter() - start


def _decode_and_run(photos: Sequence[Path], ready: Any) -> None:
    predictor = load_predictor(threads=1)
    ready.wait()
    for start in range(0, len(photos), BATCH):
        images = [predictor.prepare(path.read_bytes()) for path in photos[start : start + BATCH]]
        predictor.probabilities(np.stack(images))


def plain_loop(photos: Sequence[Path]) -> Seconds:
    """One image after another, as people write it first."""
    predictor = load_predictor()
    start = time.perf_counter()
    for path in photos:
        predictor.predict_bytes([path.read_bytes()])
    return time.perf_counter() - start


def whole_command(photo_list: Path, folder: Path) -> Seconds:
    """Time `shopwindow predict`, its start and its end included."""
    start = time.perf_counter()
    subprocess.run(_command(photo_list, folder), check=True)
    return time.perf_counter() - start


def killed_command(photo_list: Path, folder: Path) -> Seconds:
    """Kill the command when half of its shards are done, and give it again."""
    start = time.perf_counter()
    process = subprocess.Popen(_command(photo_list, folder))
    journal = folder / "rows.csv.partial" / "_done.jsonl"
    count = len(photo_list.read_bytes().splitlines()) - 1
    half = max(1, count // shard_size(count) // 2)
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if journal.read_bytes().count(b"\n") >= half:
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    process.kill()
    process.wait()
    subprocess.run(_command(photo_list, folder), check=True)
    return time.perf_counter() - start


def _command(photo_list: Path, folder: Path) -> list[str]:
    output = str(folder / "rows.csv")
    return [sys.executable, "-m", "shopwindow", "predict", str(photo_list), "--output", output]


def ray_data(photos: Sequence[Path], folder: Path) -> Seconds:
    """Ray Data as its documentation has it: an actor with the model, batches, Parquet."""
    import ray

    cores = available_cores()
    # Each actor holds a processor for good, and reading and writing are tasks that want one too.
    ray.init(
        num_cpus=2 * cores,
        logging_level=logging.ERROR,
        include_dashboard=False,
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        start = time.perf_counter()
        rows = ray.data.from_items([{"path": str(path)} for path in photos])
        answered = rows.repartition(4 * cores).map_batches(
            _Actor, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=cores), num_cpus=1
        )
        answered.write_parquet(str(folder / f"ray-{time.time_ns()}"))
        return time.perf_counter() - start
    finally:
        ray.shutdown()


class _Actor:
    def __init__(self) -> None:
        self._predictor = load_predictor(threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = self._predictor.predict_bytes([Path(p).read_bytes() for p in batch["path"]])
        batch["label"] = np.array([getattr(answer, "label", "") for answer in answers])
        batch["confidence"] = np.array([getattr(answer, "confidence", 0.0) for answer in answers])
        return batch


def listing_rate(folder: Path) -> float:
    """Return how many names a second are read from a folder, sorted and written to the list."""
    names = folder / "names"
    names.mkdir()
    count = 20_000
    for number in range(count):
        (names / f"{number:09}.jpg").touch()
    start = time.perf_counter()
    manifest = write_manifest(list_inputs([str(names)]), folder / "inputs")
    assert manifest.count == count  # noqa: S101
    return count / (time.perf_counter() - start)


def report(rates: dict[str, list[float]]) -> str:
    """Return rates and ratios as Markdown."""
    names = {
        "limit": "the limit: decode and run, on every core",
        "shopwindow": "`shopwindow predict`, all of it",
        "killed": "the same, killed half-way and started again",
        "loop": "a plain loop",
        "Ray Data": "Ray Data, a hand-written actor per core",
    }
    rows = []
    for name, found in rates.items():
        ratios = [rate / limit for rate, limit in zip(found, rates["limit"], strict=True)]
        rows.append(
            [names[name], f"{statistics.median(found):,.0f}", f"{statistics.median(ratios):.2f}"]
        )
    return table(["", "images/s", "of the limit"], rows)


def scale_report(kind: str, rates: list[float], listed_per_s: float) -> str:
    """Return what a million and a hundred million photos cost, from the rates measured here."""
    rows = []
    per_core = statistics.median(rates) / available_cores()
    for count, cores in ((10**6, 16), (10**6, 64), (10**8, 64), (10**8, 1024)):
        hours = simulate(count, cores, per_core) / 3600
        core_hours = count / per_core / 3600
        rows.append(
            [
                f"{count:,} {kind}",
                f"{core_hours:,.0f}",
                f"{cores:,}",
                f"{count / listed_per_s / 60:.0f}",
                f"{hours:.1f}",
                f"{core_hours / cores / hours:.2f}",
            ]
        )
    columns = ["", "core-hours", "cores", "listing, min", "then hours", "cores busy"]
    return (
        f"{table(columns, rows)}\n\nFrom {per_core:.1f} images a second and core, and "
        f"{listed_per_s:,.0f} names a second, measured on {machine()}. Hours and the fraction of "
        "time that cores are busy are simulated: the shards of such a run, handed out one by one; "
        "their times vary by 15 %, and one in a hundred takes three times as long."
    )


def simulate(count: int, cores: int, per_core: float) -> Seconds:
    """Hand out the shards of a run to cores, and return when the last is done."""
    size = shard_size(count)
    sizes = chain([size] * (count // size), [count % size] if count % size else [])
    chance = np.random.default_rng(42)
    free = [0.0] * cores
    for images in sizes:
        slowness = chance.lognormal(0, 0.15) * (3 if chance.random() < 0.01 else 1)
        heapq.heapreplace(free, free[0] + slowness * images / per_core)
    return max(free)


if __name__ == "__main__":
    main()
