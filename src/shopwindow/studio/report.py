"""What the page shows of a project as a whole, and of its model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from shopwindow.studio import findings
from shopwindow.studio.album import READ, UNREADABLE, WAITING, Album, Photo
from shopwindow.studio.changes import Changes
from shopwindow.studio.learner import Learned, Learner
from shopwindow.studio.project import Project
from shopwindow.studio.versions import Versions

_FINE_TUNING = (
    "Fine-tuning trains every layer, on the command line and with the training stack: "
    "pip install 'shopwindow[train]', then shopwindow train {folder} --recipe finetune"
)


class Report:
    """Reads what the parts of a studio know. Thread-safe."""

    def __init__(
        self,
        project: Project,
        album: Album,
        changes: Changes,
        learner: Learner,
        versions: Versions,
    ) -> None:
        self._project, self._album, self._changes = project, album, changes
        self._learner, self._versions = learner, versions

    def state(self) -> dict[str, Any]:
        """Return what the page shows of the whole; docs/studio.md has its keys."""
        version = self._album.version
        photos = self._album.snapshot()
        token = self._versions.project_id
        return {
            "session": self._album.session,
            "version": version,
            "revision": self._album.revision,
            "project": self._describe(photos),
            "thumbnail": f"/studio/photos/{{id}}/thumbnail?p={token}",
            "preview": f"/studio/photos/{{id}}/preview?p={token}",
            "undo": self._changes.undoable,
            "redo": self._changes.redoable,
            "model": self._describe_model(self._learner.learned, photos),
            "job": self._versions.job,
            "window": self._versions.window(),
            "fine_tuning": {
                "available": False,
                "sentence": _FINE_TUNING.format(folder=self._project.folder.name),
            },
        }

    def model(self) -> dict[str, Any]:
        """Return what is known of the current model, with confusions, doubts and advice."""
        version, learned = self._album.version, self._learner.learned
        photos = self._album.snapshot()
        counts = counts_of(photos)
        unlabelled = sum(not photo.row.label for photo in photos.values())
        measured = learned.measured if learned.fitted else None
        grades = measured.grades if measured else None
        there = {name: photo.row.label for name, photo in photos.items()}
        return {
            "session": self._album.session,
            "version": version,
            **self._describe_model(learned, photos),
            "labels": findings.per_label(counts, grades),
            "confusions": findings.confusions(measured) if measured else [],
            "doubts": [
                doubt.as_json()
                for doubt in learned.doubts
                if there.get(doubt.name) == doubt.label
                and self._changes.dismissed.get(doubt.name) != doubt.label
            ],
            "next": findings.what_next(counts, unlabelled, grades),
        }

    def _describe(self, photos: Mapping[str, Photo]) -> dict[str, Any]:
        statuses = Counter(photo.status for photo in photos.values())
        counts = counts_of(photos)
        labelled = sum(counts.values())
        return {
            "name": self._project.folder.name,
            "folder": str(self._project.folder),
            "photos": len(photos),
            "labelled": labelled,
            "unlabelled": len(photos) - labelled,
            "reading": statuses[WAITING],
            "unreadable": statuses[UNREADABLE],
            "missing": len(self._project.missing),
            "trash": self._project.trashed,
            "labels": [{"label": label, "photos": n} for label, n in sorted(counts.items())],
        }

    def _describe_model(self, learned: Learned, photos: Mapping[str, Photo]) -> dict[str, Any]:
        fitted, busy = learned.fitted, self._learner.busy
        figures: dict[str, Any] = dict.fromkeys(
            ("accuracy", "interval", "measured_on", "commonest")
        )
        if learned.measured is not None and fitted is not None:
            figures = findings.figures(learned.measured)
        why = None if fitted or busy else _why_none(photos)
        return {
            "status": "fitting" if busy else "ready" if fitted else "empty",
            "version": learned.fits,
            "why": why,
            "photos": fitted.photos if fitted else 0,
            "labels": len(fitted.labels) if fitted else 0,
            "fit_s": learned.fit_s,
            **figures,
        }


def counts_of(photos: Mapping[str, Photo]) -> dict[str, int]:
    """Return how many photos each label has."""
    return dict(Counter(photo.row.label for photo in photos.values() if photo.row.label))


def _why_none(photos: Mapping[str, Photo]) -> str:
    if not photos:
        return "Drop photos here to begin."
    if any(photo.status == WAITING for photo in photos.values()):
        return "Photos are being read."
    read = {name: photo for name, photo in photos.items() if photo.status == READ}
    labels = sum(count > 1 for count in counts_of(read).values())
    have = "one thing has" if labels else "nothing has"
    return f"Label two or more photos each of at least two things; so far {have} that many."
