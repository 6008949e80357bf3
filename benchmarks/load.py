"""The load generator, in its own process so that its processor time is counted separately.

    python load.py < plan.json > outcome.json

The plan has `port`, `seconds`, `requests` (base64 of whole HTTP requests that are sent one after
another and make up one question; `{event_id}` in a later one comes from the previous response), and
either `concurrency` (a closed loop: that many clients, each of which asks again when answered) or
`rate` (an open loop: that many questions per second at random moments, answered or not).
The outcome lists the HTTP status (0: no answer) and the seconds of each question, and the processor
time of the load generator itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 60

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """A plan, and what came of it.

    Attributes:
        port: On 127.0.0.1.
        requests: Whole HTTP requests of one question.
        outcomes: Status and seconds of each question that was asked.
    """

    port: int
    requests: list[bytes]
    outcomes: list[tuple[int, float]] = field(default_factory=list)
    _idle: list[Connection] = field(default_factory=list)

    async def ask(self) -> None:
        """Ask once, over a connection that is kept if the server keeps it."""
        start = time.perf_counter()
        status = 0
        try:
            async with asyncio.timeout(TIMEOUT_S):
                connection = self._idle.pop() if self._idle else await self._connect()
                status, reusable = await exchange(connection, self.requests)
                if reusable:
                    self._idle.append(connection)
                else:
                    connection[1].close()
        except (OSError, EOFError, ValueError, TimeoutError):
            pass
        self.outcomes.append((status, time.perf_counter() - start))

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def closed_loop(self, concurrency: int, seconds: float) -> None:
        """Keep so many questions under way; those that end after the time do not count."""
        end = time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                await self.ask()
                if self.outcomes[-1][0] == 0:
                    await asyncio.sleep(0.05)  # a server that refuses connections is not hammered

        await asyncio.gather(*(client() for _ in range(concurrency)))

    async def open_loop(self, rate: float, seconds: float) -> None:
        """Ask at the moments of a Poisson process."""
        moments = random.Random(0)  # noqa: S311 - the same moments for all
        start = time.perf_counter()
        due, asked = 0.0, []
        while (due := due + moments.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            asked.append(asyncio.create_task(self.ask()))
        await asyncio.gather(*asked)


async def exchange(connection: Connection, requests: list[bytes]) -> tuple[int, bool]:
    """Return the status of the last answer, and whether the connection can be used again."""
    reader, writer = connection
    status, reusable, event_id = 0, False, b""
    for request in requests:
        writer.write(request.replace(b"{event_id}", event_id))
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(None, 2)[1])
        body = await read_body(reader, head)
        reusable = b"connection: close" not in head and b"http/1.0" not in head
        if status != 200:
            break
        if b"event_id" in body:
            event_id = str(json.loads(body)["event_id"]).encode()
        if body.startswith(b"event: error"):
            status = 500
    return status, reusable


async def read_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Return the body of an answer."""
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return await reader.readexactly(int(line.split(b":")[1]))
    if b"transfer-encoding: chunked" not in head:
        return await reader.read()
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Do what the plan says."""
    load = Load(plan["port"], [base64.b64decode(request) for request in plan["requests"]])
    start = time.perf_counter()
    if "rate" in plan:
        await load.open_loop(plan["rate"], plan["seconds"])
    else:
        await load.closed_loop(plan["concurrency"], plan["seconds"])
    seconds = time.perf_counter() - start
    return {"outcomes": load.outcomes, "seconds": seconds, "cpu_seconds": time.process_time()}


if __name__ == "__main__":
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
