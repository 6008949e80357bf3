"""A model that follows the labels: one thread fits, another measures.

The first one has a head a fraction of a second after each change. The second one cross-validates
meanwhile, at the penalty in use; once nothing has changed for a while it searches for a better one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shopwindow.data.duplicates import group_signatures
from shopwindow.data.split import connected_groups
from shopwindow.studio.album import READ, Album, Photo
from shopwindow.studio.findings import Doubt, find_doubts
from shopwindow.studio.fitting import (
    MIN_PHOTOS,
    USUAL_PENALTY,
    Examples,
    Fitted,
    Measured,
    fit,
    measure,
)
from shopwindow.studio.photo_cache import PhotoCache
from shopwindow.studio.reader import lower_priority

_TOGETHER_S = 0.05  # changes that come so close share a fit
_READING_S = 1.0  # between fits while photos come in
_SETTLED_S, _PATIENCE_S = 0.3, 5.0  # without a change, before measuring; at most
_PAUSE = 8  # times as long as the work took, where changes follow each other
_STOP_S = 3.0
_QUIET_S = 3.0  # without a change, before the search for a penalty

_log = logging.getLogger(__name__)


class _NewerLabelsError(Exception):
    """What is searched for is out of date."""


@dataclass(frozen=True)
class Learned:
    """What is known of the current model.

    Attributes:
        fitted: The head; None while there are too few labels.
        fits: How many there have been in this session.
        fit_s: Seconds that the last one took, with the guesses for all photos.
        measured: What it is worth; None until that is known.
        doubts: Labels that are probably wrong.
    """

    fitted: Fitted | None = None
    fits: int = 0
    fit_s: float = 0.0
    measured: Measured | None = None
    doubts: tuple[Doubt, ...] = ()


class Learner:
    """Two threads that keep a model up to date. Thread-safe.

    Args:
        album: Has the labels, and gets guesses, twins and doubts.
        cache: Has features and signatures.
        dismissed: Returns the labels by name that somebody has found to be right.
        on_fit: Called with each new head, and with its calibration once that is known.
    """

    def __init__(
        self,
        album: Album,
        cache: PhotoCache,
        dismissed: Callable[[], Mapping[str, str]],
        on_fit: Callable[[Learned], None],
    ) -> None:
        self._album, self._cache = album, cache
        self._dismissed, self._on_fit = dismissed, on_fit
        self._wanted = threading.Condition()  # of the next ten
        self._asked = self._fitted_at = self._measured_at = 0
        self._asked_s = self._measured_s = self._measuring_s = 0.0
        self._searched_at = 0
        self._soon = self._fitting = False
        self._again = False  # whether to fit the same photos with what was measured
        self._penalty = USUAL_PENALTY
        self._stopped = False
        self._learned = Learned()
        self._grouped: tuple[str, ...] = ()  # the photos of the next, which is the measurer's
        self._twins: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._keep_fitting, name="studio-fit", daemon=True),
            threading.Thread(target=self._keep_measuring, name="studio-measure", daemon=True),
        ]

    @property
    def learned(self) -> Learned:
        """What is known now."""
        return self._learned

    @property
    def busy(self) -> bool:
        """Whether a newer head is on its way."""
        return self._asked != self._fitted_at

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the work under way, which is left to itself where it takes long."""
        with self._wanted:
            self._stopped = True
            self._wanted.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_STOP_S)

    def wake(self, *, soon: bool = True) -> None:
        """Say that labels have changed, or (not so soon) that photos have come."""
        with self._wanted:
            self._asked += 1
            self._soon = self._soon or soon
            self._asked_s = time.monotonic()
            self._wanted.notify_all()

    def _know(self, **news: object) -> None:
        """Add to what is known. Both threads write, each other fields."""
        with self._wanted:
            self._learned = replace(self._learned, **news)  # type: ignore[arg-type]
        self._on_fit(self._learned)
        self._album.touch()

    def _keep_fitting(self) -> None:
        while (asked := self._next_fit()) is not None:
            try:
                self._fit()
            except Exception:
                _log.exception("The model of the studio could not be fitted")
            with self._wanted:
                self._fitted_at = asked
                self._fitting = False
                self._wanted.notify_all()
            self._album.touch()

    def _next_fit(self) -> int | None:
        with self._wanted:
            while self._asked == self._fitted_at and not (self._again or self._stopped):
                self._wanted.wait()
            self._wanted.wait_for(lambda: self._stopped, _TOGETHER_S)
            pause_s = max(_READING_S, _PAUSE * self._learned.fit_s)
            self._wanted.wait_for(lambda: self._stopped or self._soon, pause_s)
            self._again = self._soon = False
            self._fitting = True
            return None if self._stopped else self._asked

    def _fit(self) -> None:
        began = time.perf_counter()
        photos = self._album.snapshot()
        examples = self._examples(photos, with_groups=False)
        before = self._learned.fitted
        if examples is None:
            # What no model says any more would look like an answer, of labels that may be gone.
            nothing = {"guess": "", "confidence": 0, "doubt": False}
            self._album.update({name: nothing for name, photo in photos.items() if photo.guess})
            if before is not None:
                self._know(fitted=None, measured=None, doubts=())
            return
        fitted = fit(examples, self._penalty, before)
        if (measured := self._learned.measured) is not None:
            fitted = fitted.calibrated_as(measured)
        self._guess(photos, fitted)
        self._know(
            fitted=fitted,
            fits=self._learned.fits + 1,
            fit_s=round(time.perf_counter() - began, 3),
        )

    def _guess(self, photos: Mapping[str, Photo], fitted: Fitted) -> None:
        """Say what photos without a label show. Those with one are answered out of fold."""
        asked = {name: digest for name, digest in _read(photos) if not photos[name].row.label}
        if asked:
            probs = fitted.probs(self._cache.features([*asked.values()]))
            self._album.update(_as_guesses([*asked], probs, fitted.labels))

    def _keep_measuring(self) -> None:
        lower_priority()
        while (asked := self._next_measure()) is not None:
            began_s = time.monotonic()
            try:
                searching = asked == self._measured_at
                self._measure(asked, searching=searching)
            except _NewerLabelsError:
                pass
            except Exception:
                _log.exception("The model of the studio could not be measured")
            with self._wanted:
                self._measured_at, self._measured_s = asked, time.monotonic()
                self._measuring_s = self._measured_s - began_s
                if searching:
                    self._searched_at = asked

    def _next_measure(self) -> int | None:
        """Wait for a new head, or for enough quiet to search; None to stop."""
        with self._wanted:
            while not self._stopped:
                now_s = time.monotonic()
                quiet_s = now_s - self._asked_s
                if self._fitted_at > self._measured_at:
                    pause_s = max(_PATIENCE_S, _PAUSE * self._measuring_s)
                    patience_s = self._measured_s + pause_s - now_s
                    if quiet_s >= _SETTLED_S or patience_s <= 0:
                        return self._fitted_at
                    self._wanted.wait(min(_SETTLED_S - quiet_s, patience_s))
                elif self._searched_at == self._measured_at:
                    self._wanted.wait()
                elif quiet_s >= _QUIET_S:
                    return self._measured_at
                else:
                    self._wanted.wait(_QUIET_S - quiet_s)
            return None

    def _measure(self, asked: int, *, searching: bool) -> None:
        photos = self._album.snapshot()
        if not searching:
            self._find_twins(photos)
        examples = self._examples(photos, with_groups=True)
        if examples is None:
            return

        def step() -> None:
            with self._wanted:  # fitting comes first
                self._wanted.wait_for(lambda: self._stopped or not (self._fitting or self._soon))
            if self._stopped or (searching and self._asked > asked):
                raise _NewerLabelsError

        if searching:
            measured = measure(examples, step=step)
        else:
            measured = measure(examples, (self._penalty,), step)
        if measured is None:
            self._know(measured=None, doubts=())
            return
        doubts = find_doubts(measured, self._dismissed())
        self._answer_out_of_fold(measured, {doubt.name for doubt in doubts})
        before = self._learned.measured
        self._know(measured=measured, doubts=tuple(doubts))
        if before is None or before.penalty != measured.penalty or _differ(before, measured):
            with self._wanted:
                self._penalty, self._again, self._soon = measured.penalty, True, True
                self._wanted.notify_all()

    def _answer_out_of_fold(self, measured: Measured, doubted: set[str]) -> None:
        """Say what photos with a label show, by heads that have not learned from them."""
        examples, now = measured.examples, self._album.snapshot()
        guesses = _as_guesses(examples.names, measured.probs, examples.labels)
        self._album.update(
            {
                name: {**guesses[name], "doubt": name in doubted}
                for name, code in zip(examples.names, examples.codes.tolist(), strict=True)
                if name in now and now[name].row.label == examples.labels[code]
            }
        )

    def _examples(self, photos: Mapping[str, Photo], *, with_groups: bool) -> Examples | None:
        """Return what can be learned from; None where there are not two labels of two photos."""
        digests = dict(_read(photos))
        counts = Counter(photos[name].row.label for name in digests if photos[name].row.label)
        labels = tuple(sorted(label for label, count in counts.items() if count >= MIN_PHOTOS))
        if len(labels) < 2:
            return None
        number = {label: code for code, label in enumerate(labels)}
        rows = {name: photos[name].row for name in digests if photos[name].row.label in number}
        names = tuple(rows)
        groups = np.arange(len(names), dtype=np.int64)
        if with_groups:
            twins = [self._twins.get(name) or name for name in names]
            bursts = [row.group or (name,) for name, row in rows.items()]
            groups = connected_groups(_numbers(twins), _numbers(bursts))
        codes = np.array([number[row.label] for row in rows.values()], np.int64)
        features = self._cache.features([digests[name] for name in names])
        return Examples(names, features, labels, codes, groups)

    def _find_twins(self, photos: Mapping[str, Photo]) -> None:
        """Group photos that show the same thing, where photos have come or gone."""
        digests = dict(_read(photos))
        names = tuple(digests)
        if names == self._grouped or not names:
            return
        groups = group_signatures(self._cache.signatures([*digests.values()]))
        firsts = {name: names[first] for name, first in zip(names, groups.tolist(), strict=True)}
        self._grouped = names
        self._twins = {name: first for name, first in firsts.items() if first != name}
        self._album.update({name: {"twin": self._twins.get(name, "")} for name in names})


def _read(photos: Mapping[str, Photo]) -> Iterator[tuple[str, int]]:
    """Yield name and digest of the photos that were read."""
    for name, photo in photos.items():
        digest = photo.digest
        if photo.status == READ and digest is not None:
            yield name, digest


def _differ(before: Measured, after: Measured) -> bool:
    """Say whether confidences would change by as much as people see."""
    ratio = before.temperature / after.temperature
    return not 0.95 < ratio < 1.05 or before.threshold != after.threshold


def _as_guesses(
    names: list[str] | tuple[str, ...], probs: NDArray[np.float32], labels: tuple[str, ...]
) -> dict[str, dict[str, object]]:
    best = probs.argmax(axis=1)
    per_cent = np.rint(100 * probs.max(axis=1)).astype(int).clip(0, 100)
    return {
        name: {"guess": labels[code], "confidence": int(confidence)}
        for name, code, confidence in zip(names, best.tolist(), per_cent.tolist(), strict=True)
    }


def _numbers(keys: Sequence[object]) -> NDArray[np.int64]:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
