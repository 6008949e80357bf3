"""What the page shows for each picture that was sent without JavaScript."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shopwindow.errors import ImageError
from shopwindow.feedback.service import RECEIPT_LABELS, FeedbackService
from shopwindow.gallery.gallery_file import SimilarItem
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import identify
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import preprocess
from shopwindow.inference.batching import Admission
from shopwindow.inference.prediction import Prediction
from shopwindow.web.heatmap import heatmap_uri
from shopwindow.web.messages import Words, in_words

FindSimilar = Callable[[NDArray[np.float32]], Sequence[SimilarItem]]

_PREVIEW_SIDE_PX = 512
_TILE_SIDE_PX = 256  # of one among many
# Catalogue thumbnails of some 60 px look broken when they are stretched over the window.
_SMALL_PX = 200


@dataclass(frozen=True, slots=True)
class Preview:
    """A JPEG file, and its size in pixels."""

    jpeg: bytes
    width_px: int
    height_px: int

    @property
    def base64(self) -> str:
        """The file as text."""
        return base64.b64encode(self.jpeg).decode("ascii")

    @property
    def uri(self) -> str:
        """The file as a `data:` URI."""
        return f"data:image/jpeg;base64,{self.base64}"

    @property
    def small(self) -> bool:
        """Whether it should not be stretched over the whole window."""
        return max(self.width_px, self.height_px) < _SMALL_PX


@dataclass(frozen=True, slots=True)
class Answer:
    """One picture and what the model says about it, or why it could not be read.

    Attributes:
        name: The file's name as the visitor knows it.
        prediction: None where there is an error.
        words: The prediction in words.
        preview: The picture, made anew.
        heatmap: A `data:` URI, see `heatmap_uri`; None where the model has none.
        receipt: What feedback on it must carry; None where feedback is off.
        error: The reason, if it was refused.
        similar: What looks like it, of the gallery; the most similar first.
    """

    name: str
    prediction: Prediction | None = None
    words: Words | None = None
    preview: Preview | None = None
    heatmap: str | None = None
    receipt: str | None = None
    error: ImageError | None = None
    similar: Sequence[SimilarItem] = ()


def answer_all(
    admission: Admission,
    files: Sequence[tuple[str, bytes]],
    *,
    top: int,
    limits: ImageLimits,
    feedback: FeedbackService | None = None,
    find_similar: FindSimilar | None = None,
) -> list[Answer]:
    """Answer every (name, content), least sure first; what could not be read comes last.

    A single photo gets similar items too, where there is `find_similar`.

    Raises:
        BusyError: The request's time was up before its turn came.
    """
    bundle = admission.predictor.bundle
    info = bundle.info
    side_px = _PREVIEW_SIDE_PX if len(files) == 1 else _TILE_SIDE_PX
    # Enough for the model and for the preview.
    least_height, least_width = (max(enough, side_px) for enough in info.rule.enough_px)
    decode = partial(decode_image, limits=limits, least_px=(least_height, least_width))
    failed, read = [], []
    for name, blob in _with_unique_names(files):
        try:
            image_hwc = admission.decode(decode, blob, identify=partial(identify, limits=limits))
        except ImageError as error:
            failed.append(Answer(name, error=error))
            continue
        # One decoded photo at a time: many large ones would fill the memory.
        preview = make_preview(image_hwc, side_px)
        read.append((name, blob, preview, preprocess(image_hwc, info.rule)))
    predictions = admission.predict(
        [image for *_, image in read],
        top=max(top, RECEIPT_LABELS),
        explain=len(files) == 1,
        embed=find_similar is not None and len(files) == 1,
    )
    answers = []
    for (name, blob, preview, _), prediction in zip(read, predictions, strict=True):
        receipt = None
        if feedback is not None:
            receipt = feedback.receipt(prediction, bundle, [blob, preview.jpeg])
        answers.append(
            Answer(
                name,
                replace(prediction, top=prediction.top[:top]),
                in_words(prediction, info),
                preview,
                heatmap_uri(prediction.activation, info.rule),
                receipt,
                similar=find_similar(prediction.embedding)
                if find_similar is not None and prediction.embedding is not None
                else (),
            )
        )
    answers.sort(key=lambda answer: answer.prediction.rank if answer.prediction else (0, 0.0))
    return answers + failed


def make_preview(image_hwc: NDArray[np.uint8], side_px: int) -> Preview:
    """Return a preview of at most `side_px` on its longer side; smaller pictures keep their size.

    Never the bytes that were uploaded: re-encoded pixels carry no metadata (such as where a photo
    was taken) and nothing that a browser could take for something else.

    Args:
        image_hwc: (H, W, 3) RGB, upright.
        side_px: The longest side of the preview.
    """
    picture = Image.fromarray(image_hwc)
    picture.thumbnail((side_px, side_px))
    out = BytesIO()
    picture.save(out, "JPEG", quality=82)
    return Preview(out.getvalue(), *picture.size)


def _with_unique_names(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Number the files that share a name, as the page's script does."""
    count = Counter(name for name, _ in files)
    seen: Counter[str] = Counter()
    named = []
    for name, blob in files:
        seen[name] += 1
        number = f" ({seen[name]} of {count[name]}, {len(blob)} bytes)" if count[name] > 1 else ""
        named.append((name + number, blob))
    return named
