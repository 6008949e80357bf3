"""How much an answer is worth is decided once, and said as docs/page.md has it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from colour_bundle import colour_info
from shopwindow.bundle import KnownPhotos, Novelty, Threshold, read_bundle
from shopwindow.inference.prediction import DOUBTS, LabelScore, Prediction
from shopwindow.web.messages import Words, in_words

_DOCS = Path(__file__).parents[3] / "docs" / "page.md"


def predicted(
    confidence: float,
    *,
    sure: bool = False,
    family: float | None = None,
    label: str = "red",
    known: bool | None = None,
) -> Prediction:
    return Prediction(
        label=label,
        confidence=confidence,
        sure=sure,
        top=(LabelScore(label, confidence),),
        attributes={"brightness": LabelScore("dark", 0.97), "finish": LabelScore("matt", 0.41)},
        family=None if family is None else LabelScore("hue", family),
        novelty=None if known is None else 0.5,
        known=known,
    )


# One answer in each state, at both ends of it, in the order of the table.
STATES = {
    "sure": [predicted(0.9, sure=True), predicted(0.9999, sure=True)],
    "likely": [predicted(0.8999, sure=True), predicted(0.3, sure=True)],
    "family": [predicted(0.3, family=0.98), predicted(0.57, family=0.75)],
    "unsure": [predicted(0.5), predicted(0.57), predicted(0.9999), predicted(0.98, family=0.982)],
    "unknown": [predicted(0.4999), predicted(0.02)],
}
ALL = [(kind, one) for kind, predictions in STATES.items() for one in predictions]


def table() -> dict[str, list[str]]:
    """Return the cells of each row of the table, by its kind."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def said(prediction: Prediction) -> Words:
    return in_words(prediction, colour_info())


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_answer_has_the_state_of_the_table(kind: str, prediction: Prediction) -> None:
    _, heading, percentage, sentence = table()[kind]
    words = said(prediction)
    assert words.kind == prediction.doubt == kind
    expected = {"the label": "red", "the label, with a question mark": "red", "the family": "hue"}
    assert words.heading == expected.get(heading, heading)
    assert bool(words.share) is (percentage != "none")
    assert any(
        part.strip(" ,)") in f"{words.verdict} {words.note}"
        for part in re.split(r"\(|, from", sentence)
    )


def test_table_has_every_state_and_no_other() -> None:
    assert list(table()) == list(reversed(DOUBTS)) == list(STATES)


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_percentage_is_that_of_the_heading(kind: str, prediction: Prediction) -> None:
    words = said(prediction)
    of = {"family": prediction.family and prediction.family.confidence, "unknown": None}
    assert words.confidence == of.get(kind, prediction.confidence)
    if words.share:
        assert words.verdict in ("Almost certain", "Very likely", "Likely")
    else:
        assert words.verdict in ("Not sure", "No answer stands out")


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_model_never_speaks_of_itself_as_i(kind: str, prediction: Prediction) -> None:
    words = said(prediction)
    assert not re.search(
        r"\b(I|my|me|was trained)\b", f"{words.heading} {words.verdict} {words.note}"
    )


@pytest.mark.parametrize(("kind", "prediction"), ALL)
def test_attributes_are_not_surer_than_the_answer(kind: str, prediction: Prediction) -> None:
    doubted = ("brightness", "finish") if kind in ("unsure", "unknown") else ("finish",)
    assert said(prediction).doubted == doubted


def test_answer_is_in_the_same_state_whether_its_model_has_families() -> None:
    for kind, prediction in ALL:
        if prediction.family is None:
            plain = in_words(prediction, replace(colour_info(), families=()))
            assert plain == said(prediction), kind


def test_model_that_is_never_sure_says_why() -> None:
    info = replace(colour_info(), threshold=Threshold(1.0, 0.0, 0.0), quality={})
    words = in_words(predicted(0.9999), info)
    assert (words.verdict, words.share) == ("Not sure", "")
    assert "In tests, no level of confidence was right often enough to count as sure." in words.note


def test_surer_answers_rank_higher_and_so_do_higher_percentages_within_a_state() -> None:
    ranked = sorted((one for _, one in ALL), key=lambda one: one.rank)
    assert [one.doubt for one in ranked] == [
        kind for kind in DOUBTS for _ in range(len(STATES[kind]))
    ]
    shares = [one.shown.confidence for one in ranked if one.shown and one.doubt == "family"]
    assert shares == [0.75, 0.98]


def set_of(prediction: Prediction, *further: str) -> Prediction:
    return replace(prediction, prediction_set=(prediction.label, *further))


def test_short_list_of_labels_is_said_where_the_answer_is_not_sure(sets_bundle: Path) -> None:
    info = read_bundle(sets_bundle).info
    for kind in ("family", "unsure", "unknown"):
        one = STATES[kind][0]
        note = in_words(set_of(one, "blue", "black"), info).note
        assert "If the model knows it, it is one of these: red, blue, black. Such lists" in note
        assert "hold the right label about 95 times in 100." in note
        assert "Its best guess is red" in note
        for long_or_alone in (("a", "b", "c"), ()):
            assert "Such lists" not in in_words(set_of(one, *long_or_alone), info).note
        assert "Such lists" not in in_words(one, info).note, "nothing is promised"
    for kind in ("sure", "likely"):
        assert "Such lists" not in in_words(set_of(STATES[kind][0], "blue"), info).note


def test_low_confidence_means_not_sure_which_where_novelty_is_measured() -> None:
    assert predicted(0.02).doubt == "unknown"
    assert predicted(0.02, known=True).doubt == "unsure"


@pytest.mark.parametrize("confidence", [0.02, 0.9999])
def test_unlike_is_said_of_measured_novelty_only(confidence: float) -> None:
    unlike, novelty = "has not seen anything like this", Novelty(0.4, (KnownPhotos("p", 9, 0.02),))
    info = replace(colour_info(), novelty=novelty)
    words = in_words(predicted(confidence, known=False, family=0.9), info)
    assert (words.kind, words.confidence, words.share) == ("unknown", None, "")
    assert words.verdict in table()["unknown"][3]
    assert unlike in words.note
    assert "2.0\u202f%" in words.note
    assert unlike not in said(predicted(confidence)).note
    assert unlike not in in_words(predicted(confidence, known=True), info).note


def test_unknown_image_cannot_be_sure() -> None:
    with pytest.raises(ValueError, match="not known"):
        predicted(0.99, sure=True, known=False)
