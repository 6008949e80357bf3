"""`/metrics`, in the text format of Prometheus.

In base units (seconds, bytes). Labels have few values, all of them ours: whatever a client makes up
(addresses, methods) is counted as "other". docs/operations.md says what to watch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Literal, get_args

from flask import Blueprint, Response, g, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from shopwindow.bundle import Bundle
from shopwindow.errors import OversizedImageError, UnreadableImageError, UnsupportedImageError
from shopwindow.feedback.feedback import STATUSES, Status
from shopwindow.feedback.service import FeedbackOutcome
from shopwindow.inference.batching import DropReason, Observer
from shopwindow.web.problem import error_kinds, kind_of, was_turned_away
from shopwindow.web.state import app_state

bp = Blueprint("metrics", __name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LoginOutcome = Literal["in", "wrong", "refused"]

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
# From the time a small model takes to the default deadline.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WORK_SECONDS = (0.0005, 0.001, 0.0025, *_SECONDS[:-2])


class Metrics(Observer):
    """The figures of one app, in a registry of its own. Thread-safe.

    Args:
        bundle: The model that is served at first.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        # Else each counter has a second series, which nobody here asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"shopwindow_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"shopwindow_{name}", text, labels, buckets=buckets, registry=self.registry
            )

        self._requests = counter(
            "requests_total", "Requests answered.", "endpoint", "method", "status"
        )
        self._request_seconds = histogram(
            "request_seconds",
            "Time to answer a request that has arrived; requests turned away do not count.",
            _SECONDS,
            "endpoint",
        )
        self._errors = counter("errors_total", "What went wrong, by kind.", "kind")
        self._dropped = counter(
            "dropped_total",
            "Requests without an answer: full, late or gone.",
            "reason",
        )
        self._queue = Gauge(
            "shopwindow_queue_requests",
            "Requests for a prediction that wait or are being answered.",
            registry=self.registry,
        )
        self._batch = histogram(
            "batch_images", "Images in one run of the model.", (1, 2, 4, 8, 16, 32, 64)
        )
        self._decode_seconds = histogram(
            "decode_seconds", "Time to decode one image file.", _WORK_SECONDS
        )
        self._run_seconds = histogram("run_seconds", "Time of one run of the model.", _WORK_SECONDS)
        self._model = Info("shopwindow_model", "The model that is served.", registry=self.registry)
        self._replacements = counter(
            "model_replacements_total", "New model files, by whether they were accepted.", "outcome"
        )
        self._feedback_on = Gauge(
            "shopwindow_feedback_on",
            "1 where feedback is accepted, 0 where it is off or its store could not be opened.",
            registry=self.registry,
        )
        self._feedback = counter(
            "feedback_total", "Feedback, by what it said or what happened to it.", "outcome"
        )
        self._feedback_photos = counter("feedback_photos_total", "Photos kept, by consent.")
        self._drift = Gauge(
            "shopwindow_drift_ratio",
            "Distance of this month's photos from the training's, as a multiple of what chance "
            "explains: above 1 is drift; NaN where that is not known.",
            registry=self.registry,
        )
        self._drift.set(math.nan)
        self._reviews = counter("reviews_total", "Feedback that was reviewed.", "outcome")
        self._logins = counter("review_logins_total", "Attempts to log in to /review.", "outcome")
        # A counter that appears with its first event has no rate to alert on.
        for kind in (UnsupportedImageError, OversizedImageError, UnreadableImageError):
            self._errors.labels(kind_of(kind))
        self._errors.labels("bug")
        for reason in get_args(DropReason):
            self._dropped.labels(reason)
        for outcome in ("taken", "refused"):
            self._replacements.labels(outcome)
        for outcome in get_args(FeedbackOutcome):
            self._feedback.labels(outcome)
        for outcome in STATUSES:
            self._reviews.labels(outcome)
        for outcome in get_args(LoginOutcome):
            self._logins.labels(outcome)
        self.show_model(bundle)

    def line_changed(self, length: int) -> None:
        """Record how many requests for a prediction there are."""
        self._queue.set(length)

    def decoded(self, seconds: float) -> None:
        """Record how long an image file took to decode."""
        self._decode_seconds.observe(seconds)

    def ran(self, images: int, seconds: float) -> None:
        """Record one run of the model."""
        self._batch.observe(images)
        self._run_seconds.observe(seconds)

    def dropped(self, reason: DropReason) -> None:
        """Count a request that got no answer."""
        self._dropped.labels(reason).inc()

    def show_model(self, bundle: Bundle) -> None:
        """Show which model is served from now on."""
        info = bundle.info
        self._model.info({"name": info.name, "version": info.version, "sha256": bundle.sha256})

    def replaced(self, bundle: Bundle | None) -> None:
        """Count a new model file: one that is served from now on, or None that was refused."""
        self._replacements.labels("refused" if bundle is None else "taken").inc()
        if bundle is not None:
            self.show_model(bundle)

    def feedback_is_on(self) -> None:
        """Show that feedback is accepted."""
        self._feedback_on.set(1)

    def count_feedback(self, outcome: FeedbackOutcome, with_photo: bool = False) -> None:
        """Count feedback by its outcome, and its photo."""
        self._feedback.labels(outcome).inc()
        if with_photo:
            self._feedback_photos.inc()

    def show_drift(self, ratio: float) -> None:
        """Show how far photos are from those of the training; see `feedback.drift.Drift.ratio`."""
        self._drift.set(ratio)

    def count_review(self, outcome: Status) -> None:
        """Count a reviewer's decision."""
        self._reviews.labels(outcome).inc()

    def count_login(self, outcome: LoginOutcome) -> None:
        """Count an attempt to log in."""
        self._logins.labels(outcome).inc()

    def count_answer(
        self, endpoint: str, method: str, status: int, seconds: float | None, kinds: Iterable[str]
    ) -> None:
        """Count a response, and the kinds of errors in it.

        Args:
            endpoint: The rule of its address.
            method: HTTP method.
            status: HTTP status.
            seconds: How long it took; None where the request was turned away. That takes no time,
                and many of them would make the others look quick.
            kinds: See `problem.error_kinds`.
        """
        self._requests.labels(endpoint, method, str(status)).inc()
        if seconds is not None:
            self._request_seconds.labels(endpoint).observe(seconds)
        for kind in kinds:
            self._errors.labels(kind).inc()


@bp.get("/metrics")
def show_metrics() -> Response:
    """Return the figures of this app."""
    return Response(generate_latest(app_state().metrics.registry), content_type=_CONTENT_TYPE)


def count_response(response: Response) -> Response:
    """Count the current request and its response."""
    endpoint = request.url_rule.rule if request.url_rule else "other"
    method = request.method if request.method in _METHODS else "other"
    status = response.status_code
    seconds = None if was_turned_away(status) else time.perf_counter() - g.began_s
    app_state().metrics.count_answer(endpoint, method, status, seconds, error_kinds(status))
    return response
