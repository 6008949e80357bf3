"""`card`: what a bundle says about itself, for people and for programs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from command_line import Run, assert_one_line

from colour_bundle import colour_info, write_colour_bundle
from shopwindow.bundle import Threshold, read_bundle


def test_card_tells_what_a_bundle_is(run_shopwindow: Run, colour_bundle: Path) -> None:
    completed = run_shopwindow("card", colour_bundle)
    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert lines[:2] == ["Colours", "Tells the main colour of an image from its mean."]
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[3:]}
    assert told["name"] == "colours 1.0, made 2026-01-31"
    assert told["computes"] == "float32"
    assert told["sees"] == "6 × 8 pixels (pad)"
    assert told["colour"] == "5 labels: red, green, blue, black, white"
    assert told["accuracy"] == "93.00 % right, on 200 images"
    assert told["sure"].startswith("from a confidence of 0.800: 90.0 % of the predictions, 95.0 %")
    assert told["limit"] == "Knows five colours."
    assert read_bundle(colour_bundle).sha256[:16] in told["file"]


def test_card_tells_learned_images_from_held_out_ones(run_shopwindow: Run, tmp_path: Path) -> None:
    said = run_shopwindow("card").stdout
    assert re.search(
        r"trained on +\S+, 31,522 images; 7,877 others were held out to evaluate", said
    )
    info = replace(colour_info(), data={"source": "photos"})
    imported = write_colour_bundle(tmp_path / "m.onnx", metadata=json.dumps(info.as_json()))
    said = run_shopwindow("card", imported).stdout
    assert re.search(r"trained on +photos$", said, re.MULTILINE)


def test_card_as_json_is_all_that_the_bundle_says(run_shopwindow: Run, colour_bundle: Path) -> None:
    found = json.loads(run_shopwindow("card", colour_bundle, "--json").stdout)
    bundle = read_bundle(colour_bundle)
    assert found == {
        "sha256": bundle.sha256,
        "bytes": len(bundle.model),
        **bundle.info.as_json(),
    }


def test_card_claims_nothing_that_nobody_measured(run_shopwindow: Run, tmp_path: Path) -> None:
    info = replace(colour_info(), quality={}, threshold=Threshold(1.0, 0.0, 0.0), card={})
    bundle = write_colour_bundle(tmp_path / "m.onnx", metadata=json.dumps(info.as_json()))
    said = run_shopwindow("card", bundle).stdout
    assert said.splitlines()[0] == "colours"
    assert "not measured" in said
    assert "never: no confidence was found" in said


def test_labels_cannot_send_commands_to_the_terminal(run_shopwindow: Run, tmp_path: Path) -> None:
    info = replace(colour_info(), card={"title": "Shoes\x1b[2J"})
    bundle = write_colour_bundle(tmp_path / "m.onnx", metadata=json.dumps(info.as_json()))
    assert "\x1b" not in run_shopwindow("card", bundle).stdout


def test_card_of_what_is_no_bundle_is_a_sentence(run_shopwindow: Run, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing of the kind")
    assert "is not an ONNX model" in assert_one_line(run_shopwindow("card", "m.onnx"), 2)
