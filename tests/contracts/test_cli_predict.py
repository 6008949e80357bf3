"""`shopwindow predict` as people and scripts use it."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command_line import Run, assert_one_line, run_until

from colour_bundle import colour_info, write_colour_bundle

HEADER = ["path", "label", "confidence", "sure", "top", "attributes", "error", "prediction_set"]


def test_a_folder_becomes_a_table_in_input_order(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path
) -> None:
    completed = run_shopwindow("predict", colour_photos, "--model", colour_bundle, "--top", "2")
    assert (completed.returncode, completed.stderr) == (0, "")
    header, *rows = csv.reader(io.StringIO(completed.stdout))
    assert header == HEADER
    assert [row[0] for row in rows] == sorted(map(str, colour_photos.glob("*/*.png")))
    assert {(Path(row[0]).parent.name, row[1]) for row in rows} == {
        ("red", "red"),
        ("blue", "blue"),
    }
    assert {row[3] for row in rows} <= {"true", "false"}
    assert all(len(json.loads(row[4])) == 2 for row in rows)
    assert all(set(json.loads(row[5])) == {"brightness"} for row in rows)


def test_unreadable_inputs_have_rows_and_the_exit_code_is_1(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    good = colour_photos / "red" / "00.png"
    completed = run_shopwindow(
        "predict", "broken.jpg", good, "gone.png", "--model", colour_bundle, "--format", "jsonl"
    )
    assert "2 of 3 inputs" in assert_one_line(completed, 1)
    rows = [json.loads(line) for line in completed.stdout.splitlines()]
    assert [row["path"] for row in rows] == ["broken.jpg", str(good), "gone.png"]
    assert [row["label"] for row in rows] == [None, "red", None]
    assert [bool(row["error"]) for row in rows] == [True, False, True]


def test_predict_takes_the_engine_of_the_settings(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = ("predict", colour_photos, "--model", colour_bundle, "--output", "labels.csv")
    said = assert_one_line(run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": "abacus"}), 2)
    assert said.startswith("engine: expected one of auto, onnxruntime, openvino, found 'abacus'")
    assert not list(tmp_path.glob("labels*"))
    # A run that another engine began goes on with it, unless that is not wanted.
    pytest.importorskip("openvino", reason="OpenVINO is an extra: pip install openvino")
    begun = tmp_path / "labels.csv.partial"
    begun.mkdir()
    (begun / "_manifest.json").write_text('{"format": 2, "engine": "abacus"}')
    for engine, got in (("onnxruntime", "onnxruntime. "), ("openvino", "openvino ")):
        said = assert_one_line(run_shopwindow(*command, env={"SHOPWINDOW_ENGINE": engine}), 2)
        assert f"expected abacus, got {got}" in said
    for begun_by in ("onnxruntime", "openvino float32"):
        told = {"format": 2, "engine": begun_by, "model": "another"}
        (begun / "_manifest.json").write_text(json.dumps(told))
        assert "run with another model" in assert_one_line(run_shopwindow(*command), 2)


@pytest.mark.parametrize("option", ["--runner", "--engine"])  # the second is the old name
def test_options_of_another_runner_are_refused(
    run_shopwindow: Run, colour_bundle: Path, option: str
) -> None:
    command = ("predict", "a.jpg", "--model", colour_bundle, option)
    said = assert_one_line(run_shopwindow(*command, "ray", "--workers", "2"), 2)
    assert said.startswith("--workers has no effect with --runner ray")
    said = assert_one_line(run_shopwindow(*command, "local", "--ray-address", "auto"), 2)
    assert said.startswith("--ray-address has no effect without --runner ray")


def test_format_follows_the_name_of_the_output(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    completed = run_shopwindow(
        "predict", colour_photos, "--model", colour_bundle, "--output", "labels.jsonl"
    )
    assert (completed.returncode, completed.stdout) == (0, "")
    lines = (tmp_path / "labels.jsonl").read_text().splitlines()
    assert len(lines) == 40
    assert list(json.loads(lines[0])) == HEADER


def test_reader_that_goes_away_is_no_error_worth_a_word(
    colour_bundle: Path, colour_photos: Path
) -> None:
    completed = subprocess.run(
        [
            "sh",
            "-c",
            '{ "$0" -m shopwindow predict $(yes "$1" | head -500) --model "$2"; echo $? >&2; }'
            " | head -1",
            sys.executable,
            colour_photos / "red",
            colour_bundle,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout == ",".join(HEADER) + "\n"
    assert completed.stderr == "141\n"


def test_ctrl_c_is_one_line_and_exit_code_130(colour_bundle: Path, colour_photos: Path) -> None:
    folders = [str(colour_photos)] * 200  # far more rows than a pipe holds: it cannot be done yet
    process = subprocess.Popen(
        [sys.executable, "-m", "shopwindow", "predict", *folders, "--model", str(colour_bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "shopwindow: stopped by Ctrl-C\n")


def test_ctrl_c_says_that_the_same_command_goes_on(
    colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "shopwindow", "predict", *[str(colour_photos)] * 300]
    command += ["--model", str(colour_bundle), "--output", str(tmp_path / "labels.csv")]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.rglob("part-*")):
        assert process.poll() is None, "it was done before it could be stopped"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "shopwindow: stopped by Ctrl-C; run the same command to continue\n"
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode in (0, 1), again.stderr
    assert (tmp_path / "labels.csv").exists()


def test_a_mistyped_folder_is_wrong_usage_and_not_a_row(
    run_shopwindow: Run, colour_bundle: Path
) -> None:
    said = assert_one_line(run_shopwindow("predict", "phtoos", "--model", colour_bundle), 2)
    assert said.startswith("phtoos does not exist")


def test_an_interrupted_run_with_another_model_or_list_is_refused_in_a_sentence(
    run_shopwindow: Run, colour_bundle: Path, colour_photos: Path, tmp_path: Path
) -> None:
    command = ("--output", "out.csv", "--workers", "1")
    # A table of photos that are not there: rows of errors, many and quickly made.
    (tmp_path / "list.csv").write_text("image\n" + "gone.png\n" * 9999)
    begun = subprocess.Popen(
        [
            *(sys.executable, "-m", "shopwindow", "predict", "list.csv"),
            *("--model", str(colour_bundle), *command),
        ],
        cwd=tmp_path,
        text=True,
    )
    journal = tmp_path / "out.csv.partial" / "_done.jsonl"
    run_until(begun, journal.exists)
    begun.kill()
    begun.wait()

    other = tmp_path / "other.onnx"
    write_colour_bundle(other, metadata=json.dumps(colour_info().as_json() | {"version": "2.0"}))
    said = assert_one_line(run_shopwindow("predict", "list.csv", "--model", other, *command), 2)
    assert "holds an unfinished run with another model: expected colours 1.0" in said
    said = assert_one_line(
        run_shopwindow("predict", colour_photos, "--model", colour_bundle, *command), 2
    )
    assert "run on another list of inputs: expected 9,999 " in said
    said = assert_one_line(
        run_shopwindow("predict", "list.csv", "--model", colour_bundle, "--top", "2", *command), 2
    )
    assert "run for another output: expected csv 5, got csv 2" in said
    assert not (tmp_path / "out.csv").exists()


def test_workers_that_are_killed_are_replaced_and_no_row_is_lost(
    colour_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("image\n" + "".join(f"{n}.png\n" for n in range(3000)))
    command = [
        *(sys.executable, "-m", "shopwindow", "predict", "list.csv", "--output", "out.csv"),
        *("--model", str(colour_bundle), "--workers", "2"),
    ]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, text=True)
    run_until(run, (tmp_path / "out.csv.partial" / "_done.jsonl").exists)
    workers = [
        child
        for child in psutil.Process(run.pid).children()
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[0].kill()
    assert run.wait() == 1  # all of them are missing, and all have their row
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8-sig") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [f"{n}.png" for n in range(3000)]
