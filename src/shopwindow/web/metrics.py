"""`/metrics`: what happens in here, in the text format of Prometheus.

In base units (seconds, bytes), and with labels whose values are few and ours: whatever a client
makes up (addresses, methods) is counted as "other". docs/operations.md says what to watch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, get_args

from flask import Blueprint, Flask, Response, g, request
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
from shopwindow.inference.batching import DropReason, Observer
from shopwindow.web.problem import error_kinds, kind_of, was_turned_away

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Attempt = Literal["in", "wrong", "refused"]
FeedbackOutcome = Literal["confirmed", "corrected", "none", "undone", "failed", "full"]

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
# From an answer out of a small model to a deadline.
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
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nobody here asks for

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
            "Time to answer a request that has arrived, without those that were turned away.",
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
            "Requests for an answer that wait or are worked on.",
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
            "model_replacements_total", "New model files, by what became of them.", "outcome"
        )
        self._feedback_on = Gauge(
            "shopwindow_feedback_on",
            "Whether feedback is taken: 1, or 0 where the store is off or could not be opened.",
            registry=self.registry,
        )
        self._feedback = counter(
            "feedback_total", "Feedback, by what it said or what became of it.", "outcome"
        )
        self._feedback_photos = counter("feedback_photos_total", "Photos that were agreed to.")
        self._reviews = counter("reviews_total", "Feedback that was judged.", "outcome")
        self._logins = counter("review_logins_total", "Attempts to log in to /review.", "outcome")
        # A counter that appears with its first event has no rate to be alarmed by.
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
        for outcome in get_args(Attempt):
            self._logins.labels(outcome)
        self.show_model(bundle)

    def line_changed(self, length: int) -> None:
        """Take down how many requests for an answer are inside."""
        self._queue.set(length)

    def decoded(self, seconds: float) -> None:
        """Take down how long an image file took to decode."""
        self._decode_seconds.observe(seconds)

    def ran(self, images: int, seconds: float) -> None:
        """Take down one run of the model."""
        self._batch.observe(images)
        self._run_seconds.observe(seconds)

    def dropped(self, reason: DropReason) -> None:
        """Count a request that got no answer."""
        self._dropped.labels(reason).inc()

    def show_model(self, bundle: Bundle) -> None:
        """Say which model is served from now on."""
        info = bundle.info
        self._model.info({"name": info.name, "version": info.version, "sha256": bundle.sha256})

    def replaced(self, bundle: Bundle | None) -> None:
        """Count a new model file: one that is served from now on, or None that was refused."""
        self._replacements.labels("refused" if bundle is None else "taken").inc()
        if bundle is not None:
            self.show_model(bundle)

    def feedback_is_on(self) -> None:
        """Say that feedback is taken."""
        self._feedback_on.set(1)

    def took_feedback(self, outcome: FeedbackOutcome, *, with_photo: bool = False) -> None:
        """Count a feedback by what it said, and its photo."""
        self._feedback.labels(outcome).inc()
        if with_photo:
            self._feedback_photos.inc()

    def reviewed(self, outcome: Status) -> None:
        """Count a judgement on a feedback."""
        self._reviews.labels(outcome).inc()

    def tried_to_log_in(self, outcome: Attempt) -> None:
        """Count an attempt to log in."""
        self._logins.labels(outcome).inc()

    def answered(self, response: Response) -> None:
        """Count the current request and its answer."""
        endpoint = request.url_rule.rule if request.url_rule else "other"
        method = request.method if request.method in _METHODS else "other"
        status = response.status_code
        seconds = None if was_turned_away(status) else time.perf_counter() - g.began_s
        self.count_answer(endpoint, method, status, seconds, error_kinds(status))

    def count_answer(
        self, endpoint: str, method: str, status: int, seconds: float | None, kinds: Iterable[str]
    ) -> None:
        """Count an answer, and the kinds of errors that it tells of.

        Args:
            endpoint: The rule of its address.
            method: HTTP method.
            status: HTTP status.
            seconds: How long it took; None where it was turned away, which takes no time, and many
                of which would make the others look quick.
            kinds: See `problem.error_kinds`.
        """
        self._requests.labels(endpoint, method, str(status)).inc()
        if seconds is not None:
            self._request_seconds.labels(endpoint).observe(seconds)
        for kind in kinds:
            self._errors.labels(kind).inc()


def measure(app: Flask, metrics: Metrics) -> None:
    """Count what an app does, and serve the figures under `/metrics`."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def show() -> Response:
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE)

    app.register_blueprint(blueprint)

    @app.after_request
    def count(response: Response) -> Response:
        metrics.answered(response)
        return response
