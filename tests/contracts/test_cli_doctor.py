"""`shopwindow doctor` says what is here, and what is missing for what."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Run


def test_findings_are_for_people_and_for_programs(
    run_shopwindow: Run, colour_bundle: Path, tmp_path: Path
) -> None:
    shown = run_shopwindow("doctor", "--model", colour_bundle)
    assert shown.returncode == 0, shown.stderr
    for part in ("Python 3.", " core", "MB free in ", " labels; ", "JPEG, PNG, WEBP"):
        assert part in shown.stdout, part
    environment = {"XDG_DATA_HOME": str(tmp_path)}
    listed = run_shopwindow("doctor", "--model", colour_bundle, "--json", env=environment)
    findings = json.loads(listed.stdout)
    named = {finding["what"]: finding for finding in findings}
    assert named["model"]["state"] == "ok"
    assert named["feedback"]["found"].startswith("none yet; serve will create ")
    assert named["parquet"]["state"] == "ok"  # the tests have it


def test_what_keeps_a_server_from_working_is_exit_code_1(
    run_shopwindow: Run, tmp_path: Path, colour_bundle: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    broken = run_shopwindow("doctor", "--model", "bad.onnx")
    assert broken.returncode == 1
    assert "bad.onnx" in broken.stdout
    (tmp_path / "feedback.sqlite3").write_bytes(b"not a database, but long enough to be one" * 99)
    environment = {"SHOPWINDOW_FEEDBACK": str(tmp_path / "feedback.sqlite3")}
    broken = run_shopwindow("doctor", "--model", colour_bundle, "--json", env=environment)
    assert broken.returncode == 1
    states = {finding["what"]: finding["state"] for finding in json.loads(broken.stdout)}
    assert states["feedback"] == "broken"
    assert states["model"] == "ok"
