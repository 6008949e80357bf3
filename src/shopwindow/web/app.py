"""The app factory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from shopwindow import __version__
from shopwindow.errors import BusyError, FeedbackError
from shopwindow.feedback.service import FeedbackService
from shopwindow.gallery.gallery_file import Gallery
from shopwindow.inference.batching import Batcher, Observer
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import Predictor
from shopwindow.inference.verdict import per_cent
from shopwindow.plain_text import counted
from shopwindow.settings import Settings
from shopwindow.web import (
    api,
    cors,
    feedback_pages,
    logs,
    messages,
    pages,
    problem,
    prometheus,
    reference,
    review,
    security,
    similar,
    studio,
    studio_api,
)
from shopwindow.web.drift_watch import DriftWatch
from shopwindow.web.path_prefix import PathPrefix
from shopwindow.web.state import AppState, app_state
from shopwindow.web.uploads import UploadRequest, refuse_compressed

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

_WITH_ADDRESSES = (
    *(pages, feedback_pages, api, review, studio, studio_api),
    *(reference, prometheus),
)
_ASSET_AGE_S = 365 * 24 * 3600


def create_app(
    predictor: Predictor,
    settings: Settings | None = None,
    observer: Observer | None = None,
    store: FeedbackStore | None = None,
    gallery: Gallery | None = None,
) -> Flask:
    """Return the web app around one model.

    Args:
        predictor: The model to serve; shared by all threads.
        settings: Limits and defaults; those of the documentation where left out.
        observer: Hears what happens to requests for a prediction, instead of `/metrics`.
        store: Where feedback is kept; without one, feedback is off until `accept_feedback`.
            `settings.feedback` is for `serve`, which opens the store.
        gallery: Where similar items come from; `settings.gallery` is for `serve`, too.

    Raises:
        GalleryError: Another model made the gallery.
    """
    if gallery is not None:
        gallery.require(predictor.bundle)
    settings = settings or Settings()
    app = Flask(__name__)
    app.request_class = UploadRequest
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_upload_bytes,
        # A few more than files, so that too many files get their own sentence.
        MAX_FORM_PARTS=2 * settings.max_files + 20,
        SEND_FILE_MAX_AGE_DEFAULT=_ASSET_AGE_S,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=0, x_proto=settings.trusted_proxies, x_host=0
        )
    app.wsgi_app = PathPrefix(app.wsgi_app, settings)  # type: ignore[method-assign]
    review.set_up_sessions(app)
    _set_up_templates(app)

    metrics = prometheus.Metrics(predictor.bundle)
    batcher = Batcher(
        predictor,
        # More than one, so that the next batch runs while the answers of the last are written.
        streams=max(2, available_cores()),
        decoders=available_cores(),
        max_waiting=settings.max_waiting,
        observer=observer or metrics,
    )
    access = security.Access(settings)
    drift = DriftWatch(metrics.show_drift)
    app.extensions["shopwindow"] = AppState(
        settings, batcher, metrics, access, gallery=gallery, drift=drift
    )
    if store is not None:
        accept_feedback(app, store)

    # The id comes first, so that a request that is refused has one too.
    app.before_request(logs.begin_request)
    app.before_request(cors.answer_preflight)
    app.before_request(security.check_access)
    app.before_request(refuse_compressed)
    # Flask calls these from the last to the first: the log line is complete.
    app.after_request(logs.log_request)
    app.after_request(prometheus.count_response)
    app.after_request(cors.add_cors_headers)
    app.after_request(security.add_security_headers)

    for module in _WITH_ADDRESSES:
        app.register_blueprint(module.bp)
    if gallery is not None:
        app.register_blueprint(similar.bp)
    app.register_error_handler(HTTPException, problem.handle_http_error)
    app.register_error_handler(BusyError, problem.handle_busy)
    app.register_error_handler(FeedbackError, problem.handle_feedback_error)
    return app


def accept_feedback(app: Flask, store: FeedbackStore) -> None:
    """Accept feedback into a store from now on; the app may be answering requests already."""
    state = app_state(app)
    service = FeedbackService(store, state.settings, state.batcher, state.metrics.count_feedback)
    app.secret_key = review.session_key(service.key, state.settings.review_password)
    state.feedback = service
    state.metrics.feedback_is_on()


def _set_up_templates(app: Flask) -> None:
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(Path(app.static_folder or "").iterdir())
        if path.is_file()
    }

    def asset(name: str) -> str:
        """Return the address of a static file, which changes whenever its content does."""
        return url_for("static", filename=name, v=digests[name])

    def name_the_model() -> dict[str, str]:
        return {"title": messages.title_of(app_state().info)}

    app.context_processor(name_the_model)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(asset=asset, app_version=__version__)
    app.jinja_env.filters.update(
        display_name=messages.display_name,
        per_cent=per_cent,
        measured_per_cent=messages.measured_per_cent,
        counted=counted,
    )
