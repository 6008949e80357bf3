"""Our app under the servers that could carry it: waitress, gunicorn's threads, granian, cheroot.

    python benchmarks/servers.py [--quick] [--write docs/benchmarks.md]

The same app with the same number of threads in one process; only who reads requests and writes
answers is another. All run at the same time and are loaded in turns, a few seconds each; figures
are medians over the rounds. Then each has to do with some of the clients of siege.py. Waitress is
what `shopwindow serve` runs, with all that web/server/ adds to it.

They have an environment of their own, from benchmarks/requirements.txt.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import siege
from contenders import Contender, line_up, require, running
from sections import command, machine, table, write_section
from serving import Figures, make_images, measure, median
from shopwindow.bundle import bundled_model_path
from shopwindow.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("waitress", "gunicorn gthread", "granian", "cheroot")
# Of each: 100 clients that send a body byte by byte, some without an end, some with a wrong length.
ATTACKS: dict[str, tuple[Callable[..., str], dict[str, float]]] = {
    "slow bodies": (siege.slow_bodies, {"clients": 100, "seconds": 4}),
    "endless bodies": (siege.endless_bodies, {"clients": 2, "seconds": 4}),
    "wrong lengths": (siege.wrong_lengths, {"clients": 20}),
}
THREADS = Settings().max_waiting + 8  # as `shopwindow serve` has


def main() -> None:
    """Measure what the command line asks for, and print tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the servers too
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="Environment.")
    parser.add_argument("--seconds", type=float, default=3, help="Each turn.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each server.")
    parser.add_argument("--quick", action="store_true", help="Only show that it works.")
    parser.add_argument("--write", type=Path, help="Put the tables into this Markdown file.")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 1.0, 1
    peers = options.peers.absolute()
    require(peers, NAMES)
    images = make_images(["60 x 80 pixels"] if options.quick else ["60 x 80 pixels", "100 kB"])
    askers = (1, 8) if options.quick else (1, 8, 64)
    model = bundled_model_path()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(servers(peers), model, Path(folder), next(iter(images.values()))) as started,
    ):
        seen: dict[tuple[str, int], dict[str, list[Figures]]] = {}
        for size, image in images.items():
            for count in askers:
                turns = seen[size, count] = {name: [] for name in NAMES}
                for number in range(options.rounds):
                    for one in started if number % 2 else started[::-1]:
                        figures = measure(one, image, concurrency=count, seconds=options.seconds)
                        turns[one.contender.name].append(figures)
        held = {one.contender.name: hold(("127.0.0.1", one.port)) for one in started}
    text = report(seen, held)
    print(text)
    if options.write:
        write_section(options.write, "servers", text)


def servers(peers: Path) -> list[Contender]:
    """Return our app under each server, all from the environment of the peers."""
    python, at = str(peers / "bin" / "python"), "127.0.0.1:PORT"
    commands = {
        "waitress": ["shopwindow", "serve", "--port", "PORT"],
        "gunicorn gthread": ["gunicorn", "our_app:app", "--bind", at, "--worker-class", "gthread",
                             "--threads", str(THREADS), "--keep-alive", "60"],
        "granian": ["granian", "our_app:app", "--interface", "wsgi", "--port", "PORT",
                    "--blocking-threads", str(THREADS)],
        "cheroot": ["cheroot", "our_app:app", "--bind", at, "--threads", str(THREADS)],
    }  # fmt: skip
    # Feedback would be kept by the first only.
    settings = ("env", f"PYTHONPATH={ROOT / 'src'}", "SHOPWINDOW_FEEDBACK=off")
    (ours,) = line_up(bundled_model_path(), peers, ["shopwindow"])
    return [
        Contender(name, (*settings, python, "-m", *words), ours.ask)
        for name, words in commands.items()
    ]


def hold(address: tuple[str, int]) -> list[str]:
    """Return what slow and broken clients do to a server, in words for each of `ATTACKS`."""
    cells = []
    for attack, size in ATTACKS.values():
        with siege.watching(address) as live:
            try:
                said = attack(address, **size)
            except OSError as error:
                said = f"broken off ({type(error).__name__})"
        worst = f"{1e3 * live.worst_s:,.0f} ms"
        cells.append(f"{said}; live: {worst}" + (f", {live.failed} failed" * bool(live.failed)))
    return cells


def report(
    seen: dict[tuple[str, int], dict[str, list[Figures]]], held: dict[str, list[str]]
) -> str:
    """Return the tables."""
    parts = [f"## Servers under the app\n\n{machine()}. `{command()}`"]
    heads = [
        *("images/s", "p50 ms", "p99 ms", "processor ms per image"),
        *("times waitress", "by processor", "not answered"),
    ]
    for (size, count), turns in seen.items():
        first = turns[NAMES[0]]
        rows: list[list[object]] = []
        for name, rounds in turns.items():
            one = median(rounds)
            pairs = list(zip(rounds, first, strict=True))
            times = statistics.median(a.images_per_s / b.images_per_s for a, b in pairs)
            by_cpu = statistics.median(b.cpu_s / a.cpu_s for a, b in pairs)
            rows.append(
                [
                    name,
                    f"{one.images_per_s:.1f}",
                    f"{1e3 * one.p50_s:.1f}",
                    f"{1e3 * one.p99_s:.1f}",
                    f"{1e3 * one.cpu_s:.1f}",
                    f"{times:.2f}",
                    f"{by_cpu:.2f}",
                    f"{one.refused + one.failed:.0%}",
                ]
            )
        parts.append(table([f"JPEG of {size}, {count} at a time", *heads], rows))
    rows = [[name, *cells] for name, cells in held.items()]
    parts.append(
        table(["What clients do, and the slowest `/health/live` meanwhile", *ATTACKS], rows)
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
