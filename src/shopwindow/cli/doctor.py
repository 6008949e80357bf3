"""doctor: what is installed here, what would run, and what is missing for what."""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click

from shopwindow import __version__
from shopwindow.cli.options import example, model_option, wanted_engine
from shopwindow.errors import ShopwindowError, how_to_install
from shopwindow.plain_text import aligned, counted, printable

State = Literal["ok", "missing", "broken"]

# What an extra is for, and a module that it brings.
_EXTRAS = {
    "train": ("fine-tuning and imports", "fastai"),
    "openvino": ("predictions with OpenVINO", "openvino"),
    "parquet": ("reading and writing Parquet", "pyarrow"),
    "remote": ("s3:// and other URLs", "s3fs"),
    "ray": ("predictions on a cluster", "ray"),
    "postgres": ("feedback in PostgreSQL", "psycopg"),
    "download": ("downloading data sets", "kagglehub"),
    "client": ("asking a server from Python", "httpx"),
}
_NAME_GPU = """
import torch
if torch.cuda.is_available():
    print(torch.cuda.get_device_name())
elif torch.backends.mps.is_available():
    print("Apple's GPU")
"""
_TIMED_RUNS = 20
_LITTLE_DISK_MB = 1_000
_LITTLE_MEMORY_MB = 700


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        what: The thing.
        state: `broken` keeps the server from working; `missing` is only missing for something.
        found: A few words.
        todo: What to do about it; "" if nothing.
    """

    what: str
    state: State
    found: str
    todo: str = ""


@click.command(
    short_help="Say what is installed and what is missing.",
    epilog=example("shopwindow doctor --model runs/photos/model.onnx"),
)
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(model: Path | None, as_json: bool) -> int:
    """Say what is installed, what would run the model and how fast, and what is missing for what.

    The exit code is 1 if a server could not work here.
    """
    findings = list(_findings(model))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        mark = {"ok": "", "missing": "–", "broken": "!"}
        rows = [(mark[one.state], one.what, one.found) for one in findings]
        for line, finding in zip(aligned(rows, "<<<"), findings, strict=True):
            click.echo(printable(line) + (f"\n       {finding.todo}" if finding.todo else ""))
    return int(any(finding.state == "broken" for finding in findings))


def _findings(model: Path | None) -> Iterator[Finding]:
    yield Finding(
        "shopwindow",
        "ok",
        f"{__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {Path(sys.prefix)}",
    )
    yield from _machine()
    yield _checked("model", lambda: _model(model))
    yield _checked("feedback", lambda: _feedback(model))
    yield _formats()
    yield from _extras()
    if find_spec("torch") is not None:
        yield _gpu()


def _checked(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except ShopwindowError as error:
        return Finding(what, "broken", str(error))


def _machine() -> Iterator[Finding]:
    from shopwindow.data.cache import default_cache_dir
    from shopwindow.inference.engine import available_cores

    yield Finding("processor", "ok", counted(available_cores(), "core"))
    if (memory_mb := _available_memory_mb()) is not None:
        little = memory_mb < _LITTLE_MEMORY_MB
        yield Finding(
            "memory",
            "missing" if little else "ok",
            f"{memory_mb:,} MB available",
            "A server needs up to 600 MB: lower SHOPWINDOW_MAX_PIXELS." if little else "",
        )
    yield _checked("disk for runs", lambda: _disk("disk for runs", Path.cwd()))
    yield _checked("disk for caches", lambda: _disk("disk for caches", default_cache_dir()))


def _disk(what: str, folder: Path) -> Finding:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free_mb = shutil.disk_usage(there).free // 1_000_000
    little = free_mb < _LITTLE_DISK_MB
    todo = "Make room: a run with decoded images takes some hundred MB." if little else ""
    return Finding(what, "missing" if little else "ok", f"{free_mb:,} MB free in {folder}", todo)


def _available_memory_mb() -> int | None:
    """Return what Linux says is available; None on other systems."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return int(found.split()[1]) // 1000 if found else None


def _model(model: Path | None) -> Finding:
    import numpy as np

    from shopwindow.inference.predictor import Predictor, load_bundle

    predictor = Predictor(load_bundle(model), threads=1, engine=wanted_engine())
    info = predictor.bundle.info
    image = np.zeros((1, info.rule.height_px, info.rule.width_px, 3), np.uint8)
    spent = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        predictor.predict_images(image)
        spent.append(time.perf_counter() - start)
    has = " and gives embeddings" if info.embedding else ""
    return Finding(
        "model",
        "ok",
        f"{info.name} {info.version}, {counted(len(info.main.labels), 'label')}; "
        f"{predictor.engine_name} takes {1000 * statistics.median(spent):.1f} ms an image on one "
        f"core{has}",
    )


def _feedback(model: Path | None) -> Finding:
    from shopwindow.feedback.opening import default_place, open_store
    from shopwindow.inference.predictor import load_bundle
    from shopwindow.settings import Settings

    settings = Settings.from_environment()
    if settings.feedback == "off":
        return Finding("feedback", "ok", "off")
    where = settings.feedback or str(default_place(load_bundle(model).info))
    if "://" not in where and not Path(where).exists():
        return Finding("feedback", "ok", f"none yet; serve will create {where}")
    store = open_store(where, make=False)
    try:
        return Finding("feedback", "ok", f"in {store.where}")
    finally:
        store.close()


def _formats() -> Finding:
    from shopwindow.settings import Settings

    return Finding("images", "ok", ", ".join(Settings.from_environment().accepted_formats))


def _extras() -> Iterator[Finding]:
    for extra, (purpose, module) in _EXTRAS.items():
        if find_spec(module) is not None:
            yield Finding(extra, "ok", f"installed, for {purpose}")
            continue
        yield Finding(extra, "missing", f"not installed, for {purpose}", how_to_install(extra))


def _gpu() -> Finding:
    # In a process of its own, as it takes seconds and a broken driver may end it.
    asked = subprocess.run(  # noqa: S603, a constant
        [sys.executable, "-c", _NAME_GPU], capture_output=True, text=True, check=False
    )
    name = printable(asked.stdout.strip())
    if name:
        return Finding("GPU", "ok", f"{name}, for fine-tuning")
    return Finding("GPU", "ok", "none that PyTorch can use; fine-tuning runs on the processor")
