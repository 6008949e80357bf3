"""Many callers, one model: who waits together is answered together.

A model takes less time for eight images at once than for eight in turn. So when a stream (one run
of the model at a time) frees up, whoever is waiting by then is taken along. Nobody is made to wait
for company: a caller who finds a stream free has it to himself at once.

There is no thread of its own in here. The first caller in line runs the batch for those behind him
and then hands the stream to the next, so an answer to a lone caller costs no switch of threads.

The line is bounded, and an answer is worth something for a limited time only. Work that nobody
waits for any more is dropped before it costs anything: before a file is decoded, and before its
pixels are part of a batch. Clockwork (Gujarati et al., OSDI 2020) has the argument: a server that
finishes late answers spends itself on them, and then is late for all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shopwindow.bundle import ACTIVATION_OUTPUT
from shopwindow.errors import BusyError, ImageError
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor

DropReason = Literal["full", "late", "gone"]


class Observer:
    """Is told what happens, as it happens, by the thread it happens in. This one does nothing.

    Methods are called from many threads and hold up what they are told about: they must be quick,
    thread-safe, and raise nothing.
    """

    def line_changed(self, length: int) -> None:
        """Hear how many requests are inside now, waiting or worked on."""

    def decoded(self, seconds: float) -> None:
        """Hear how long one image file took to become pixels, without the wait before it."""

    def ran(self, images: int, seconds: float) -> None:
        """Hear how many images one run of the model had, and how long it took."""

    def dropped(self, reason: DropReason) -> None:
        """Hear that a request gets no answer: the line was `full`, it was `late`, or is `gone`."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Who waits for an answer.

    Attributes:
        deadline_s: When the answer is worth nothing any more, on the clock of `time.monotonic`.
        is_gone: Says whether the caller has hung up. Called often: it must be quick.
    """

    deadline_s: float = float("inf")
    is_gone: Callable[[], bool] = lambda: False


@dataclass(slots=True, eq=False)
class _Entry:
    """Pixels in line for the model, and what became of them."""

    admission: Admission
    images_nhwc: NDArray[np.uint8]
    explain: bool
    is_leader: bool = False
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    error: BaseException | None = None
    # Taken from the start, and released once: when the entry is answered, or is to lead.
    turn: threading.Lock = field(default_factory=threading.Lock)


class Batcher:
    """A predictor that many threads may ask at once. Thread-safe.

    Args:
        predictor: Answers the questions.
        streams: Runs of the model at a time.
        decoders: Image files that are decoded at a time.
        max_waiting: Requests inside at a time, waiting or worked on; one more is refused.
        max_batch: Images in one run of the model, as far as whole requests allow.
        observer: Is told what happens.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        streams: int = 1,
        decoders: int = 2,
        max_waiting: int = 64,
        max_batch: int = 32,
        observer: Observer | None = None,
    ) -> None:
        for name, value in (
            *(("streams", streams), ("decoders", decoders)),
            *(("max_waiting", max_waiting), ("max_batch", max_batch)),
        ):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.predictor = predictor
        self.observer = observer or Observer()
        self._streams_left = streams
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._decoding = threading.BoundedSemaphore(decoders)
        self._lock = threading.Lock()  # of the line and the two counts
        self._inside = 0
        self._run_s = 0.0  # how long a run may take: the last one did
        self._line: deque[_Entry] = deque()

    @property
    def full(self) -> bool:
        """Whether the next request would be refused."""
        return self._inside >= self._max_waiting

    def turn_away(self) -> BusyError:
        """Count a caller for whom there is no room, and return what to tell him."""
        self.observer.dropped("full")
        return BusyError(
            "More people are asking than this server can answer: its line of "
            f"{self._max_waiting} is full. Please try again in a moment.",
            at_once=True,
        )

    def require_room(self) -> None:
        """Refuse the next caller before anything is done for him.

        Raises:
            BusyError: The line is full.
        """
        if self.full:
            raise self.turn_away()

    def replace(self, predictor: Predictor) -> None:
        """Let another predictor answer whoever is admitted from now on."""
        self.predictor = predictor

    @contextmanager
    def admit(self, caller: Deadline | None = None) -> Iterator[Admission]:
        """Let a caller in, for as long as the context lasts.

        Raises:
            BusyError: The line is full.
        """
        with self._lock:
            admitted = not self.full
            self._inside += admitted
            length = self._inside
        if not admitted:
            raise self.turn_away()
        self.observer.line_changed(length)
        try:
            yield Admission(self, self.predictor, caller or Deadline())
        finally:
            with self._lock:
                self._inside -= 1
                length = self._inside
            self.observer.line_changed(length)

    def predict_bytes(
        self,
        blobs: Sequence[bytes],
        *,
        top: int = 5,
        explain: bool = False,
        caller: Deadline | None = None,
    ) -> list[Prediction | ImageError]:
        """Return one entry per image file, in order: the prediction, or why there is none.

        Args:
            blobs: The contents of image files.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.
            caller: Who waits for it; someone with all the time in the world where left out.

        Raises:
            BusyError: The line is full, or the caller's time was up.
            ValueError: `top` is below 1.
        """
        with self.admit(caller) as admission:
            return admission.predict_bytes(blobs, top=top, explain=explain)

    def _run(
        self, admission: Admission, images_nhwc: NDArray[np.uint8], *, explain: bool
    ) -> dict[str, NDArray[np.float32]]:
        """Return what `Predictor.probabilities` does, for images that are run with others."""
        entry = _Entry(admission, images_nhwc, explain)
        entry.turn.acquire()
        with self._lock:
            if self._streams_left:
                self._streams_left -= 1
                entry.is_leader = True
            else:
                self._line.append(entry)
        if not entry.is_leader:
            entry.turn.acquire()
        if entry.is_leader:
            self._lead(entry)
        if entry.error is not None:
            raise entry.error
        return entry.scores

    def _lead(self, first: _Entry) -> None:
        """Run a batch with the stream that `first` holds, and hand the stream on."""
        batch = [first]
        try:
            with self._lock:
                images = len(first.images_nhwc)
                while self._line and self._line[0].admission.predictor is first.admission.predictor:
                    images += len(self._line[0].images_nhwc)
                    if images > self._max_batch:
                        break
                    batch.append(self._line.popleft())
            self._answer(batch)
        finally:
            with self._lock:
                successor = self._line.popleft() if self._line else None
                if successor is None:
                    self._streams_left += 1
                else:
                    successor.is_leader = True
            # The stream first: it should not stand idle while answers are written.
            for entry in [successor, *batch[1:]]:
                if entry is not None:
                    entry.turn.release()

    def _answer(self, batch: list[_Entry]) -> None:
        """Set scores or an error on each entry of a batch."""
        wanted: list[_Entry] = []
        for entry in batch:
            try:
                entry.admission.check(needed_s=self._run_s)
                wanted.append(entry)
            except BusyError as error:
                entry.error = error
        if not wanted:
            self._run_s /= 2  # or one slow run would keep everybody from proving it wrong
            return
        try:
            images_nhwc = np.concatenate([entry.images_nhwc for entry in wanted])
            start = time.perf_counter()
            scores = wanted[0].admission.predictor.probabilities(
                images_nhwc, with_activation=any(entry.explain for entry in wanted)
            )
            self._run_s = time.perf_counter() - start
            self.observer.ran(len(images_nhwc), self._run_s)
        except BaseException as error:
            for entry in wanted:
                entry.error = error
            return
        end = 0
        for entry in wanted:
            start_row, end = end, end + len(entry.images_nhwc)
            entry.scores = {
                name: rows[start_row:end]
                for name, rows in scores.items()
                if entry.explain or name != ACTIVATION_OUTPUT
            }


class Admission:
    """The right to have images decoded and answered, for one caller. Not thread-safe.

    Attributes:
        predictor: Who answers: the one that was in place when the caller was let in.
    """

    def __init__(self, batcher: Batcher, predictor: Predictor, caller: Deadline) -> None:
        self.predictor = predictor
        self._batcher = batcher
        self._caller = caller

    def check(self, *, needed_s: float = 0.0) -> None:
        """Make sure that somebody still waits, and will when so many seconds have passed.

        Raises:
            BusyError: The caller's time is up, or will be, or the caller has gone.
        """
        if self._caller.is_gone():
            self._batcher.observer.dropped("gone")
            raise BusyError("Nobody waits for this answer any more.")
        if time.monotonic() + needed_s >= self._caller.deadline_s:
            self._batcher.observer.dropped("late")
            raise BusyError(
                "This took too long, as more people are asking than this server can answer. "
                "Please try again in a moment."
            )

    def decode(
        self,
        decode: Callable[[bytes], NDArray[np.uint8]],
        blob: bytes,
        *,
        identify: Callable[[bytes], object] | None = None,
    ) -> NDArray[np.uint8]:
        """Return `decode(blob)`, in turn: only some files are decoded at a time.

        Args:
            decode: Returns the pixels of a file.
            blob: The file.
            identify: Is asked first, out of turn: what is no image need not wait to hear so.

        Raises:
            BusyError: The caller's time was up, or the caller gone, before it was this file's turn.
            ImageError: What `decode` and `identify` raise.
        """
        self.check()
        if identify is not None:
            identify(blob)
        with self._batcher._decoding:
            self.check()
            start = time.perf_counter()
            image = decode(blob)
            self._batcher.observer.decoded(time.perf_counter() - start)
        return image

    def predict_bytes(
        self, blobs: Sequence[bytes], *, top: int, explain: bool = False
    ) -> list[Prediction | ImageError]:
        """Return one entry per image file, in order: the prediction, or why there is none.

        Args:
            blobs: The contents of image files.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.

        Raises:
            BusyError: The caller's time was up, or the caller gone, before it was its turn.
            ValueError: `top` is below 1.
        """
        prepared: list[NDArray[np.uint8] | ImageError] = []
        for blob in blobs:
            try:
                identify = self.predictor.identify
                prepared.append(self.decode(self.predictor.prepare, blob, identify=identify))
            except ImageError as error:
                prepared.append(error)
        images = [item for item in prepared if not isinstance(item, ImageError)]
        predictions = iter(self.predict(images, top=top, explain=explain))
        return [item if isinstance(item, ImageError) else next(predictions) for item in prepared]

    def predict(
        self, images: Sequence[NDArray[np.uint8]], *, top: int, explain: bool = False
    ) -> list[Prediction]:
        """Return one prediction per image.

        Args:
            images: Each (height_px, width_px, 3) uint8, RGB, already brought to size.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.

        Raises:
            BusyError: The caller's time was up, or the caller gone, before it was its turn.
            ValueError: `top` is below 1, or an image has another shape or dtype.
        """
        if top < 1:
            raise ValueError(f"top: expected at least 1, got {top}")
        if not images:
            return []
        images_nhwc = np.stack(images)
        # Here, where it is one caller's error: in a batch it would be everybody's.
        self.predictor.check(images_nhwc)
        scores = self._batcher._run(self, images_nhwc, explain=explain)
        return self.predictor.describe(scores, top=top)
