"""`shopwindow serve`: the app under waitress, in one process with one model and some threads."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from flask import Flask
from waitress import wasyncore
from waitress.server import BaseWSGIServer, create_server

from shopwindow.bundle import bundled_model_path
from shopwindow.errors import UsageError
from shopwindow.feedback.retention import FORGET_EVERY_S, forget_old_photos
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.engine import EngineName, available_cores
from shopwindow.inference.model_watcher import ModelWatcher
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.periodic import Periodic
from shopwindow.settings import Settings
from shopwindow.web.app import AppState, create_app
from shopwindow.web.feedback_opening import EVERY_S, LateFeedback, open_feedback
from shopwindow.web.http_connection import Dispatcher, HttpConnection
from shopwindow.web.messages import title_of
from shopwindow.web.overload import OverloadGuard
from shopwindow.web.upload_budget import MOST_BYTES, UploadBudget

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

_SPARE_THREADS = 8
_OTHER_FILES = 100  # that are open beside connections: libraries, the model, the log
_MAX_HEADER_BYTES = 65_536

_log = logging.getLogger(__name__)


def serve(predictor: Predictor, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then return.

    The port is taken first, so that a wrong one is reported at once, and the address is printed
    when the model has run once and the first request will be answered.

    Raises:
        UsageError: The host or port cannot be listened on.
    """
    with contextlib.ExitStack() as at_last:
        _serve(predictor, settings, at_last)


def _serve(predictor: Predictor, settings: Settings, at_last: contextlib.ExitStack) -> None:
    info = predictor.bundle.info
    store = open_feedback(settings, info)
    if store is not None:
        at_last.callback(store.close)
    app = create_app(predictor, settings, store=store)
    state: AppState = app.extensions["shopwindow"]
    sockets: dict[int, Any] = {}
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    server = _listen(app, settings, sockets)
    listeners = _listeners_of(sockets)

    def keep(store: FeedbackStore) -> None:
        forget = partial(forget_old_photos, store)
        retention = Periodic(forget, every_s=FORGET_EVERY_S, name="retention", at_once=True)
        at_last.callback(retention.stop)
        retention.start()

    def take_feedback(store: FeedbackStore) -> None:
        at_last.callback(store.close)
        keep(store)
        later = create_app(state.batcher.predictor, settings, store=store, state=state)
        for listener in listeners:
            listener.application = later  # for requests that begin from now on

    repeated = [_watch(state, predictor, settings)] if settings.model_check_s else []
    if store is None and settings.feedback != "off":
        late = LateFeedback(settings, info, take_feedback)
        repeated.append(Periodic(late.look, every_s=EVERY_S, name="late-feedback"))
    stopping = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopping.is_set():  # asked twice: at once, then
            raise KeyboardInterrupt
        stopping.set()
        listeners[0].pull_trigger()  # wakes the loop

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _warm_up(predictor)
        if not stopping.is_set():
            address = _address(server, settings)
            print(f"{title_of(info)}: open {address} (Ctrl-C stops it)", flush=True)
            if store is not None:
                print(f"What people say about the answers is kept in {store.where}", flush=True)
        if store is not None:
            keep(store)
        for work in repeated:
            work.start()
        while not stopping.is_set():
            _turn(sockets, timeout_s=1)
        _drain(listeners, sockets, settings.deadline_s)
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for work in repeated:
            work.stop()
        _close(listeners, sockets)


def load_served(settings: Settings, path: Path | None = None) -> Predictor:
    """Load the model that the settings name, or another in its place.

    Raises:
        BundleError: The file is missing or not a bundle.
    """
    named = Path(settings.model) if settings.model else None
    return load_predictor(
        path or named,
        threads=settings.threads or None,
        streams=available_cores(),
        limits=ImageLimits.of(settings),
        engine=cast(EngineName, settings.engine),
    )


def _watch(state: AppState, predictor: Predictor, settings: Settings) -> Periodic:
    watch = ModelWatcher(
        predictor.bundle.path or bundled_model_path(),
        predictor,
        load=partial(load_served, settings),
        on_load=state.replace_model,
        on_refusal=partial(state.metrics.replaced, None),
    )
    return Periodic(watch.check, every_s=settings.model_check_s, name="model-watch")


def _turn(sockets: dict[int, Any], *, timeout_s: float) -> None:
    """Let everything happen that can; wait so long for something if there is nothing."""
    wasyncore.loop(timeout=timeout_s, use_poll=True, map=sockets, count=1)


def _drain(listeners: list[Any], sockets: dict[int, Any], most_s: float) -> None:
    """Take no new connections, and finish what has begun, for some seconds at most."""
    for listener in listeners:
        wasyncore.dispatcher.close(listener)  # its own `close` would take the trigger away too
    _turn(sockets, timeout_s=0)  # reads what has arrived already
    until_s = time.monotonic() + most_s
    while time.monotonic() < until_s:
        channels = [one for one in sockets.values() if isinstance(one, HttpConnection)]
        for channel in channels:
            if not channel.busy:
                channel.handle_close()
        if not any(channel.busy for channel in channels):
            return
        _turn(sockets, timeout_s=0.05)
    _log.warning("Some requests were not finished within %s seconds and are cut off", most_s)


def _allow_open_files(count: int) -> None:
    """Raise the limit of open files to what so many connections need, as far as this is allowed."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _warm_up(predictor: Predictor) -> None:
    rule = predictor.bundle.info.rule
    predictor.predict_images(np.zeros((1, rule.height_px, rule.width_px, 3), np.uint8), top=1)


def _listen(app: Flask, settings: Settings, sockets: dict[int, Any]) -> Any:
    """Take the port, for the thread that calls this to serve; return waitress's server."""
    server = _create_server(app, settings, sockets)
    state: AppState = app.extensions["shopwindow"]
    overload_guard = OverloadGuard(state.batcher, state.metrics, state.access)
    of_channels = {
        "receive_s": settings.receive_s,
        "doorkeeper": overload_guard,
        "foreign": set(),
        # Where a larger picture is allowed, two of them have to fit.
        "bodies": UploadBudget(max(MOST_BYTES, 2 * settings.max_upload_bytes)),
    }
    for listener in _listeners_of(sockets):
        listener.channel_class = type("Channel", (HttpConnection,), of_channels)
        listener.task_dispatcher = Dispatcher(listener.task_dispatcher)
    return server


def _listeners_of(sockets: dict[int, Any]) -> list[Any]:
    return [one for one in sockets.values() if isinstance(one, BaseWSGIServer)]


def _create_server(app: Flask, settings: Settings, sockets: dict[int, Any]) -> Any:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a waiting request is no news
    try:
        return create_server(
            app,
            map=sockets,
            host=settings.host,
            port=settings.port,
            # One for each caller that may wait, and some that turn the next away and say that all
            # is well. A thread that waits costs some 50 kB.
            threads=settings.max_waiting + _SPARE_THREADS,
            # Goes on reading while a request is answered, and so notices that a client hung up.
            channel_request_lookahead=1,
            # A photo of a phone arrives in some 50 reads, and not in 500; as pipes hold no more.
            recv_bytes=65_536,
            ident="shopwindow",
            connection_limit=settings.max_connections,
            max_request_header_size=_MAX_HEADER_BYTES,
            # Addresses that proxies tell are `trusted_proxies`' business, in the app.
            clear_untrusted_proxy_headers=False,
            # Waitress moves larger bodies to a file. What it takes in before the limit stops it
            # (one read from the socket too much) stays in memory: uploads never touch the disk.
            inbuf_overflow=settings.max_upload_bytes + 1_000_000,
            max_request_body_size=settings.max_upload_bytes + 1,
        )
    except OSError as error:
        _close(_listeners_of(sockets), sockets)
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"{where} is in use by another program; stop that one or choose another port, "
                f"for example --port {settings.port + 1}"
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(
                f"{where} may not be listened on by this user; ports from 1024 may: --port 5000"
            ) from None
        raise UsageError(
            f"{where} cannot be listened on ({error.strerror}); --host takes an address of this "
            "machine, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    except ValueError:
        raise UsageError(
            f"--host {settings.host} is no address of this machine; expected one such as "
            "127.0.0.1 or 0.0.0.0"
        ) from None


def _close(listeners: list[Any], sockets: dict[int, Any]) -> None:
    for listener in listeners:
        listener.task_dispatcher.shutdown(timeout=1)
    wasyncore.close_all(sockets)


def _address(server: Any, settings: Settings) -> str:
    listens = getattr(server, "effective_listen", None)
    port = listens[0][1] if listens else server.effective_port
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{port}"
