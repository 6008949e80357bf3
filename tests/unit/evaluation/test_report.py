from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graded import LABELS, REFERENCES, small_evaluation

from shopwindow.errors import UsageError
from shopwindow.evaluation.metrics import grade, sure_answers
from shopwindow.evaluation.report import LossImage, format_summary, hardest_images, write_report
from shopwindow.evaluation.set_grades import SetGrades, grade_sets


class Page(HTMLParser):
    """The tags, their attributes and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += " " + data


def test_the_page_shows_the_figures_that_the_json_holds(tmp_path: Path) -> None:
    html, figures = write_report(tmp_path / "new" / "folder", small_evaluation())
    data = json.loads(figures.read_text(encoding="utf-8"))
    text = " ".join(Page(html).text.split())
    assert data["grades"]["accuracy"] == 0.5
    assert "50.00 %" in text
    assert f"{data['grades']['macro_f1']:.3f}" in text
    assert f"{data['grades']['ece']:.3f}" in text
    assert data["sure"]["coverage"] == 1.0
    assert f"{data['attributes']['gender']['accuracy']:.1%}".replace("%", " %") in text
    assert "One image was left out." in text
    assert [one["reference"] for one in data["highest_loss"]] == ["images/3.jpg", "images/4.jpg"]
    assert "images/3.jpg" in text


def test_the_page_asks_nothing_of_another_host_and_runs_no_script(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, small_evaluation())[0])
    assert "script" not in page.tags
    assert "link" not in page.tags
    sources = [value for name, value in page.values if name in ("src", "href")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not any("url(" in value for _, value in page.values)
    assert not any(name.startswith("on") for name, _ in page.values)


def test_a_label_with_markup_is_shown_as_text(tmp_path: Path) -> None:
    html, figures = write_report(tmp_path, small_evaluation())
    assert LABELS[0] in Page(html).text
    assert "<script" not in html.read_text(encoding="utf-8")
    labels = [one["label"] for one in json.loads(figures.read_text("utf-8"))["grades"]["per_class"]]
    assert labels == LABELS


def test_every_id_that_the_page_refers_to_exists_once(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, small_evaluation())[0])
    ids = [value for name, value in page.values if name == "id"]
    assert len(ids) == len(set(ids))
    referred = [value.split() for name, value in page.values if name == "aria-labelledby"]
    assert {one for group in referred for one in group} <= set(ids)


def test_a_model_without_mistakes_and_without_attributes_has_a_page_too(tmp_path: Path) -> None:
    probabilities, targets = np.eye(2), np.array([0, 1])
    evaluation = small_evaluation(
        images=2,
        grades=grade(probabilities, targets, ["a", "b"]),
        sure=sure_answers(probabilities, targets, 1.0),
        attributes={},
        hardest=(),
    )
    assert "every image was given its own label" in Page(write_report(tmp_path, evaluation)[0]).text


def test_a_threshold_that_no_answer_reaches_is_said_so(tmp_path: Path) -> None:
    probabilities, targets = np.full((2, 2), 0.5), np.array([0, 1])
    evaluation = small_evaluation(
        images=2,
        grades=grade(probabilities, targets, ["a", "b"]),
        sure=sure_answers(probabilities, targets, 0.9),
        attributes={},
    )
    html, figures = write_report(tmp_path, evaluation)
    assert "No prediction reaches 0.900" in Page(html).text
    assert json.loads(figures.read_text(encoding="utf-8"))["sure"]["precision"] is None


def test_a_second_report_replaces_the_first_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_report(tmp_path, small_evaluation())
    html, figures = write_report(tmp_path, small_evaluation(model_name="second"))
    assert sorted(tmp_path.iterdir()) == [html, figures]
    assert "second" in html.read_text(encoding="utf-8")


def test_a_file_where_the_folder_should_be_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UsageError, match="choose another"):
        write_report(tmp_path / "taken", small_evaluation())
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_report_that_cannot_be_written_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()  # cannot be replaced by a file
    with pytest.raises(UsageError):
        write_report(tmp_path, small_evaluation())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_large_images_are_embedded_small(tmp_path: Path) -> None:
    big = np.random.default_rng(0).integers(0, 255, (1500, 1000, 3), dtype=np.uint8)
    one = LossImage("big.jpg", "a", "b", 0.9, 0.01, big)
    html, _ = write_report(tmp_path, small_evaluation(hardest=(one,)))
    encoded = re.findall(r"base64,([^\"]+)", html.read_text(encoding="utf-8"))
    assert len(encoded) == 1
    assert len(encoded[0]) < 40_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 7}, "expected grades of 7 images"),
        ({"seconds": float("nan")}, "seconds"),
        ({"column": "gender"}, "is the main column already"),
        ({"created": "yesterday"}, "yesterday"),
        ({"sure": sure_answers(np.eye(2), np.array([0, 1]), 0.5)}, "expected 6 answers, got 2"),
    ],
)
def test_an_evaluation_that_contradicts_itself_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_evaluation(**change)


def test_hardest_images_are_read_in_one_call_and_only_those_needed() -> None:
    asked = []

    def read(indices: np.ndarray) -> np.ndarray:
        asked.append(indices.tolist())
        return np.zeros((len(indices), 4, 4, 3), dtype=np.uint8)

    probabilities = np.array([[0.9, 0.1]] * 6)
    found = hardest_images(
        probabilities, np.array([0, 1, 0, -1, 0, 0]), ["a", "b"], REFERENCES, read, count=1
    )
    assert asked == [[1]]
    (one,) = found
    assert (one.reference, one.true, one.predicted) == ("images/1.jpg", "b", "a")
    assert (one.confidence, one.true_confidence) == (0.9, 0.1)


def test_every_key_of_the_json_is_documented(tmp_path: Path, repository_root: Path) -> None:
    documented = (repository_root / "docs" / "evaluation.md").read_text(encoding="utf-8")

    def keys(data: object) -> set[str]:
        if isinstance(data, dict):
            return set(data).union(*(keys(value) for value in data.values()))
        return set().union(*(keys(value) for value in data)) if isinstance(data, list) else set()

    data = json.loads(write_report(tmp_path, small_evaluation())[1].read_text(encoding="utf-8"))
    names = keys(data) - set(data["attributes"])  # those are names of columns
    assert not sorted(name for name in names if f"`{name}`" not in documented)


def test_the_page_shows_no_share_that_cannot_be_wrong(tmp_path: Path) -> None:
    text = Page(write_report(tmp_path, small_evaluation())[0]).text
    for first in (3, 5):
        assert (f"Top-{first}" in text) is (len(LABELS) > first)


def test_the_summary_names_each_figure_once() -> None:
    text = format_summary(small_evaluation())
    for name in (
        "accuracy  ",
        "macro-F1  ",
        "ECE  ",
        "sure  ",
        "gender",
        "note: One",
    ):
        assert text.count(f"\n  {name}") == 1, text
    assert "50.00 %" in text
    assert "top-" not in text  # of three labels the right one is always among the first three


def test_report_and_summary_say_how_often_prediction_sets_hold_the_label(tmp_path: Path) -> None:
    page, figures = write_report(tmp_path, small_evaluation())
    assert json.loads(figures.read_text("utf-8"))["prediction_sets"] == {
        "level": 0.95,
        "of": [
            {"of": "all", "images": 6, "held": 0.833333, "held_interval_95": [0.436497, 0.969947],
             "mean_size": 1.5},
            {"of": "not sure", "images": 3, "held": 0.666667,
             "held_interval_95": [0.20766, 0.938508], "mean_size": 2.0},
        ],
    }  # fmt: skip
    assert "83.3 %" in page.read_text("utf-8")
    assert "promised: 95.0 %" in format_summary(small_evaluation())
    without = small_evaluation(sets=(), set_level=None)
    assert without.as_json()["prediction_sets"] is None
    assert "prediction sets" not in format_summary(without)
    page, _ = write_report(tmp_path, without)
    assert "Prediction sets" not in page.read_text("utf-8")


def test_sets_are_graded_by_the_images_that_have_a_label_and_a_set() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [1, 0, 0]])
    targets, sizes = np.array([1, 0, 2, -1]), np.array([2, 2, 0, 1])
    masks = {"all": np.ones(4, bool), "second": np.arange(4) == 1, "none": np.arange(4) == 3}
    assert grade_sets(probabilities, targets, sizes, masks) == (
        SetGrades("all", 2, 1, 2.0),
        SetGrades("second", 1, 0, 2.0),
    )


def test_the_columns_of_the_summary_are_aligned() -> None:
    lines = format_summary(small_evaluation()).splitlines()
    pairs = [line for line in lines if "→" in line]
    assert len(pairs) == 3
    assert len({line.index("→") for line in pairs}) == 1
    assert len({len(line) for line in pairs}) == 1


def test_an_escape_sequence_in_the_data_does_not_reach_the_terminal() -> None:
    text = format_summary(small_evaluation(notes=("\x1b[2Jgone",), column="a\nb"))
    assert "\x1b" not in text
    assert "a\\nb" in text
