"""Requests that wait together share a run, each with its own answer; a lone one need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from shopwindow.bundle import bundled_model_path
from shopwindow.errors import BusyError, ImageError, UnsupportedImageError
from shopwindow.inference.batching import Batcher, Deadline, DropReason, Observer
from shopwindow.inference.prediction import Prediction
from shopwindow.inference.predictor import Predictor, load_predictor

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}


class Record(Observer):
    """Writes down what it hears, and lets a test wait until it has heard it."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.batches: list[int] = []
        self.seconds: list[float] = []
        self.reasons: list[DropReason] = []
        self._heard = threading.Condition()

    def line_changed(self, length: int) -> None:
        with self._heard:
            self.lengths.append(length)
            self._heard.notify_all()

    def decoded(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def ran(self, images: int, seconds: float) -> None:
        self.batches.append(images)
        self.seconds.append(seconds)

    def dropped(self, reason: DropReason) -> None:
        self.reasons.append(reason)

    def wait_for_length(self, length: int) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: self.lengths[-1:] == [length], timeout=60)


class Slow:
    """A client that is asked whether it has gone when its batch begins, and takes its time."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()
        self.deadline = Deadline(is_gone=self._is_gone)

    def _is_gone(self) -> bool:
        self.asked.set()
        assert self.answer.wait(60)
        return False


def plain(colour: str) -> np.ndarray:
    return np.full((8, 6, 3), COLOURS[colour], np.uint8)


def ask(batcher: Batcher, *colours: str, deadline: Deadline | None = None) -> list[str]:
    with batcher.admit(deadline) as admission:
        return [answer.label for answer in admission.predict([*map(plain, colours)], top=2)]


def ask_about_files(
    batcher: Batcher, blobs: list[bytes], deadline: Deadline | None = None
) -> list[Prediction | ImageError]:
    with batcher.admit(deadline) as admission:
        return admission.predict_bytes(blobs, top=5)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do within microseconds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end


@contextmanager
def held_stream(batcher: Batcher) -> Iterator[ThreadPoolExecutor]:
    """Keep the only stream busy inside the block, and let it go at its end."""
    slow = Slow()
    with ThreadPoolExecutor(16) as pool:
        holder = pool.submit(ask, batcher, "white", deadline=slow.deadline)
        assert slow.asked.wait(60)
        try:
            yield pool
        finally:
            slow.answer.set()
        assert holder.result(60) == ["white"]


def wait_in_line(batcher: Batcher, pool: ThreadPoolExecutor, *colours: str) -> Future[list[str]]:
    before = len(batcher._line)
    answer = pool.submit(ask, batcher, *colours)
    until(lambda: len(batcher._line) == before + 1)
    return answer


def test_lone_caller_is_answered_at_once_and_alone(predictor: Predictor) -> None:
    record = Record()
    assert ask(Batcher(predictor, observer=record), "red") == ["red"]
    assert record.batches == [1]
    assert record.lengths == [1, 0]


def test_callers_who_wait_while_the_stream_is_busy_share_the_next_run(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    with held_stream(batcher) as pool:
        answers = [
            wait_in_line(batcher, pool, *colours)
            for colours in (["red"], ["green", "blue"], ["white"], ["blue"])
        ]
    assert [answer.result() for answer in answers] == [
        *(["red"], ["green", "blue"], ["white"], ["blue"])
    ]
    assert record.batches == [1, 5]


def test_batch_takes_whole_requests_up_to_its_limit_in_the_order_of_arrival(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record, max_batch=3)
    with held_stream(batcher) as pool:
        answers = [
            wait_in_line(batcher, pool, *colours)
            for colours in (["red"], ["green"], ["blue"] * 2, ["white"] * 9, ["red"])
        ]
    assert [len(answer.result()) for answer in answers] == [1, 1, 2, 9, 1]
    assert record.batches == [1, 2, 2, 9, 1]


def test_two_streams_run_at_the_same_time(predictor: Predictor) -> None:
    batcher = Batcher(predictor, streams=2)
    with held_stream(batcher):
        assert ask(batcher, "red") == ["red"]


def test_caller_beyond_the_limit_is_refused_and_those_inside_are_not(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record, max_waiting=3)
    with held_stream(batcher) as pool:
        answers = [wait_in_line(batcher, pool, colour) for colour in ("red", "blue")]
        assert batcher.full
        with pytest.raises(BusyError, match="its queue of 3 is full"):
            ask(batcher, "green")
    assert [answer.result() for answer in answers] == [["red"], ["blue"]]
    assert record.reasons == ["full"]
    assert not batcher.full
    assert ask(batcher, "green") == ["green"]


def test_file_that_is_no_image_hears_so_while_others_wait_for_their_turn(
    predictor: Predictor,
) -> None:
    batcher = Batcher(predictor, decoders=1)
    decoding, go_on = threading.Event(), threading.Event()

    def decode_slowly(blob: bytes) -> np.ndarray:
        decoding.set()
        assert go_on.wait(20)
        return plain("red")

    with ThreadPoolExecutor(2) as pool:
        try:
            with batcher.admit() as admission:
                slow = pool.submit(admission.decode, decode_slowly, b"")
                assert decoding.wait(20)
                (answer,) = pool.submit(ask_about_files, batcher, [b"no image"]).result(20)
                assert isinstance(answer, UnsupportedImageError)
                assert not slow.done()
        finally:
            go_on.set()


@pytest.mark.parametrize(
    ("deadline", "reason"),
    [(Deadline(deadline_s=0), "late"), (Deadline(is_gone=lambda: True), "gone")],
)
def test_work_that_nobody_waits_for_is_neither_decoded_nor_run(
    predictor: Predictor, deadline: Deadline, reason: str
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    with pytest.raises(BusyError):
        ask_about_files(batcher, [b"never looked at"], deadline)
    assert record.seconds == []
    assert record.reasons == [reason]
    assert record.lengths == [1, 0]


def test_caller_who_goes_while_waiting_takes_no_place_in_the_batch(predictor: Predictor) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    gone = threading.Event()
    with held_stream(batcher) as pool:
        before = wait_in_line(batcher, pool, "red")
        leaver = pool.submit(ask, batcher, "green", deadline=Deadline(is_gone=gone.is_set))
        until(lambda: len(batcher._line) == 2)
        behind = wait_in_line(batcher, pool, "blue")
        gone.set()
    assert (before.result(), behind.result()) == (["red"], ["blue"])
    with pytest.raises(BusyError):
        leaver.result()
    assert record.batches == [1, 2]
    assert record.reasons == ["gone"]


def test_batch_that_nobody_waits_for_is_not_run_and_the_stream_goes_on(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    with held_stream(batcher) as pool:
        deadline_s = time.monotonic() + 0.05
        late = pool.submit(ask, batcher, "red", deadline=Deadline(deadline_s))
        until(lambda: len(batcher._line) == 1 or late.done())
        until(lambda: time.monotonic() >= deadline_s)
    with pytest.raises(BusyError, match="too long"):
        late.result()
    assert record.batches == [1]
    assert ask(batcher, "blue") == ["blue"]


def test_answer_that_would_come_too_late_is_not_begun_but_tried_again_for_the_next(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    batcher._run_s = 100.0  # as if the last run had taken that long
    with pytest.raises(BusyError, match="too long"):
        ask(batcher, "red", deadline=Deadline(time.monotonic() + 60))
    assert record.batches == []
    assert record.reasons == ["late"]
    assert ask(batcher, "red", deadline=Deadline(time.monotonic() + 60)) == ["red"]
    assert batcher._run_s < 50


def test_files_are_decoded_only_so_many_at_a_time(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    batcher = Batcher(predictor, decoders=2)
    inside, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2)

    def decode(blob: bytes) -> np.ndarray:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        both.wait(60)  # breaks, and the test with it, where fewer than two are let in
        pixels = predictor.prepare(blob)
        with lock:
            inside -= 1
        return pixels

    def ask_slowly(colour: str) -> str:
        with batcher.admit() as admission:
            pixels = admission.decode(decode, image_bytes(colour))
            return admission.predict([pixels], top=1)[0].label

    colours = ["red", "blue"] * 6
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask_slowly, colours)) == colours
    assert most == 2


def test_bad_file_among_good_ones_spoils_only_its_own_entry(
    predictor: Predictor, image_bytes: Callable[..., bytes]
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    blobs = [image_bytes("blue"), b"no image", image_bytes("red")]
    first, second, third = ask_about_files(batcher, blobs)
    assert isinstance(first, Prediction)
    assert isinstance(second, UnsupportedImageError)
    assert isinstance(third, Prediction)
    assert (first.label, third.label) == ("blue", "red")
    assert record.batches == [2]
    assert ask_about_files(batcher, []) == []


def test_only_who_asks_why_is_told(predictor: Predictor) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)

    def ask_why(explain: bool) -> Prediction:
        with batcher.admit() as admission:
            return admission.predict([plain("red")], top=1, explain=explain)[0]

    with held_stream(batcher) as pool:
        answers = [pool.submit(ask_why, explain) for explain in (True, False)]
        until(lambda: len(batcher._line) == 2)
    assert [answer.result().activation is not None for answer in answers] == [True, False]
    assert record.batches == [1, 2]


def test_only_who_asks_for_the_embedding_gets_it(embedding_bundle: Path) -> None:
    record = Record()
    batcher = Batcher(load_predictor(embedding_bundle, threads=1), observer=record)

    def ask_for(embed: bool) -> Prediction:
        with batcher.admit() as admission:
            return admission.predict([plain("red")], top=1, embed=embed)[0]

    with held_stream(batcher) as pool:
        answers = [pool.submit(ask_for, embed) for embed in (True, False)]
        until(lambda: len(batcher._line) == 2)
    assert [answer.result().embedding is not None for answer in answers] == [True, False]
    assert [answer.result().activation is None for answer in answers] == [True, True]
    assert record.batches == [1, 2]


def test_image_of_another_shape_is_the_error_of_its_own_caller(predictor: Predictor) -> None:
    batcher = Batcher(predictor)
    with batcher.admit() as admission, pytest.raises(ValueError, match=r"expected \(N, 8, 6, 3\)"):
        admission.predict([np.zeros((6, 8, 3), np.uint8)], top=1)
    assert ask(batcher, "red") == ["red"]


def test_failing_run_is_the_error_of_all_who_were_in_it_and_of_nobody_after(
    predictor: Predictor,
) -> None:
    class Broken(Observer):
        def ran(self, images: int, seconds: float) -> None:
            if images == 2:
                raise MemoryError("no room for two")

    batcher = Batcher(predictor, observer=Broken())
    with held_stream(batcher) as pool:
        answers = [wait_in_line(batcher, pool, colour) for colour in ("red", "blue")]
    for answer in answers:
        with pytest.raises(MemoryError):
            answer.result(60)
    assert ask(batcher, "green") == ["green"]


def test_replaced_predictor_answers_the_next_and_those_in_line_keep_theirs(
    predictor: Predictor,
) -> None:
    record = Record()
    batcher = Batcher(predictor, observer=record)
    with held_stream(batcher) as pool:
        before = wait_in_line(batcher, pool, "red")
        batcher.replace(Predictor(predictor.bundle, threads=1))
        after = wait_in_line(batcher, pool, "blue")
    assert (before.result(), after.result()) == (["red"], ["blue"])
    assert record.batches == [1, 1, 1]  # two models never share a run


@pytest.mark.parametrize("name", ["streams", "decoders", "max_waiting", "max_batch"])
def test_none_of_something_is_refused(predictor: Predictor, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        Batcher(predictor, **{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("streams", [1, 2])
def test_every_answer_of_the_bundled_model_belongs_to_its_own_image(streams: int) -> None:
    """16 threads, each image different, compared with what the model says to it alone."""
    predictor = load_predictor(bundled_model_path(), threads=1, engine="onnxruntime")
    rule = predictor.bundle.info.rule
    random = np.random.default_rng(streams)
    coarse = random.integers(0, 256, (48, 4, 3, 3), np.uint8)
    images = coarse.repeat(rule.height_px // 4, 1).repeat(rule.width_px // 3, 2)
    expected = [predictor.predict_images(image[None], top=3)[0] for image in images]
    record = Record()
    batcher = Batcher(predictor, streams=streams, observer=record)

    def ask_about(index: int) -> Prediction:
        with batcher.admit() as admission:
            return admission.predict([images[index]], top=3)[0]

    order = random.permutation(np.arange(96) % 48)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask_about, order))
    for index, answer in zip(order, answers, strict=True):
        assert [s.label for s in answer.top] == [s.label for s in expected[index].top]
        for found, alone in zip(answer.top, expected[index].top, strict=True):
            assert found.confidence == pytest.approx(alone.confidence, abs=1e-4)
    assert sum(record.batches) == 96
    assert max(record.batches) > 1
