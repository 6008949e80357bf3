"""`shopwindow serve`: the app under waitress, in one process with one model and some threads."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

import numpy as np
from flask import Flask

from shopwindow.bundle import BundleInfo, bundled_model_path
from shopwindow.errors import FeedbackError, ShopwindowError
from shopwindow.feedback.retention import DELETE_EVERY_S, delete_old_photos
from shopwindow.gallery.gallery_file import Gallery
from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.engine import EngineName, available_cores
from shopwindow.inference.model_watcher import ModelWatcher
from shopwindow.inference.predictor import Predictor, load_predictor
from shopwindow.periodic import Periodic
from shopwindow.settings import Settings
from shopwindow.web.app import accept_feedback, create_app
from shopwindow.web.messages import title_of
from shopwindow.web.server.http_server import HttpServer
from shopwindow.web.state import AppState, app_state
from shopwindow.web.studio_access import accept_studio

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore
    from shopwindow.studio import Studio

RETRY_FEEDBACK_S = 30.0
LOOK_FOR_DRIFT_S = 3600.0

_log = logging.getLogger(__name__)


def serve(
    predictor: Predictor,
    settings: Settings,
    studio: Studio | None = None,
    *,
    is_open: bool = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then return.

    The port is taken first, so that a wrong one is reported at once. The address is printed once
    the model has run and the first request will be answered.

    Args:
        predictor: The model.
        settings: Limits and defaults.
        studio: What to offer at /studio; it is closed at the end.
        is_open: Whether this machine may use the studio without a password.

    Raises:
        UsageError: The host or port cannot be listened on, or the feedback setting makes no sense.
        GalleryError: The gallery cannot be read, or another model made it.
    """
    info = predictor.bundle.info
    # Two, because stores are closed last: after every thread that may use them.
    with contextlib.ExitStack() as stores, contextlib.ExitStack() as running:
        gallery = Gallery(Path(settings.gallery)) if settings.gallery else None
        if gallery is not None:
            stores.callback(gallery.close)
        app = create_app(predictor, settings, gallery=gallery)
        running.enter_context(contextlib.suppress(KeyboardInterrupt))
        if studio is not None:
            stores.callback(studio.close)
            accept_studio(app, studio, is_open=is_open)
        store = _open_feedback(settings, info)
        if store is not None:
            _use_store(app, store, stores)
        server = HttpServer(app, settings)
        running.callback(server.close)
        stopping = _stop_on_signals(server, running)
        _warm_up(predictor)
        if not stopping.is_set():
            print(f"{title_of(info)}: open {server.url} (Ctrl-C stops it)", flush=True)
            if studio is not None:
                print(f"The studio of {studio.folder}: open {server.url}/studio", flush=True)
            if store is not None:
                print(f"Feedback is kept in {store.where}", flush=True)
            if gallery is not None:
                print(f"Similar items: {len(gallery):,} from {gallery.path}", flush=True)
        if studio is not None:
            studio.start()
        for work in _periodic_work(app, settings, stores, studio):
            work.start()
            running.callback(work.stop)
        while not stopping.is_set():
            server.turn(timeout_s=1)
        if studio is not None:
            studio.album.close()  # or pages that wait for news would be waited for
        server.drain(settings.deadline_s)


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


def _stop_on_signals(server: HttpServer, running: contextlib.ExitStack) -> threading.Event:
    """Return what SIGTERM and SIGINT set; a second signal stops the server at once."""
    stopping = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        server.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        running.callback(signal.signal, number, signal.signal(number, stop))
    return stopping


def _warm_up(predictor: Predictor) -> None:
    rule = predictor.bundle.info.rule
    predictor.predict_images(np.zeros((1, rule.height_px, rule.width_px, 3), np.uint8), top=1)


def _periodic_work(
    app: Flask, settings: Settings, stores: contextlib.ExitStack, studio: Studio | None
) -> list[Periodic]:
    """Return what goes on beside the answers: look for a new model, and for a missing store."""
    state = app_state(app)
    work = []
    watcher = _watch_model(state, None if studio is None else studio.versions.window_file)
    if studio is not None:
        studio.versions.put_in_window = watcher.check_at_once
    if settings.model_check_s:
        work.append(Periodic(watcher.check, every_s=settings.model_check_s, name="model-watch"))
    if settings.feedback != "off" and state.feedback is None:
        retry = partial(_retry_feedback, app, stores)
        work.append(Periodic(retry, every_s=RETRY_FEEDBACK_S, name="feedback-retry"))
    return work


def _watch_model(state: AppState, window: Path | None) -> ModelWatcher:
    predictor = state.batcher.predictor
    return ModelWatcher(
        window or predictor.bundle.path or bundled_model_path(),
        predictor,
        load=partial(load_served, state.settings),
        on_load=state.replace_model,
        on_refusal=partial(state.metrics.replaced, None),
    )


def _open_feedback(settings: Settings, info: BundleInfo) -> FeedbackStore | None:
    """Open the feedback store; None where feedback is off or cannot be kept now.

    A store that cannot be written, as on a read-only file system or before its database runs, is no
    reason not to serve: it is logged.

    Raises:
        UsageError: The setting makes no sense.
    """
    if settings.feedback == "off":
        return None
    from shopwindow.feedback.opening import open_configured_store

    try:
        return open_configured_store(settings, info)
    except FeedbackError as error:
        _log.warning(
            "Feedback is off: %s Set SHOPWINDOW_FEEDBACK to a file or a database that can be "
            "written, or to off. The server tries again every %g seconds.",
            error,
            RETRY_FEEDBACK_S,
        )
        return None


def _retry_feedback(app: Flask, stores: contextlib.ExitStack) -> None:
    """Open the store that could not be opened at the start; do nothing once it is open."""
    from shopwindow.feedback.opening import open_configured_store

    state = app_state(app)
    if state.feedback is not None:
        return
    try:
        store = open_configured_store(state.settings, state.info)
    except ShopwindowError as error:  # logged as a warning the first time
        _log.debug("Feedback is still off: %s", error)
        return
    _use_store(app, store, stores)
    _log.warning("Feedback is now on: it is kept in %s", store.where)


def _use_store(app: Flask, store: FeedbackStore, stores: contextlib.ExitStack) -> None:
    """Accept feedback into a store, and delete photos from it when their time is over."""
    stores.callback(store.close)
    accept_feedback(app, store)
    delete = partial(delete_old_photos, store)
    retention = Periodic(delete, every_s=DELETE_EVERY_S, name="retention", at_once=True)
    stores.callback(retention.stop)
    retention.start()
    look = Periodic(
        partial(_look_for_drift, app, store), every_s=LOOK_FOR_DRIFT_S, name="drift", at_once=True
    )
    stores.callback(look.stop)
    look.start()


def _look_for_drift(app: Flask, store: FeedbackStore) -> None:
    """Keep the gauge up to date where nobody opens the page that shows it."""
    state = app_state(app)
    try:
        state.drift.look(store, state.batcher.predictor.bundle)
    except ShopwindowError as error:
        _log.warning("Whether photos have changed could not be worked out: %s", error)
