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
from shopwindow.promotion.succession import ModelHistory


@pytest.fixture
def succession(tmp_path: Path, make_bundle: MakeBundle) -> ModelHistory:
    """`first` is in service."""
    (tmp_path / "service").mkdir()
    path = tmp_path / "service" / "model.onnx"
    path.write_bytes(make_bundle("first").model)
    return ModelHistory(path)


def name_in_service(succession: ModelHistory) -> str:
    return read_bundle(succession.path).info.name


def put(succession: ModelHistory, *bundles: object) -> None:
    for bundle in bundles:
        with succession.alone():
            succession.put(bundle, read_bundle(succession.path), {"why": "a test"})  # type: ignore[arg-type]


def back(succession: ModelHistory) -> str:
    with succession.alone():
        return succession.back().info.name


def test_rollback_goes_back_one_by_one_to_the_first(
    succession: ModelHistory, make_bundle: MakeBundle
) -> None:
    put(succession, make_bundle("second"), make_bundle("third"))
    assert name_in_service(succession) == "third"
    assert [back(succession), name_in_service(succession)] == ["second", "second"]
    assert [back(succession), name_in_service(succession)] == ["first", "first"]
    with pytest.raises(PromotionError, match="nothing was in service before"):
        back(succession)
    assert name_in_service(succession) == "first"


def test_record_says_what_was_judged_and_all_bundles_are_kept(
    succession: ModelHistory, make_bundle: MakeBundle
) -> None:
    first, second = read_bundle(succession.path), make_bundle("second")
    put(succession, second)
    record = json.loads((succession.history / f"{second.sha256[:16]}.json").read_text())
    assert (record["bundle"]["name"], record["before"]["name"]) == ("second", "first")
    assert record["judged"] == {"why": "a test"}
    for bundle in (first, second):
        assert (succession.history / f"{bundle.sha256[:16]}.onnx").read_bytes() == bundle.model


def test_bundle_that_came_by_hand_since_the_judgement_stays(
    succession: ModelHistory, make_bundle: MakeBundle
) -> None:
    first, second, third = read_bundle(succession.path), make_bundle("second"), make_bundle("third")
    succession.path.write_bytes(third.model)
    with succession.alone(), pytest.raises(PromotionError, match="another has come there since"):
        succession.put(second, first, {})
    assert name_in_service(succession) == "third"


def test_damaged_bundle_in_service_is_left_behind(
    succession: ModelHistory, make_bundle: MakeBundle
) -> None:
    """A copy that stopped half-way is not on record; what promote put there is named."""
    put(succession, make_bundle("second"))
    succession.path.write_bytes(b"half a copy")
    with pytest.raises(PromotionError, match=r"what was before it is not known; these are kept"):
        back(succession)


def test_damaged_bundle_does_not_come_back(
    succession: ModelHistory, make_bundle: MakeBundle
) -> None:
    first, second = read_bundle(succession.path), make_bundle("second")
    put(succession, second)
    kept = succession.history / f"{first.sha256[:16]}.onnx"
    kept.write_bytes(first.model[:1000])
    with pytest.raises(BundleError):
        back(succession)
    kept.write_bytes(second.model)
    with pytest.raises(BundleError, match="it has been changed since it was kept"):
        back(succession)
    assert name_in_service(succession) == "second"


def test_link_is_refused_and_stays(succession: ModelHistory) -> None:
    link = succession.path.with_name("current.onnx")
    link.symlink_to(succession.path.name)
    with (
        pytest.raises(PromotionError, match=r"found a link to model\.onnx"),
        ModelHistory(link).alone(),
    ):
        pass
    assert link.is_symlink()
    assert not link.with_name("current.onnx.history").exists()


def test_second_process_is_told_to_wait(succession: ModelHistory) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from shopwindow.promotion.succession import Succession\n"
        "with Succession(Path(sys.argv[1])).alone(): pass"
    )
    with succession.alone():
        completed = subprocess.run(
            [sys.executable, "-c", script, succession.path], capture_output=True, text=True
        )
    assert "another promote or rollback is at work" in completed.stderr
    with succession.alone():
        pass  # free again


# Dies by SIGKILL at the n-th call of something that is not Python: each write, flush and renaming
# is one, so that a file that is half-written under its own name would be seen.
_KILLED = """
import hashlib, os, signal, sys
from pathlib import Path
from shopwindow.bundle import read_bundle
from shopwindow.promotion.succession import Succession

step, path, new = sys.argv[1:]
succession, path = Succession(Path(path)), Path(path)
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
        with succession.alone():
            succession.put(bundle, current, {}) if step == "put" else succession.back()
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    name = names.get(hashlib.sha256(path.read_bytes()).hexdigest(), "half")
    print(name)
    if code == 0 or name == "new":
        break
"""


def killed_at_every_moment(succession: ModelHistory, step: str, new: Path) -> list[str]:
    """Return what was in service after each time that a step was killed, until it was done."""
    completed = subprocess.run(
        [sys.executable, "-c", _KILLED, step, succession.path, new],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.split()


def test_killed_at_any_moment_one_of_the_two_is_in_service_and_again_completes_it(
    succession: ModelHistory, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    make_bundle("second")
    (tmp_path / "kept.onnx").write_bytes(succession.path.read_bytes())
    for step, new in (("put", "second"), ("back", "kept")):
        *killed, last = killed_at_every_moment(succession, step, tmp_path / f"{new}.onnx")
        assert len(killed) > 30
        assert (set(killed), last) == ({"old"}, "new")
    assert name_in_service(succession) == "first"
    with succession.alone():
        pass  # sweeps what the killed ones left
    assert [path.name for path in succession.path.parent.iterdir() if "tmp" in path.name] == []
    assert {path.suffix for path in succession.history.iterdir()} == {"", ".onnx", ".json"}
