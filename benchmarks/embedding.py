"""What the embedding costs: the same network with that output and without it.

    python benchmarks/embedding.py --model M [--rounds 60] [--write docs/benchmarks.md]

M is a bundle with an embedding. Both networks run in turn, one image on one thread, and the figure
is the ratio within a round: what else the machine does changes from one round to the next.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx

from sections import machine, publish, table
from shopwindow.bundle import EMBEDDING_OUTPUT, read_bundle
from shopwindow.errors import UsageError
from shopwindow.inference.engine import EngineName, open_engine

RUNS = 8  # of each network in a round
GOAL = 1.02


def main() -> None:
    """Time both networks and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="A bundle with an embedding.")
    parser.add_argument("--rounds", type=int, default=60, help="How often to run both.")
    parser.add_argument("--write", type=Path, help="Put the table into this Markdown file.")
    options = parser.parse_args()
    bundle = read_bundle(options.model)
    if not bundle.info.embedding:
        raise UsageError(f"{options.model}: expected a bundle with an embedding.")
    rule = bundle.info.rule
    image = np.random.default_rng(0).integers(
        0, 256, (1, rule.height_px, rule.width_px, 3), np.uint8
    )
    engines: list[EngineName] = ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]  # type: ignore[list-item]
    rows = []
    for name in engines:
        runs = [
            runner(model, name, image) for model in (bundle.model, without_embedding(bundle.model))
        ]
        with_it, without = time_in_turn(runs, options.rounds)
        ratio = statistics.median(a / b for a, b in zip(with_it, without, strict=True))
        medians = (f"{1000 * statistics.median(times):.2f}" for times in (without, with_it))
        rows.append([name, *medians, f"{ratio:.3f}", f"{GOAL:g}"])
    heads = ["engine", "without: ms", "with: ms", "ratio", "goal"]
    text = (
        f"## The embedding\n\n{machine()}. `python benchmarks/embedding.py`: one image, one "
        f"thread; medians of {options.rounds} rounds in turn.\n\n{table(heads, rows)}"
    )
    publish(text, options.write, "embedding")


def runner(model: bytes, name: EngineName, image: np.ndarray) -> Callable[[], object]:
    """Return what runs a network once on an image, warmed up."""
    engine = open_engine(model, threads=1, name=name)
    for _ in range(3):
        engine.run(image)
    return lambda: engine.run(image)


def time_in_turn(runs: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the seconds of `RUNS` runs of each, once per round."""
    spent: list[list[float]] = [[] for _ in runs]
    for number in range(rounds):
        order = range(len(runs)) if number % 2 else reversed(range(len(runs)))
        for which in order:
            start = time.perf_counter()
            for _ in range(RUNS):
                runs[which]()
            spent[which].append((time.perf_counter() - start) / RUNS)
    return spent


def without_embedding(model: bytes) -> bytes:
    """Return the graph without the output and the nodes that make it."""
    graph = onnx.load_from_string(model)
    kept = [one for one in graph.graph.output if one.name != EMBEDDING_OUTPUT]
    needed = {one.name for one in kept}
    nodes = []
    for node in reversed(graph.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(node.input)
    nodes.reverse()
    for field, values in ((graph.graph.output, kept), (graph.graph.node, nodes)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    without: bytes = graph.SerializeToString()
    return without


if __name__ == "__main__":
    main()
