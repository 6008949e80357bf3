"""Where the time of a lone answer goes: what is not decoding and running the model?

    python benchmarks/alone.py [--rounds 40] [--against ../another-checkout]

One client asks a server that has nothing else to do, in turns with decode + run in this process,
for a small, a usual and a large photo. The server's own figures (`/metrics`) tell its parts apart:
decoding, running, what else the app did, and what passed between the client and the app. With
`--against`, a second checkout of this project is asked in turns with this one.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from contenders import Running, running
from overload import checkouts
from sections import command, machine, table
from serving import SIZES, make_images
from shopwindow.bundle import bundled_model_path
from shopwindow.inference.predictor import Predictor, load_predictor

WARM_UP = 5
PATH = "/api/v1/predict"


@dataclass(slots=True)
class Asked:
    """What one server did for one size of photo.

    Attributes:
        seconds: Of each answer, as the client saw it.
        decode_s: As the server saw it, a mean; likewise the next two.
        run_s: See `decode_s`.
        app_s: From when a request was handed to the app until its answer was ready.
        cpu_s: Processor time of the server for an answer.
    """

    seconds: list[float] = field(default_factory=list)
    decode_s: float = 0.0
    run_s: float = 0.0
    app_s: float = 0.0
    cpu_s: float = 0.0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="Answers for each size.")
    parser.add_argument("--against", type=Path, help="Another checkout, measured in turns.")
    options = parser.parse_args()
    model = bundled_model_path()
    predictor = load_predictor(model)
    images = make_images(SIZES)
    rows: list[list[object]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(
            checkouts(model, options.against), model, Path(folder), images["100 kB"]
        ) as servers,
    ):
        for size, image in images.items():
            rows += compare(size, image, predictor, servers, options.rounds)
    columns = [
        *("milliseconds", "median", "of the limit", "decode", "run"),
        *("else in the app", "outside of it", "processor"),
    ]
    print(f"{machine()}. `{command()}`\n\n{table(columns, rows)}")


def compare(
    size: str, image: bytes, predictor: Predictor, servers: list[Running], rounds: int
) -> list[list[object]]:
    """Return the rows of the limit and of each server for one photo."""
    decode: list[float] = []
    run: list[float] = []
    cpu: list[float] = []
    asked = {one.contender.name: Asked() for one in servers}
    connections = [http.client.HTTPConnection("127.0.0.1", one.port) for one in servers]
    for number in range(WARM_UP + rounds):
        if number == WARM_UP:
            before = [(_figures(connection), one.cpu_seconds())
                      for connection, one in zip(connections, servers, strict=True)]  # fmt: skip
        start, spent = time.perf_counter(), time.process_time()
        pixels = predictor.prepare(image)
        decoded = time.perf_counter()
        predictor.predict_images(np.stack([pixels]))
        decode.append(decoded - start)
        run.append(time.perf_counter() - decoded)
        cpu.append(time.process_time() - spent)
        for connection, one in zip(connections, servers, strict=True):
            start = time.perf_counter()
            connection.request("POST", PATH, image, {"Content-Type": "image/jpeg"})
            connection.getresponse().read()
            asked[one.contender.name].seconds.append(time.perf_counter() - start)
    for connection, one, (figures, cpu_s) in zip(connections, servers, before, strict=True):
        found = asked[one.contender.name]
        found.cpu_s = (one.cpu_seconds() - cpu_s) / rounds
        after = _figures(connection)
        found.decode_s, found.run_s, found.app_s = (
            (after[name] - figures[name]) / rounds for name in ("decode", "run", "request")
        )
        connection.close()
    limit = [a + b for a, b in zip(decode, run, strict=True)][WARM_UP:]
    rows = [[
        f"{size}: decode + run", _ms(statistics.median(limit)), "1.00",
        _ms(statistics.mean(decode[WARM_UP:])), _ms(statistics.mean(run[WARM_UP:])), "", "",
        _ms(statistics.mean(cpu[WARM_UP:])),
    ]]  # fmt: skip
    for name, one in asked.items():
        seconds = one.seconds[WARM_UP:]
        ratio = statistics.median(a / b for a, b in zip(seconds, limit, strict=True))
        rows.append([
            f"{size}: {name}", _ms(statistics.median(seconds)), f"{ratio:.2f}",
            _ms(one.decode_s), _ms(one.run_s), _ms(one.app_s - one.decode_s - one.run_s),
            _ms(statistics.mean(seconds) - one.app_s), _ms(one.cpu_s),
        ])  # fmt: skip
    return rows


def _figures(connection: http.client.HTTPConnection) -> dict[str, float]:
    """Return the seconds that a server has spent so far, by what on."""
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return {
        sample.name.removeprefix("shopwindow_").removesuffix("_seconds_sum"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_seconds_sum") and sample.labels.get("endpoint", PATH) == PATH
    }


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


if __name__ == "__main__":
    main()
