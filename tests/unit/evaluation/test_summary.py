from __future__ import annotations

from graded import small_evaluation

from shopwindow.evaluation.summary import format_summary


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


def test_the_columns_of_the_summary_are_aligned() -> None:
    lines = format_summary(small_evaluation()).splitlines()
    pairs = [line for line in lines if "→" in line]
    assert len(pairs) == 3
    assert len({line.index("→") for line in pairs}) == 1
    assert len({len(line) for line in pairs}) == 1


def test_an_escape_sequence_in_the_data_does_not_reach_the_terminal() -> None:
    text = format_summary(small_evaluation(notes=("\x1b[2Jgone",), column="a\nb"))
    assert "\x1b" not in text
    assert "a�b" in text
