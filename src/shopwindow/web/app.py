"""The app factory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from shopwindow import __version__
from shopwindow.errors import BusyError, FeedbackError
from shopwindow.inference.batching import Batcher, Observer
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import Predictor
from shopwindow.plain_text import counted
from shopwindow.settings import Settings
from shopwindow.web import messages
from shopwindow.web.api import make_api
from shopwindow.web.feedback_pages import make_feedback_pages
from shopwindow.web.feedback_service import FeedbackService
from shopwindow.web.logs import log_requests
from shopwindow.web.metrics import Metrics, measure
from shopwindow.web.pages import make_pages
from shopwindow.web.problem import (
    Problem,
    as_http_error,
    http_error_in_words,
    wants_json,
    with_headers_of,
)
from shopwindow.web.reference import make_reference
from shopwindow.web.review import add_review
from shopwindow.web.security import Access, secure
from shopwindow.web.uploads import UploadRequest, refuse_compressed

if TYPE_CHECKING:  # it imports SQLAlchemy, which takes its time
    from shopwindow.feedback.store import FeedbackStore

_ASSET_AGE_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class AppState:
    """What a server may reach inside an app, as `app.extensions["shopwindow"]`."""

    batcher: Batcher
    metrics: Metrics
    access: Access
    feedback_service: FeedbackService | None

    def replace_model(self, predictor: Predictor) -> None:
        """Let another model answer whoever asks from now on; who is being answered is not hurt."""
        self.batcher.replace(predictor)
        self.metrics.replaced(predictor.bundle)


def create_app(
    predictor: Predictor,
    settings: Settings | None = None,
    observer: Observer | None = None,
    store: FeedbackStore | None = None,
    state: AppState | None = None,
) -> Flask:
    """Return the web app around one model.

    Args:
        predictor: The model to serve; shared by all threads.
        settings: Limits and defaults; those of the documentation where left out.
        observer: Is told what becomes of the requests for an answer, instead of `/metrics`.
        store: Where feedback is kept; without one, none is taken. `settings.feedback` is for
            `serve`, which opens it.
        state: Of an app whose place this one takes: its line, model, figures and limits go on.
    """
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
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        display_name=messages.display_name,
        per_cent=messages.per_cent,
        measured_per_cent=messages.measured_per_cent,
        counted=counted,
    )
    asset_versions = _digest_assets(Path(app.static_folder or ""))

    def asset(name: str) -> str:
        """Return the address of a static file, which changes whenever its content does."""
        return url_for("static", filename=name, v=asset_versions[name])

    app.jinja_env.globals.update(asset=asset, app_version=__version__)
    log_requests(app)  # first, so that a request that is turned away has its id and its line too
    metrics = Metrics(predictor.bundle) if state is None else state.metrics
    measure(app, metrics)
    access = Access(settings) if state is None else state.access
    secure(app, settings, access)
    app.before_request(lambda: refuse_compressed(request))
    batcher = state.batcher if state else _batcher(predictor, settings, observer or metrics)
    feedback_service = None if store is None else FeedbackService(store, settings, batcher, metrics)
    app.extensions["shopwindow"] = AppState(batcher, metrics, access, feedback_service)

    @app.context_processor
    def name_the_model() -> dict[str, str]:
        return {"title": messages.title_of(batcher.predictor.bundle.info)}

    app.register_blueprint(make_pages(batcher, settings, feedback_service))
    if feedback_service is not None:
        app.register_blueprint(make_feedback_pages(feedback_service, settings))
    app.register_blueprint(make_api(batcher, settings, feedback_service))
    if feedback_service is not None:
        add_review(app, feedback_service, batcher, settings, metrics, access)
    app.register_blueprint(
        make_reference(
            lambda: batcher.predictor.bundle.info, settings, feedback=feedback_service is not None
        )
    )

    @app.errorhandler(HTTPException)
    def answer_error(error: HTTPException) -> ResponseReturnValue:
        # Also reached for a bug: Flask has logged its traceback by then, and made it a 500.
        if error.code is None or error.code < 400:
            return error  # a redirect
        if wants_json():
            response = Problem.from_http_error(error).as_response()
        else:
            words = http_error_in_words(error)
            html = render_template("error.html", name=error.name, detail=words)
            response = Response(html, status=error.code)
        return with_headers_of(error, response)

    @app.errorhandler(BusyError)
    def ask_to_come_back(error: BusyError) -> ResponseReturnValue:
        return answer_error(as_http_error(error))

    @app.errorhandler(FeedbackError)
    def apologise_for_the_store(error: FeedbackError) -> ResponseReturnValue:
        app.logger.error("The feedback cannot be read: %s", error)
        sentence = "The feedback cannot be read just now. Please try again in a moment."
        return answer_error(ServiceUnavailable(sentence, retry_after=5))

    return app


def _batcher(predictor: Predictor, settings: Settings, observer: Observer) -> Batcher:
    return Batcher(
        predictor,
        # More than one, so that the next batch runs while the answers of the last are written.
        streams=max(2, available_cores()),
        decoders=available_cores(),
        max_waiting=settings.max_waiting,
        observer=observer,
    )


def _digest_assets(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
