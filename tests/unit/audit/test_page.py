"""The page of an audit shows each image once, with all that it is suspected of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopwindow.audit.auditing import Audit
from shopwindow.audit.page import reasons_to_look, write_audit
from shopwindow.audit.ranking import LabelRanking
from shopwindow.data.dataset import load_dataset
from shopwindow.imaging.preprocess import ResizeRule


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    folder = tmp_path / "photos"
    for number, label in enumerate(["<a", "b", "b", "b"]):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(folder / label / f"{number}.png")
    dataset = load_dataset(
        folder, rule=ResizeRule(8, 8), cache_dir=tmp_path / "cache", progress=False, min_images=1
    )
    return Audit(
        dataset,
        LabelRanking(np.array([1.0, -2.0, -3.0, np.inf]), np.array([1, 0, 0, 0])),
        np.array([[1, 2], [0, 2], [1, 3], [2, 1]]),
        [3],
        [(0, 1)],
        [],
        {"darkest": [2]},
    )


def test_each_image_is_shown_once_with_all_reasons_the_most_doubtful_first(audit: Audit) -> None:
    found = reasons_to_look(audit)
    assert list(found) == [2, 1, 0, 3]
    assert found[2] == ["another label is likelier", "among the darkest images"]
    assert found[1][1] == "looks much like <a/0.png, with another label"


def test_page_holds_everything_and_names_cannot_break_out(audit: Audit, tmp_path: Path) -> None:
    text = write_audit(audit, tmp_path / "new" / "audit.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "<a/0" not in text
    held = re.search(r'type="application/json" id="found">(.*?)</script>', text, re.DOTALL)
    assert held is not None
    cards = json.loads(held[1])["cards"]
    assert [card["image"] for card in cards] == ["b/2.png", "b/1.png", "<a/0.png", "b/3.png"]
    assert [card["doubted"] for card in cards] == [True, True, False, False]
    assert [each["label"] for each in cards[0]["neighbours"]] == ["b", "b"]


def test_two_audits_of_one_folder_with_other_labels_are_kept_apart(
    audit: Audit, tmp_path: Path
) -> None:
    first = write_audit(audit, tmp_path / "audit.html").read_text("utf-8")
    audit.dataset.codes["label"][2] = 0
    second = write_audit(audit, tmp_path / "audit.html").read_text("utf-8")
    keys = [re.search(r'"key": "(\w+)"', text) for text in (first, second)]
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0][1] != keys[1][1]
