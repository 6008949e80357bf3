"""Each benchmark has one section in docs/benchmarks.md, between markers of its own."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from shopwindow.atomic_write import write_atomically


def publish(text: str, page: Path | None, name: str) -> None:
    """Print a text (Markdown), and put it between the markers `name` of a page, if there is one.

    Markers that the page lacks are added at its end.
    """
    print(text)
    if page is None:
        return
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    before = page.read_text("utf-8") if page.exists() else "# Benchmarks\n"
    found = re.compile(rf"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(before):
        after = found.sub(lambda _: section, before)
    else:
        after = f"{before.rstrip()}\n\n{section}\n"
    write_atomically(page, after.encode())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; every column but the first is aligned to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def command() -> str:
    """Return what was asked for, without where it is written and where on this machine data lie."""
    words = sys.argv[1:]
    if "--write" in words:
        at = words.index("--write")
        del words[at : at + 2]
    names = [Path(word).name if "/" in word else word for word in words]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *names])


def machine() -> str:
    """Return what was measured on, in one line: the processor and how many of its cores."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        processor = named[1] if named else processor
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor}, {cores} cores, Python {platform.python_version()}"
