"""What an app holds while it runs, and how a request reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, abort, current_app

from shopwindow.bundle import BundleInfo
from shopwindow.feedback.service import FeedbackService
from shopwindow.inference.batching import Batcher
from shopwindow.inference.predictor import Predictor
from shopwindow.settings import Settings

if TYPE_CHECKING:  # these modules import this one
    from shopwindow.web.prometheus import Metrics
    from shopwindow.web.security import Access

STUDIO = "shopwindow-studio"  # the extension of an app that has one


@dataclass(slots=True)
class AppState:
    """What the views of one app share; its methods and attributes are safe to use from any thread.

    Attributes:
        settings: Limits and defaults.
        batcher: The model, and the queue before it.
        metrics: What `/metrics` shows.
        access: Who is let in, and how often.
        feedback: Where feedback goes; None while there is no store for it.
    """

    settings: Settings
    batcher: Batcher
    metrics: Metrics
    access: Access
    feedback: FeedbackService | None = None

    @property
    def info(self) -> BundleInfo:
        """What the model that is served now says about itself."""
        return self.batcher.predictor.bundle.info

    def replace_model(self, predictor: Predictor) -> None:
        """Answer with another model from now on; requests under way keep the old one."""
        self.batcher.replace(predictor)
        self.metrics.replaced(predictor.bundle)


def app_state(app: Flask = current_app) -> AppState:
    """Return the state of an app; of the one that handles the current request by default."""
    state: AppState = app.extensions["shopwindow"]
    return state


def feedback_or_404() -> FeedbackService:
    """Return where feedback goes.

    Raises:
        NotFound: There is no store for it, so its addresses do not exist.
    """
    return app_state().feedback or abort(404)
