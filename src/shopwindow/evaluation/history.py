"""The model file that is served, and those that were served before it.

::

    model.onnx                    in service; a running server looks at this file
    model.onnx.history/
        3f2a90c1d4e5b6a7.onnx     each bundle that promote saw in service, named by its SHA-256
        3f2a90c1d4e5b6a7.json     what was in service before it, when it came, and the figures

The model file alone says which bundle is in service, and the record under its checksum says which
one came before. So a single rename decides everything: a process killed before it has changed
nothing, and one killed after it is done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shopwindow.atomic_write import write_atomically
from shopwindow.bundle import Bundle, read_bundle
from shopwindow.errors import BundleError, PromotionError

FORMAT = 1
_DIGITS = 16  # of a checksum, in file names: 64 bits, and the rest is compared on reading


class ModelHistory:
    """The bundle in service at a path, and those before it.

    Args:
        path: The model file that is served.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(f"{path.name}.history")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the same file until the context ends.

        Raises:
            PromotionError: Another process is changing it, or the file is a link: a rename would
                replace the link, and leave what it points to as it was.
        """
        if self.path.is_symlink():
            raise PromotionError(
                f"{self.path}: expected the file that is served, found a link to "
                f"{self.path.readlink()}; serve and name a file of its own, such as a copy"
            )
        self.folder.mkdir(exist_ok=True)
        with (self.folder / ".lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise PromotionError(
                    f"{self.path}: another promote or rollback is changing it; wait until that has "
                    "finished"
                ) from None
            try:
                self._remove_leftovers()
                yield
            finally:
                # A kill ends it with the file. This ends it, too, where a process that was forked
                # meanwhile still holds the file.
                fcntl.flock(lock, fcntl.LOCK_UN)

    def promote(self, new: Bundle, before: Bundle | None, judged: dict[str, Any]) -> None:
        """Put a bundle in service.

        Args:
            new: What is to be served.
            before: What was in service when `new` was compared with it; None where nothing was, and
                there is no such file yet.
            judged: The figures, as JSON-ready data, for the record.

        Raises:
            PromotionError: Something else has come into service since.
        """
        if (self.sha256() if before or self.path.exists() else None) != (before and before.sha256):
            raise PromotionError(
                f"{self.path}: expected the bundle that the new one was compared with, but it has "
                "been replaced since; promote again"
            )
        if before is not None:
            self._keep(before)
        self._keep(new)
        record = {
            "format": FORMAT,
            "bundle": new.named,
            "before": before and before.named,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "judged": judged,
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomically(self._place(new.sha256, ".json"), text.encode("utf-8"))
        write_atomically(self.path, new.model)

    def rollback(self) -> Bundle:
        """Put the previous bundle back in service, and return it.

        The one in service need not be readable.

        Raises:
            PromotionError: Nothing was in service before it, or promote did not put it there.
            BundleError: The previous bundle is damaged; the current one stays.
        """
        sha256 = self.sha256()
        before = self._before(sha256)
        kept = self._place(before, ".onnx")
        bundle = read_bundle(kept)
        if bundle.sha256 != before:
            raise BundleError(
                f"{kept}: expected the bundle with the SHA-256 {before}, found {bundle.sha256}; it "
                "has been changed since it was kept"
            )
        write_atomically(self.path, bundle.model)
        return bundle

    def sha256(self) -> str:
        """Return the SHA-256 of the model file.

        Raises:
            BundleError: It cannot be read.
        """
        try:
            return _sha256_of(self.path)
        except OSError as error:
            raise BundleError(
                f"Cannot read the model in service, {self.path}: {error.strerror}."
            ) from error

    def before(self) -> str | None:
        """Return the SHA-256 of what `rollback` would put back; None where there is nothing."""
        try:
            return self._before(self.sha256())
        except (PromotionError, BundleError):
            return None

    def _before(self, sha256: str) -> str:
        path = self._place(sha256, ".json")
        try:
            record = json.loads(path.read_text("utf-8"))
            if record["bundle"]["sha256"] == sha256 and record["before"] is not None:
                return str(record["before"]["sha256"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise PromotionError(
                f"{path}: expected the record that shopwindow promote wrote, found {error!r}"
            ) from error
        if self._place(sha256, ".onnx").exists():
            raise PromotionError(f"{self.path}: nothing was in service before the current bundle")
        kept = sorted(path.name for path in self.folder.glob("*.onnx"))
        raise PromotionError(
            f"{self.path}: expected a bundle that shopwindow promote put there, found another, so "
            f"the one before it is not known; "
            + (f"these are kept in {self.folder}: {', '.join(kept)}" if kept else "none is kept")
        )

    def _keep(self, bundle: Bundle) -> None:
        place = self._place(bundle.sha256, ".onnx")
        if not place.exists() or _sha256_of(place) != bundle.sha256:
            write_atomically(place, bundle.model)

    def _place(self, sha256: str, suffix: str) -> Path:
        return self.folder / f"{sha256[:_DIGITS]}{suffix}"

    def _remove_leftovers(self) -> None:
        """Remove what a process that was killed left half-written."""
        for folder, pattern in ((self.path.parent, f".{self.path.name}.*.tmp"),
                                (self.folder, ".*.tmp")):  # fmt: skip
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
