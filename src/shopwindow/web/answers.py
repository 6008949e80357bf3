"""What the page shows for each picture that was handed in without JavaScript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from shopwindow.errors import ImageError
from shopwindow.imaging.decode import decode_image
from shopwindow.imaging.formats import identify
from shopwindow.imaging.limits import ImageLimits
from shopwindow.imaging.preprocess import ResizeRule, preprocess
from shopwindow.inference.batching import Admission
from shopwindow.inference.prediction import Prediction
from shopwindow.web.feedback_service import LISTED, FeedbackService
from shopwindow.web.heatmap import heatmap_uri
from shopwindow.web.messages import Words, in_words
from shopwindow.web.preview import PREVIEW_SIDE_PX, Preview, make_preview

_TILE_PX = 256  # previews of one among many


@dataclass(frozen=True, slots=True)
class Answer:
    """One picture and what the model says about it, or why it could not be read.

    Attributes:
        name: The file's name as the visitor knows it.
        prediction: None where there is an error.
        words: The prediction in words.
        preview: The picture, made anew.
        heatmap: A `data:` URI, see `heatmap_uri`; None where the model has none.
        receipt: What feedback on it must carry; None where none is taken.
        error: The reason, if it was refused.
    """

    name: str
    prediction: Prediction | None = None
    words: Words | None = None
    preview: Preview | None = None
    heatmap: str | None = None
    receipt: str | None = None
    error: ImageError | None = None


def answer_all(
    admission: Admission,
    files: Sequence[tuple[str, bytes]],
    *,
    top: int,
    limits: ImageLimits,
    feedback_service: FeedbackService | None = None,
) -> list[Answer]:
    """Answer every (name, content), least sure first; what could not be read comes last.

    Raises:
        BusyError: The caller's time was up before it was its turn.
    """
    bundle = admission.predictor.bundle
    info = bundle.info
    side_px = PREVIEW_SIDE_PX if len(files) == 1 else _TILE_PX
    # Enough for the model and for the preview.
    least_height, least_width = (max(enough, side_px) for enough in info.rule.enough_px)
    decode = partial(decode_image, limits=limits, least_px=(least_height, least_width))
    failed, seen = [], []
    for name, blob in _told_apart(files):
        try:
            image_hwc = admission.decode(decode, blob, identify=partial(identify, limits=limits))
        except ImageError as error:
            failed.append(Answer(name, error=error))
            continue
        # One decoded photo at a time: many large ones would fill the memory.
        preview = make_preview(image_hwc, side_px=side_px)
        seen.append((name, blob, preview, preprocess(image_hwc, info.rule)))
    images = [image for *_, image in seen]
    predictions = admission.predict(images, top=max(top, LISTED), explain=len(files) == 1)
    answers = [
        Answer(
            name,
            replace(prediction, top=prediction.top[:top]),
            in_words(prediction, info),
            preview,
            map_of(prediction, info.rule),
            feedback_service.receipt(prediction, bundle, [blob, preview.jpeg])
            if feedback_service
            else None,
        )
        for (name, blob, preview, _), prediction in zip(seen, predictions, strict=True)
    ]
    answers.sort(key=lambda one: one.prediction.rank if one.prediction else (0, 0.0))
    return answers + failed


def _told_apart(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return files whose names tell them apart, as the page's script has them too."""
    count = Counter(name for name, _ in files)
    seen: Counter[str] = Counter()
    told = []
    for name, blob in files:
        seen[name] += 1
        if count[name] > 1:
            told.append((f"{name} ({seen[name]} of {count[name]}, {len(blob)} bytes)", blob))
        else:
            told.append((name, blob))
    return told


def map_of(prediction: Prediction, rule: ResizeRule) -> str | None:
    """Return the heatmap of a prediction that was asked for with `explain`, as a `data:` URI."""
    return None if prediction.activation is None else heatmap_uri(prediction.activation, rule)
