"""What a stranger's machine gets: lock files, environments, the wheel, the container."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from check_room import check_room
from packaging.requirements import Requirement

LOCK_FILES = ("serve.txt", "dev.txt")


def read_pins(path: Path) -> dict[str, set[str]]:
    """Return the versions of each package that a lock file pins; several where markers differ."""
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE
    ):
        pins.setdefault(name, set()).add(version)
    return pins


@pytest.fixture
def requirements(repository_root: Path) -> Path:
    return repository_root / "requirements"


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_file_names_no_host_and_no_folder_of_a_machine(requirements: Path, name: str) -> None:
    text = (requirements / name).read_text()
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|(?<=\s)/|file:|@ ", text)


@pytest.mark.parametrize("name", LOCK_FILES)
def test_every_pin_has_a_hash(requirements: Path, name: str) -> None:
    entries = re.split(r"^(?=[a-z0-9])", (requirements / name).read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) >= 20
    assert all("--hash=sha256:" in entry for entry in entries)


def test_tests_run_on_the_versions_that_serve(requirements: Path) -> None:
    dev = read_pins(requirements / "dev.txt")
    for name, versions in read_pins(requirements / "serve.txt").items():
        assert dev[name] == versions


def test_serving_pins_nothing_of_the_training_stack(requirements: Path) -> None:
    pins = read_pins(requirements / "serve.txt")
    assert not set(pins) & {
        "torch",
        "torchvision",
        "fastai",
        "pandas",
        "scipy",
        "scikit-learn",
        "timm",
    }


def test_lock_files_are_up_to_date_with_the_project_file(
    repository_root: Path, requirements: Path
) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    groups = project["dependency-groups"].values()
    wanted = {
        "serve.txt": project["project"]["dependencies"],
        "dev.txt": [one for group in (*extras, *groups) for one in group if isinstance(one, str)],
    }
    for name, declared in wanted.items():
        pins = read_pins(requirements / name)
        for requirement in map(Requirement, declared):
            if requirement.name != "shopwindow":
                for version in pins[requirement.name]:
                    assert requirement.specifier.contains(version), f"{requirement}: {version}"


def test_wheel_carries_templates_assets_and_model(repository_root: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=repository_root,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("shopwindow/")}
    package = repository_root / "src"
    present = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert packed == present
    assert "shopwindow/py.typed" in packed


def test_container_copies_only_what_is_there_and_let_through(repository_root: Path) -> None:
    text = (repository_root / "Dockerfile").read_text()
    sources = [
        source
        for arguments in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for source in arguments.split()[:-1]
    ]
    let_through = re.findall(
        r"^!(.+)$", (repository_root / ".dockerignore").read_text(), re.MULTILINE
    )
    assert sorted(sources) == sorted(let_through)
    assert all((repository_root / source).exists() for source in sources)


def test_make_alone_lists_every_target(repository_root: Path) -> None:
    listed = subprocess.run(
        ["make", "-s"], cwd=repository_root, check=True, capture_output=True, text=True
    ).stdout
    targets = re.findall(
        r"^\.PHONY:(.+)$", (repository_root / "Makefile").read_text(), re.MULTILINE
    )
    assert re.findall(r"^make (\S+)", listed, re.MULTILINE) == targets[0].split()


def test_make_serve_listens_where_it_is_told_and_not_where_a_shell_happens_to_be(
    repository_root: Path,
) -> None:
    def told(*variables: str, **environment: str) -> str:
        return subprocess.run(
            ["make", "--dry-run", "serve", *variables],
            cwd=repository_root,
            env={k: v for k, v in os.environ.items() if k not in ("HOST", "PORT")} | environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    # conda's compilers set it; the settings of the environment are then asked.
    assert "--host" not in told(HOST="x86_64-conda-linux-gnu")
    assert "--port" not in told(SHOPWINDOW_PORT="8000")
    assert '--host "0.0.0.0" --port "8000"' in told("HOST=0.0.0.0", "PORT=8000")
    assert '--port "8000"' in told(PORT="8000")


def write_python(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make_environment(
    repository_root: Path, *arguments: Path | str | int, **variables: Path | str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [repository_root / "scripts" / "make-environment", *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac',
            "expected Python 3.11 to 3.14, found Python 3.9.2",
        ),
        # New enough, but without ensurepip, as Debian's python3 comes.
        (
            'case "$2" in *ensurepip*) exit 1;; *print*) echo 3.12;; esac',
            "apt-get install python3.12-venv",
        ),
    ],
)
def test_unsuitable_python_is_one_sentence_and_makes_nothing(
    repository_root: Path, tmp_path: Path, script: str, expected: str
) -> None:
    python = write_python(tmp_path / "python", script)
    completed = make_environment(
        repository_root, tmp_path / "env", "requirements/serve.txt", PYTHON=python
    )
    assert completed.returncode == 2
    assert expected in completed.stderr
    assert completed.stderr.count("\n") == 1
    assert not (tmp_path / "env").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the sizes are those of Linux")
@pytest.mark.parametrize(
    ("installed_mb", "downloads_mb"), [(10**10, 0), (0, 10**10), (10**10, 10**10)]
)
def test_disk_without_room_is_told_of_before_anything_is_touched(
    repository_root: Path, tmp_path: Path, installed_mb: int, downloads_mb: int
) -> None:
    """10 PB are more than any disk has that tests run on."""
    environment = tmp_path / "env"
    environment.mkdir()
    (environment / "still in use").write_text("")
    completed = make_environment(
        repository_root, environment, "requirements/serve.txt", installed_mb, downloads_mb
    )
    assert completed.returncode == 2
    assert re.search(r"expected [\d,]+,000,000 MB of free disk in /.*, found ", completed.stderr)
    assert completed.stderr.count("\n") == 1
    assert (environment / "still in use").exists()


def test_downloads_count_where_pip_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, free_mb = tmp_path / "env", shutil.disk_usage(tmp_path).free // 1_000_000
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert f"in {tmp_path} to make" in str(check_room(environment, free_mb - 1000, 2000))
    monkeypatch.setattr(tempfile, "tempdir", "/dev")  # another file system, wherever there is one
    assert check_room(environment, free_mb - 1000, 0) is None
    assert "free disk in /dev to make env" in str(check_room(environment, 1, 10**10))


def test_what_is_replaced_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "env"
    environment.mkdir()
    (environment / "old").write_bytes(bytes(3_000_000))
    now = shutil.disk_usage(tmp_path)  # and for the whole test, whatever else fills the disk
    monkeypatch.setattr(shutil, "disk_usage", lambda _: now)
    free_mb = now.free // 1_000_000
    assert check_room(environment, free_mb + 2, 0) is None
    (environment / "old").unlink()
    assert check_room(environment, free_mb + 2, 0) is not None


@pytest.mark.parametrize("there", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_environment_may_be_a_link_to_a_larger_disk_and_python_have_a_space_in_its_path(
    repository_root: Path, tmp_path: Path, there: bool
) -> None:
    """Nothing is pinned in this lock, so that nothing is downloaded."""
    target = tmp_path / "a larger disk" / "env"
    if there:
        target.mkdir(parents=True)
        (target / "old").write_text("")
    (tmp_path / "env").symlink_to(target)
    (tmp_path / "lock.txt").write_text("")
    (tmp_path / "my python").mkdir()
    python = write_python(tmp_path / "my python" / "python3", f'exec "{sys.executable}" "$@"')
    completed = make_environment(
        repository_root, tmp_path / "env", tmp_path / "lock.txt", PYTHON=python
    )
    # What is missing is what would install the checkout itself.
    assert "hatchling" in completed.stderr, completed.stderr
    assert (tmp_path / "env").is_symlink()
    assert (target / "bin" / "python").exists()
    assert (target / ".locked").exists()
    assert not (target / "old").exists()


def test_environment_whose_making_failed_is_not_taken_for_a_finished_one(
    repository_root: Path, tmp_path: Path
) -> None:
    python = write_python(
        tmp_path / "python",
        # Without pip, nothing can be installed into the environment.
        f'[ "$2" = venv ] && shift 2 && set -- -m venv --without-pip "$@"\n'
        f'exec "{sys.executable}" "$@"',
    )
    (tmp_path / "lock.txt").write_text("")
    environment = tmp_path / "env"
    for _ in range(2):
        completed = make_environment(
            repository_root, environment, tmp_path / "lock.txt", PYTHON=python
        )
        assert completed.returncode != 0
        assert "No module named pip" in completed.stderr
        assert "Making" in completed.stdout
        assert not (environment / ".locked").exists()


def test_shell_scripts_are_valid(repository_root: Path) -> None:
    subprocess.run(["sh", "-n", repository_root / "scripts" / "make-environment"], check=True)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    subprocess.run([bash, "-n", repository_root / ".ci" / "run"], check=True)
