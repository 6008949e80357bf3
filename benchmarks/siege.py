"""Clients that are slow, broken or hostile: does the app go on answering, and give nothing away?

    python benchmarks/siege.py [--minutes 10] [--write docs/benchmarks.md]

While each attack lasts, another process asks `/health/live` again and again over new connections,
and takes the time. Then the app is kept at saturation for some minutes by clients that compare each
answer with what the same model said offline. Everything stays on 127.0.0.1. The exit code is 1
where a promise is broken.
"""

from __future__ import annotations

import argparse
import http.client
import io
import multiprocessing
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
from PIL import Image

from sections import machine, publish, table
from served import running_app
from soak import soak

MAX_LIVE_S = 0.1
MAX_GROWTH_BYTES = 20_000_000
_PROBE_EVERY_S = 0.02

Address = tuple[str, int]


# --- what is watched


@dataclass(slots=True)
class Live:
    """How long `/health/live` took while something else went on.

    Attributes:
        seconds: Of each answer, with its connection.
        failed: Questions without the right answer.
    """

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def worst_s(self) -> float:
        """The slowest answer."""
        return max(self.seconds, default=float("inf"))

    @property
    def median_s(self) -> float:
        """The answer in the middle."""
        return statistics.median(self.seconds) if self.seconds else float("inf")


@contextmanager
def watching(address: Address) -> Iterator[Live]:
    """Ask `/health/live` until the context ends, from a process of its own."""
    live = Live()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_probe, args=(address, theirs))
    process.start()
    try:
        ours.recv()  # it has asked once
        yield live
    finally:
        ours.send(None)
        live.seconds, live.failed = ours.recv()
        process.join()


def _probe(address: Address, pipe: Connection) -> None:
    seconds: list[float] = []
    failed = 0
    while not pipe.poll(_PROBE_EVERY_S):
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(*address, timeout=30)
            connection.request("GET", "/health/live")
            failed += connection.getresponse().status != 200
            connection.close()
        except OSError:
            failed += 1
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            pipe.send(None)
    pipe.send((seconds, failed))


# --- attacks; each returns what happened, in words


def slow_bodies(address: Address, *, clients: int = 100, seconds: float = 20) -> str:
    """Clients that announce a picture and then send a byte a second."""
    head = (
        b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        b"Content-Length: 100000\r\n\r\n"
    )
    return _drip(address, head, clients, seconds)


def slow_headers(address: Address, *, clients: int = 100, seconds: float = 20) -> str:
    """Clients that send even the head of their request a byte a second."""
    return _drip(address, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", clients, seconds)


def _drip(address: Address, start: bytes, clients: int, seconds: float) -> str:
    sockets = [socket.create_connection(address, timeout=30) for _ in range(clients)]
    closed = 0
    try:
        for client in sockets:
            client.sendall(start)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for client in sockets:
                with suppress(OSError):
                    client.send(b"a")
            time.sleep(1)
        for client in sockets:
            client.settimeout(0)
            try:
                closed += client.recv(1) == b""
            except BlockingIOError:
                pass
            except OSError:
                closed += 1
    finally:
        for client in sockets:
            client.close()
    return f"{clients} sockets for {seconds:g} s, {closed} of them closed by the app"


def half_closed(address: Address, *, clients: int = 200) -> str:
    """Clients that close their side in the middle of a request, or right after it."""
    whole = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    sockets = []
    for number in range(clients):
        client = socket.create_connection(address, timeout=30)
        client.sendall((whole, head + b"x" * 10, b"GET / HT", b"")[number % 4])
        client.shutdown(socket.SHUT_WR)
        sockets.append(client)
    ends: Counter[str] = Counter()
    for number, client in enumerate(sockets):
        asked = "broken off" if number % 4 else "whole"
        with client:
            try:
                answer = b"".join(iter(partial(client.recv, 65536), b""))
                ends[f"{answer[9:12].decode() or 'closed'} ({asked})"] += 1
            except OSError as error:
                ends[f"{type(error).__name__} ({asked})"] += 1
    return _counted(ends)


def many_connections(address: Address, *, connections: int = 10_000) -> str:
    """One connection after the other: two in three ask something, the third only comes and goes."""
    answers: Counter[str] = Counter()
    for number in range(connections):
        with socket.create_connection(address, timeout=30) as client:
            # Reset at the end: the system would keep 10,000 closed ports for a minute.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if number % 3 == 2:
                answers["none asked"] += 1
                continue
            path = (b"/health/live", b"/about")[number % 3]
            client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            answers[client.recv(65536)[9:12].decode()] += 1
    return _counted(answers)


def endless_bodies(address: Address, *, clients: int = 4, seconds: float = 20) -> str:
    """Bodies without an end: chunk after chunk, and a length of a terabyte."""
    heads = (b"Transfer-Encoding: chunked", b"Content-Length: 1000000000000")
    pieces = (b"10000\r\n" + bytes(65536) + b"\r\n", bytes(65536))
    ends: Counter[str] = Counter()
    sent = [0] * clients

    def send(number: int) -> None:
        deadline = time.monotonic() + seconds
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(
                b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                + heads[number % 2]
                + b"\r\n\r\n"
            )
            try:
                while time.monotonic() < deadline:
                    client.sendall(pieces[number % 2])
                    sent[number] += 65536
            except OSError:
                pass
            try:
                ends[client.recv(65536)[9:12].decode() or "closed"] += 1
            except OSError as error:
                ends[type(error).__name__] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, range(clients)))
    return f"{_counted(ends)}; at most {max(sent) / 1e6:.0f} MB taken from one client"


def wrong_lengths(address: Address, *, clients: int = 100) -> str:
    """Content-Length too short, too long, negative, twice, no number."""
    body = _picture("red")
    ends: Counter[str] = Counter()
    for number in range(clients):
        length = (
            str(len(body) - 20),  # what is left over is no request
            str(len(body) + 20),  # never comes: the client hangs up
            "-1",
            f"{len(body)}\r\nContent-Length: 3",
            "many",
        )[number % 5]
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(
                b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                + f"Content-Length: {length}\r\n\r\n".encode()
                + body
            )
            if number % 5 == 1:
                client.shutdown(socket.SHUT_WR)
            try:
                ends[client.recv(65536)[9:12].decode() or "closed"] += 1
            except OSError as error:
                ends[type(error).__name__] += 1
    return _counted(ends)


def many_parts(address: Address, *, requests: int = 50, parts: int = 1000) -> str:
    """Forms of a thousand parts."""
    files = [("image", ("x.png", b"x")) for _ in range(parts)]
    with httpx.Client(base_url=_url(address), timeout=60) as client:
        answers = [client.post("/api/v1/predict", files=files) for _ in range(requests)]
    return _counted(Counter(str(answer.status_code) for answer in answers))


HOSTILE_NAMES = (
    "../../../../etc/passwd",
    "C:\\Windows\\system32\\con.png",
    "name.png\x00.exe",
    "x\r\nSet-Cookie: a=b",
    '"><script>alert(1)</script>.png',
    "{{ 7*7 }}${7*7}%s%n",
    "a" * 10_000 + ".png",
    "\u202egnp.exe",
    "😀" * 100,
    "",
    ";filename=other.png",
    "nul\udce4",
)


def hostile_names(address: Address) -> str:
    """File names that mean something to a shell, a path, a page, a header or a log."""
    picture = _picture("red")
    answers: Counter[str] = Counter()
    with httpx.Client(base_url=_url(address), timeout=60) as client:
        for name in HOSTILE_NAMES:
            for path, field_name in (("/api/v1/predict", "image"), ("/", "image-file")):
                body = _form(field_name, name.encode("utf-8", "surrogateescape"), picture)
                headers = {"Content-Type": "multipart/form-data; boundary=b"}
                answer = client.post(path, content=body, headers=headers)
                told = name in answer.text if len(name) > 20 else False
                answers["name told" if told else str(answer.status_code)] += 1
    return _counted(answers)


def _form(field_name: str, name: bytes, content: bytes) -> bytes:
    quoted = name.replace(b'"', b'\\"')
    return (
        b'--b\r\nContent-Disposition: form-data; name="' + field_name.encode()
        + b'"; filename="' + quoted + b'"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )  # fmt: skip


ATTACKS: tuple[Callable[..., str], ...] = (
    slow_bodies,
    slow_headers,
    half_closed,
    many_connections,
    endless_bodies,
    wrong_lengths,
    many_parts,
    hostile_names,
)


def _picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _url(address: Address) -> str:
    return f"http://{address[0]}:{address[1]}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counter.items()))


# --- the whole


def main() -> int:
    """Run everything, print the tables, and say what is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of saturation [10]")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    rows: list[list[object]] = []
    broken: list[str] = []
    with running_app() as served:
        for attack in ATTACKS:
            with watching(served.address) as live:
                said = attack(served.address)
            if live.failed or live.worst_s > MAX_LIVE_S:
                broken.append(
                    f"{attack.__name__}: /health/live took up to {live.worst_s:.3f} s, "
                    f"{live.failed} times without an answer"
                )
            name = attack.__name__.replace("_", " ")
            rows.append([name, said, f"{live.median_s * 1e3:.1f}", f"{live.worst_s * 1e3:.0f}"])
        with watching(served.address) as live:
            found = soak(served, seconds=60 * options.minutes)
        peak_mb = served.peak_resident_bytes / 1e6
    rows.append(
        ["saturation, 32 clients", f"{found.seconds:.0f} s", f"{live.median_s * 1e3:.1f}",
         f"{live.worst_s * 1e3:.0f}"]
    )  # fmt: skip
    if found.crossed or found.lost:
        broken.append(f"saturation: {found.crossed} crossed and {found.lost} lost answers")
    if found.growth_bytes > MAX_GROWTH_BYTES:
        broken.append(f"saturation: memory grew by {found.growth_bytes / 1e6:.0f} MB")
    columns = ["attack", "what happened", "live, median ms", "live, worst ms"]
    text = (
        f"## Slow, broken and hostile clients\n\n`python benchmarks/siege.py --minutes "
        f"{options.minutes:g}`. {machine()}.\n\n{table(columns, rows)}\n\n"
        f"At saturation: {found.answered:,} answers as predicted offline, {found.crossed} crossed, "
        f"{found.lost} lost, {found.busy:,} told to retry; memory "
        f"{found.growth_bytes / 1e6:+.0f} MB from the first quarter to the end, "
        f"{peak_mb:.0f} MB at most."
    )
    publish(text, options.write, "siege")
    for line in broken:
        print("BROKEN:", line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
