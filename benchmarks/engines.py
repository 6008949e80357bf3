"""What runs the model fastest: onnxruntime and OpenVINO, in each precision, by batch and threads.

    python benchmarks/engines.py [--model M] [--float F] [--images DIR] [--write docs/benchmarks.md]

Wall clock and processor time per image, for batches of 1 to 32; for a batch of 8 also with several
threads and streams (runs at a time). All are timed in turns, a few runs each, so that what else the
machine does falls on all of them alike. With `--images`, a folder of photos, it also says on how
many the first answer is that of onnxruntime in float32, or of the first row where that is missing:
what a precision costs in accuracy.

A model in 8 bits is compared with the one in float that it was made of, where `--float` names it.
That of the bundled model is in the history: git show 6022eac:src/shopwindow/models/fashion.onnx
Of a model in float, what `shopwindow export --int8` would make of it is tried too, calibrated on
half of these photos and judged on the other half. It needs the packages of the development
environment.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.bundle import Bundle, arithmetic_of, bundled_model_path, read_bundle
from shopwindow.errors import ImageError
from shopwindow.imaging.formats import IMAGE_SUFFIXES
from shopwindow.inference.engine import (
    Engine,
    OnnxRuntimeEngine,
    available_cores,
    computes_bf16,
)
from shopwindow.inference.openvino import OpenVinoEngine
from shopwindow.inference.predictor import load_predictor
from shopwindow.training.int8 import CALIBRATION_IMAGES, to_int8

Images = NDArray[np.uint8]
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run the model."""

    name: str
    open: Callable[[int], Engine]  # threads -> engine


def main() -> None:
    """Time what the command line asks for, and print tables."""
    options = parse()
    bundle = read_bundle(options.model or bundled_model_path())
    images = read_images(options.model, options.images, most=16 if options.quick else 1000)
    contenders = line_up(models_of(bundle, options.float, images))
    text = "\n\n".join(report(contenders, images, bundle.info.main.name, options))
    publish(text, options.write, "engines")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="A bundle; the bundled one where left out.")
    parser.add_argument("--float", type=Path, help="The bundle that MODEL, in 8 bits, was made of.")
    parser.add_argument("--images", type=Path, help="A folder of photos, to compare answers on.")
    parser.add_argument("--quick", action="store_true", help="Only show that it works.")
    parser.add_argument("--write", type=Path, help="Put the tables into this Markdown file.")
    return parser.parse_args()


def read_images(model: Path | None, folder: Path | None, *, most: int) -> Images:
    """Return photos at the size of the model, or noise where no folder is given."""
    predictor = load_predictor(model, threads=1)
    if folder is None:
        rule = predictor.bundle.info.rule
        random = np.random.default_rng(0)
        return random.integers(0, 256, (most, rule.height_px, rule.width_px, 3), np.uint8)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    images = []
    for path in paths[:: max(1, len(paths) // most)][:most]:
        try:
            images.append(predictor.prepare(path.read_bytes()))
        except ImageError as error:
            print(f"{path}: {error}", file=sys.stderr)
    if len(images) < most // 10:
        sys.exit(f"{folder}: expected at least {most // 10} photos, found {len(images)}.")
    return np.stack(images)


def models_of(bundle: Bundle, in_float: Path | None, images: Images) -> dict[str, bytes]:
    """Return the model to time in each arithmetic that there is, float first."""
    if arithmetic_of(bundle.model) == "float32":
        if in_float is not None:
            sys.exit(
                f"--float {in_float}: expected a MODEL in 8 bits beside it, "
                f"{bundle.path} is in float itself."
            )
        graph = onnx.load_model_from_string(bundle.model)
        small = to_int8(graph, images[::2][:CALIBRATION_IMAGES])
        return {"float32": bundle.model, "int8": small.SerializeToString()}
    if in_float is None:
        return {"int8": bundle.model}
    origin = read_bundle(in_float)
    expected = bundle.info.training.get("quantised", {}).get("from_sha256")
    if expected is None:
        sys.exit(f"{bundle.path} does not say what it was made of: leave --float out.")
    if origin.sha256 != expected:
        sys.exit(
            f"--float {in_float}: expected the bundle that {bundle.info.name} "
            f"{bundle.info.version} was made of, with the SHA-256 {expected}, got {origin.sha256}."
        )
    return {"float32": origin.model, "int8": bundle.model}


def line_up(models: dict[str, bytes]) -> Sequence[Contender]:
    """Return every way to run the models that this machine has."""

    def onnxruntime(model: bytes) -> Callable[[int], Engine]:
        return lambda threads: OnnxRuntimeEngine(model, threads=threads)

    def openvino(model: bytes, *, bf16: bool) -> Callable[[int], Engine]:
        return lambda threads: OpenVinoEngine(model, threads=threads, bf16=bf16)

    contenders = [Contender(f"onnxruntime {name}", onnxruntime(m)) for name, m in models.items()]
    if importlib.util.find_spec("openvino") is None:
        return contenders
    contenders += [
        Contender(f"OpenVINO {name}", openvino(m, bf16=False)) for name, m in models.items()
    ]
    if computes_bf16() and "float32" in models:
        contenders.append(Contender("OpenVINO bfloat16", openvino(models["float32"], bf16=True)))
    return contenders


def report(
    contenders: Sequence[Contender], images: Images, main_column: str, options: argparse.Namespace
) -> list[str]:
    """Time all contenders and return the parts of the report."""
    rounds = 1 if options.quick else 9
    batches = (1, 2) if options.quick else BATCHES
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("onnxruntime", "openvino")
        if importlib.util.find_spec(name)
    )
    parts = [f"## Engines\n\n{machine()}; {versions}. `{command()}`"]

    engines = {contender.name: contender.open(1) for contender in contenders}
    times = time_in_turns(
        {
            (name, batch): (engine, images[:batch], 1)
            for name, engine in engines.items()
            for batch in batches
        },
        rounds,
    )
    rows = [
        [name, *(f"{wall:.1f} ({cpu:.1f})" for wall, cpu in (times[name, b] for b in batches))]
        for name in engines
    ]
    heads = ["One thread: ms per image (of processor)", *(f"batch {b}" for b in batches)]
    parts.append(table(heads, rows))

    cores = available_cores()
    ways = [(cores, 2)] if options.quick else sorted({(1, 1), (cores, 1), (1, cores), (cores, 2)})
    most = 2 if options.quick else 8
    times = time_in_turns(
        {
            (contender.name, way): (contender.open(way[0]), images[:most], way[1])
            for contender in contenders
            for way in ways
        },
        rounds,
    )
    rows = [
        [contender.name, *(f"{1e3 / times[contender.name, way][0]:.0f}" for way in ways)]
        for contender in contenders
    ]
    heads = [f"Batches of {most}: images/s", *(f"{t} threads x {s} streams" for t, s in ways)]
    parts.append(table(heads, rows))

    if options.images:
        judged = images[1::2]
        answers = {
            name: first_answers(engine, judged, main_column) for name, engine in engines.items()
        }
        exact = answers[contenders[0].name]
        rows = [[name, f"{(found == exact).mean():.2%}"] for name, found in answers.items()]
        heads = [f"Same top label as {contenders[0].name}, {len(judged)} photos", "percentage"]
        parts.append(table(heads, rows))
    return parts


def time_in_turns(
    cases: dict[Any, tuple[Engine, Images, int]], rounds: int
) -> dict[Any, tuple[float, float]]:
    """Return milliseconds per image, of wall clock and of the processor; medians over the rounds.

    Args:
        cases: By name, the engine, the images of one run, and how many runs at a time.
        rounds: How often each case has its turn.
    """
    seen: dict[Any, list[tuple[float, float]]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, (engine, images, streams) in cases.items():
            runs = max(1, 16 // len(images)) if rounds > 1 else 1
            wall, cpu = time.perf_counter(), time.process_time()
            with ThreadPoolExecutor(streams) as pool:
                list(pool.map(engine.run, [images] * (runs * streams)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            count = runs * streams * len(images)
            if turn:  # the first round warms up
                seen[name].append((1e3 * wall / count, 1e3 * cpu / count))
    return {
        name: (statistics.median(w for w, _ in times), statistics.median(c for _, c in times))
        for name, times in seen.items()
    }


def first_answers(engine: Engine, images: Images, column: str) -> NDArray[np.int64]:
    """Return the number of the most probable label for each image, (N,)."""
    parts = [engine.run(images[start : start + 32])[column] for start in range(0, len(images), 32)]
    best: NDArray[np.int64] = np.concatenate(parts).argmax(1)
    return best


if __name__ == "__main__":
    main()
