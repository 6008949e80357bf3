"""What is in service, what was before, and that no moment is the wrong one to be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from painting import MakeBundle

from shopwindow.bundle import read_bundle
from shopwindow.errors import BundleError, PromotionError
from shopwindow.evaluation.history import ModelHistory


@pytest.fixture
def history(tmp_path: Path, make_bundle: MakeBundle) -> ModelHistory:
    """`first` is in service."""
    (tmp_path / "service").mkdir()
    path = tmp_path / "service" / "model.onnx"
    path.write_bytes(make_bundle("first").model)
    return ModelHistory(path)


def name_in_service(history: ModelHistory) -> str:
    return read_bundle(history.path).info.name


def promote(history: ModelHistory, *bundles: object) -> None:
    for bundle in bundles:
        with history.locked():
            history.promote(bundle, read_bundle(history.path), {"why": "a test"})  # type: ignore[arg-type]


def rollback(history: ModelHistory) -> str:
    with history.locked():
        return history.rollback().info.name


def test_rollback_goes_back_one_by_one_to_the_first(
    history: ModelHistory, make_bundle: MakeBundle
) -> None:
    promote(history, make_bundle("second"), make_bundle("third"))
    assert name_in_service(history) == "third"
    assert [rollback(history), name_in_service(history)] == ["second", "second"]
    assert [rollback(history), name_in_service(history)] == ["first", "first"]
    with pytest.raises(PromotionError, match="nothing was in service before"):
        rollback(history)
    assert name_in_service(history) == "first"


def test_record_says_what_was_judged_and_all_bundles_are_kept(
    history: ModelHistory, make_bundle: MakeBundle
) -> None:
    first, second = read_bundle(history.path), make_bundle("second")
    promote(history, second)
    record = json.loads((history.folder / f"{second.sha256[:16]}.json").read_text())
    assert (record["bundle"]["name"], record["before"]["name"]) == ("second", "first")
    assert record["judged"] == {"why": "a test"}
    for bundle in (first, second):
        assert (history.folder / f"{bundle.sha256[:16]}.onnx").read_bytes() == bundle.model


def test_bundle_that_came_by_hand_since_the_judgement_stays(
    history: ModelHistory, make_bundle: MakeBundle
) -> None:
    first, second, third = read_bundle(history.path), make_bundle("second"), make_bundle("third")
    history.path.write_bytes(third.model)
    with history.locked(), pytest.raises(PromotionError, match="it has been replaced since"):
        history.promote(second, first, {})
    assert name_in_service(history) == "third"


def test_damaged_bundle_in_service_is_left_behind(
    history: ModelHistory, make_bundle: MakeBundle
) -> None:
    """A copy that stopped half-way is not on record; what promote put there is named."""
    promote(history, make_bundle("second"))
    history.path.write_bytes(b"half a copy")
    with pytest.raises(PromotionError, match=r"the one before it is not known; these are kept"):
        rollback(history)


def test_damaged_bundle_does_not_come_back(history: ModelHistory, make_bundle: MakeBundle) -> None:
    first, second = read_bundle(history.path), make_bundle("second")
    promote(history, second)
    kept = history.folder / f"{first.sha256[:16]}.onnx"
    kept.write_bytes(first.model[:1000])
    with pytest.raises(BundleError):
        rollback(history)
    kept.write_bytes(second.model)
    with pytest.raises(BundleError, match="it has been changed since it was kept"):
        rollback(history)
    assert name_in_service(history) == "second"


def test_link_is_refused_and_stays(history: ModelHistory) -> None:
    link = history.path.with_name("current.onnx")
    link.symlink_to(history.path.name)
    with (
        pytest.raises(PromotionError, match=r"found a link to model\.onnx"),
        ModelHistory(link).locked(),
    ):
        pass
    assert link.is_symlink()
    assert not link.with_name("current.onnx.history").exists()


def test_second_process_is_told_to_wait(history: ModelHistory) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from shopwindow.evaluation.history import ModelHistory\n"
        "with ModelHistory(Path(sys.argv[1])).locked(): pass"
    )
    with history.locked():
        completed = subprocess.run(
            [sys.executable, "-c", script, history.path], capture_output=True, text=True
        )
    assert "another promote or rollback is changing it" in completed.stderr
    with history.locked():
        pass  # free again


# Dies by SIGKILL at the n-th call of something that is not Python: each write, flush and renaming
# is one, so that a file that is half-written under its own name would be seen.
_KILLED = """
import hashlib, os, signal, sys
from pathlib import Path
from shopwindow.bundle import read_bundle
from shopwindow.evaluation.history import ModelHistory

step, path, new = sys.argv[1:]
history, path = ModelHistory(Path(path)), Path(path)
current, bundle = read_bundle(path), read_bundle(Path(new))
names = {current.sha256: "old", bundle.sha256: "new"}
for moment in range(1, 5000):
    child = os.fork()
    if not child:
        left = moment
        def count(frame, event, argument):
            global left
            if event == "c_call":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(count)
        with history.locked():
            history.promote(bundle, current, {}) if step == "promote" else history.rollback()
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    name = names.get(hashlib.sha256(path.read_bytes()).hexdigest(), "half")
    print(name)
    if code == 0 or name == "new":
        break
"""


def killed_at_every_moment(history: ModelHistory, step: str, new: Path) -> list[str]:
    """Return what was in service after each time that a step was killed, until it was done."""
    completed = subprocess.run(
        [sys.executable, "-c", _KILLED, step, history.path, new],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.split()


def test_killed_at_any_moment_one_of_the_two_is_in_service_and_again_completes_it(
    history: ModelHistory, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    make_bundle("second")
    (tmp_path / "kept.onnx").write_bytes(history.path.read_bytes())
    for step, new in (("promote", "second"), ("rollback", "kept")):
        *killed, last = killed_at_every_moment(history, step, tmp_path / f"{new}.onnx")
        assert len(killed) > 30
        assert (set(killed), last) == ({"old"}, "new")
    assert name_in_service(history) == "first"
    with history.locked():
        pass  # sweeps what the killed ones left
    assert [path.name for path in history.path.parent.iterdir() if "tmp" in path.name] == []
    assert {path.suffix for path in history.folder.iterdir()} == {"", ".onnx", ".json"}
