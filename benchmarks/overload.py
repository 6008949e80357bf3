"""What becomes of answers when three times as much is asked as can be answered, and who pays.

    python benchmarks/overload.py [--against ../another-checkout] [--rounds 5] [--write PAGE]

A server is first loaded by 64 askers, which gives its peak, and then by questions at random
moments, three times as many as that. Most of these must be refused, and each refusal takes from the
same cores as the answers; so does the load generator, a process of its own, which no visitor brings
along. With `--against`, a second checkout of this project (an older commit, say) is measured in
turns with this one.

What a refusal costs is what the server's processes used beyond the accepted questions, each counted
as at the peak.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contenders import Contender, Running, drive, line_up, running
from sections import command, machine, table, write_section
from serving import make_images
from shopwindow.bundle import bundled_model_path
from shopwindow.inference.engine import available_cores

ROOT = Path(__file__).resolve().parents[1]
ASKERS = 64


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of one server.

    Attributes:
        answered_per_s: Answers with status 200, per second.
        refused_per_s: Answers with status 503, per second.
        failed: Other answers, and none.
        p99_s: 99th percentile of the time of an answer with status 200.
        server_s: Processor time of the server per second.
        load_s: Processor time of the load generator per second.
    """

    answered_per_s: float
    refused_per_s: float
    failed: float
    p99_s: float
    server_s: float
    load_s: float


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled_model_path(), help="A bundle.")
    parser.add_argument("--against", type=Path, help="Another checkout, measured in turns.")
    parser.add_argument("--load", type=float, default=3, help="Times the peak.")
    parser.add_argument("--seconds", type=float, default=6, help="Each turn.")
    parser.add_argument("--rounds", type=int, default=5, help="Turns of each server.")
    parser.add_argument("--write", type=Path, help="Put the table into this Markdown file.")
    options = parser.parse_args()
    (image,) = make_images(["60 x 80 pixels"]).values()
    contenders = checkouts(options.model.resolve(), options.against)
    turns: dict[str, list[tuple[Turn, Turn]]] = {one.name: [] for one in contenders}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(contenders, options.model.resolve(), Path(folder), image) as servers,
    ):
        for number in range(options.rounds):
            for one in servers if number % 2 else servers[::-1]:
                peak = _turn(one, image, concurrency=ASKERS, seconds=options.seconds)
                rate = options.load * peak.answered_per_s
                flood = _turn(one, image, rate=rate, seconds=options.seconds)
                turns[one.contender.name].append((peak, flood))
    text = report(turns, options.load)
    print(text)
    if options.write:
        write_section(options.write, "overload", text)


def checkouts(model: Path, against: Path | None) -> list[Contender]:
    """Return this checkout as a server, and another one beside it where one is named."""
    (ours,) = line_up(model, Path(), ["shopwindow"])
    found = []
    for name, checkout in (("this checkout", ROOT), ("the other", against)):
        if checkout is None:
            continue
        source = checkout.resolve() / "src"
        if not source.is_dir():
            sys.exit(f"{checkout}: expected a checkout of this project, found no src in it")
        found.append(Contender(name, ("env", f"PYTHONPATH={source}", *ours.command), ours.ask))
    return found


def _turn(one: Running, image: bytes, **how: float) -> Turn:
    before = one.cpu_seconds()
    outcome = drive(one, image, **how)
    spent_s = one.cpu_seconds() - before
    statuses = [status for status, _ in outcome["outcomes"]]
    times = [seconds for status, seconds in outcome["outcomes"] if status == 200]
    seconds = max(how["seconds"], outcome["seconds"])  # until the last answer
    return Turn(
        len(times) / seconds,
        statuses.count(503) / seconds,
        (len(statuses) - len(times) - statuses.count(503)) / max(1, len(statuses)),
        float(np.quantile(times, 0.99)) if times else float("nan"),
        spent_s / seconds,
        outcome["cpu_seconds"] / seconds,
    )


def report(turns: dict[str, list[tuple[Turn, Turn]]], load: float) -> str:
    """Return the table; each figure is the median of the rounds."""
    rows: list[list[object]] = []
    for name, pairs in turns.items():
        kept = statistics.median(
            flood.answered_per_s / peak.answered_per_s for peak, flood in pairs
        )
        refusal_s = statistics.median(
            (flood.server_s - flood.answered_per_s * peak.server_s / peak.answered_per_s)
            / max(1e-9, flood.refused_per_s)
            for peak, flood in pairs
        )
        peaks, floods = zip(*pairs, strict=True)
        for what, ones, of_peak, refusal in (
            ("at its peak", peaks, "", ""),
            (f"at {load:g} x that", floods, f"{kept:.2f}", f"{1e3 * refusal_s:.2f}"),
        ):
            rows.append(
                [
                    f"{name}, {what}",
                    f"{_median(ones, 'answered_per_s'):.1f}",
                    of_peak,
                    f"{_median(ones, 'refused_per_s'):.1f}",
                    f"{_median(ones, 'failed'):.0%}",
                    f"{1e3 * _median(ones, 'p99_s'):.0f}",
                    f"{_median(ones, 'server_s') / available_cores():.0%}",
                    f"{_median(ones, 'load_s') / available_cores():.0%}",
                    refusal,
                ]
            )
    columns = [
        *("", "answers/s", "of the peak", "refusals/s", "failed", "p99 ms"),
        *("processor: server", "load generator", "ms of it per refusal"),
    ]
    return f"## Overload\n\n{machine()}. `{command()}`\n\n{table(columns, rows)}"


def _median(turns: tuple[Turn, ...], name: str) -> float:
    return statistics.median(getattr(turn, name) for turn in turns)


if __name__ == "__main__":
    main()
