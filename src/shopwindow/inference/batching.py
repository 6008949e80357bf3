"""One model for many requests at a time: requests that wait together share a run of the model.

A model takes less time for eight images at once than for eight in turn. So when a stream (one run
of the model at a time) becomes free, it takes all requests that wait by then. None is held back to
fill a batch: a request that finds a free stream runs at once.

There is no thread of its own in here. The first request in line runs the batch for those behind it
and then hands the stream to the next, so a lone request costs no switch of threads.

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

from shopwindow.bundle import ACTIVATION_OUTPUT, EMBEDDING_OUTPUT
from shopwindow.errors import BusyError, ImageError
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor, predict_items

DropReason = Literal["full", "late", "gone"]


class Observer:
    """Is told of events as they happen, in the thread where they happen; this one does nothing.

    Methods are called from many threads, which wait for them: they must be quick and thread-safe,
    and raise nothing.
    """

    def line_changed(self, length: int) -> None:
        """`length` requests are inside now, waiting or running."""

    def decoded(self, seconds: float) -> None:
        """An image file took so long to decode, without the wait before it."""

    def ran(self, images: int, seconds: float) -> None:
        """The model ran once, for so many images and so long."""

    def dropped(self, reason: DropReason) -> None:
        """A request is not answered: the line is `full`, it is `late`, or the client is `gone`."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time after which an answer is of no use.

    Attributes:
        deadline_s: On the clock of `time.monotonic`.
        is_gone: Says whether the client has hung up. Called often: it must be quick.
    """

    deadline_s: float = float("inf")
    is_gone: Callable[[], bool] = lambda: False


@dataclass(slots=True, eq=False)
class _Entry:
    """Pixels in line for the model, and then the scores or the error."""

    admission: Admission
    images_nhwc: NDArray[np.uint8]
    explain: bool
    embed: bool
    is_leader: bool = False
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    error: BaseException | None = None
    # Taken from the start, and released once: when the entry is answered, or is to lead.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def take(self, scores: dict[str, NDArray[np.float32]], rows: slice) -> None:
        """Set `scores` to some rows of a batch's, without what only others of it asked for."""
        unwanted = {
            *(() if self.explain else (ACTIVATION_OUTPUT,)),
            *(() if self.embed else (EMBEDDING_OUTPUT,)),
        } & set(self.admission.predictor.bundle.info.further_outputs)
        self.scores = {name: part[rows] for name, part in scores.items() if name not in unwanted}


class Batcher:
    """A predictor that many threads may ask at once. Thread-safe.

    Args:
        predictor: Runs the model.
        streams: Runs of the model at a time.
        decoders: Image files that are decoded at a time.
        max_waiting: Requests inside at a time, waiting or running; a further one is refused.
        max_batch: Images in one run of the model, as far as whole requests allow.
        observer: Hears of what happens.
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
        """Count a request for which there is no room, and return its error."""
        self.observer.dropped("full")
        return BusyError(
            "This server has more requests than it can answer: its queue of "
            f"{self._max_waiting} is full. Please try again in a moment.",
            at_once=True,
        )

    def require_room(self) -> None:
        """Refuse the next request before anything is done for it.

        Raises:
            BusyError: The line is full.
        """
        if self.full:
            raise self.turn_away()

    def replace(self, predictor: Predictor) -> None:
        """Use another predictor for requests that are admitted from now on."""
        self.predictor = predictor

    @contextmanager
    def admit(self, deadline: Deadline | None = None) -> Iterator[Admission]:
        """Admit a request, for as long as the context lasts; without a deadline where left out.

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
            yield Admission(self, self.predictor, deadline or Deadline())
        finally:
            with self._lock:
                self._inside -= 1
                length = self._inside
            self.observer.line_changed(length)

    def _run(
        self, admission: Admission, images_nhwc: NDArray[np.uint8], *, explain: bool, embed: bool
    ) -> dict[str, NDArray[np.float32]]:
        """Return what `Predictor.probabilities` does; the images may share a run with others."""
        entry = _Entry(admission, images_nhwc, explain, embed)
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
            self._run_s /= 2  # or after one slow run no request would ever be tried again
            return
        try:
            images_nhwc = np.concatenate([entry.images_nhwc for entry in wanted])
            start = time.perf_counter()
            scores = wanted[0].admission.predictor.probabilities(
                images_nhwc,
                with_activation=any(entry.explain for entry in wanted),
                with_embedding=any(entry.embed for entry in wanted),
                with_kinds=True,
                with_novelty=True,
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
            entry.take(scores, slice(start_row, end))


class Admission:
    """A request's place inside: it may decode images and run the model. Not thread-safe.

    Attributes:
        predictor: The one that was in place when the request was admitted.
    """

    def __init__(self, batcher: Batcher, predictor: Predictor, deadline: Deadline) -> None:
        self.predictor = predictor
        self._batcher = batcher
        self._deadline = deadline

    def check(self, *, needed_s: float = 0.0) -> None:
        """Make sure that the client still waits, and will when so many seconds have passed.

        Raises:
            BusyError: The deadline has passed, or will have, or the client has gone.
        """
        if self._deadline.is_gone():
            self._batcher.observer.dropped("gone")
            raise BusyError("Nobody waits for this answer any more.")
        if time.monotonic() + needed_s >= self._deadline.deadline_s:
            self._batcher.observer.dropped("late")
            raise BusyError(
                "This took too long, because this server has more requests than it can answer. "
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
            identify: Called first, out of turn: a file that is no image is refused at once.

        Raises:
            BusyError: See `check`.
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
        self, blobs: Sequence[bytes], *, top: int, explain: bool = False, embed: bool = False
    ) -> list[Prediction | ImageError]:
        """See `Predictor.predict_bytes`.

        Raises:
            BusyError: See `check`.
            ValueError: `top` is below 1.
        """
        identify = self.predictor.identify
        return predict_items(
            blobs,
            lambda blob: self.decode(self.predictor.prepare, blob, identify=identify),
            lambda images: self.predict(images, top=top, explain=explain, embed=embed),
        )

    def predict(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        top: int,
        explain: bool = False,
        embed: bool = False,
    ) -> list[Prediction]:
        """Return one prediction per image.

        Args:
            images: Each (height_px, width_px, 3) uint8, RGB, already brought to size.
            top: How many labels to list; more than there are means all.
            explain: Whether to fill in `activation`, where the bundle can.
            embed: Whether to fill in `embedding`, where the bundle can.

        Raises:
            BusyError: See `check`.
            ValueError: `top` is below 1, or an image has another shape or dtype.
        """
        if top < 1:
            raise ValueError(f"top: expected at least 1, got {top}")
        if not images:
            return []
        images_nhwc = np.stack(images)
        # Here it is the error of one request; in a batch it would be that of all.
        self.predictor.check(images_nhwc)
        scores = self._batcher._run(self, images_nhwc, explain=explain, embed=embed)
        return self.predictor.describe(scores, top=top)
