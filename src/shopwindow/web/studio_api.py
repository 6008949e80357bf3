"""The JSON API of the studio's page, under /studio/api."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from shopwindow.errors import ImageError, StudioError
from shopwindow.web.heatmap import heatmap_uri
from shopwindow.web.messages import in_words
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.state import app_state
from shopwindow.web.studio_access import check_owner, refuse, refuse_for_disk, studio_access
from shopwindow.web.uploads import deadline, read_files, read_images

if TYPE_CHECKING:  # it imports onnx and data sets
    from shopwindow.studio import Studio

bp = Blueprint("studio_api", __name__, url_prefix="/studio/api")
bp.before_request(check_owner)
bp.register_error_handler(StudioError, refuse)
bp.register_error_handler(OSError, refuse_for_disk)

_MAX_WAIT_S = 25


@bp.get("/state")
def show_state() -> Response:
    """Return the state, once it is newer than what the page has."""
    access = studio_access()
    since, wait_s = _read_number("since"), _read_number("wait")
    if since is not None and wait_s and access.waits.acquire(blocking=False):
        try:
            gone = deadline().is_gone
            access.studio.album.wait(since, min(wait_s, _MAX_WAIT_S), gone)
        finally:
            access.waits.release()
    state = access.studio.report.state()
    for name in ("thumbnail", "preview"):  # below `path_prefix`, where there is one
        state[name] = request.script_root + state[name]
    return jsonify(state)


@bp.get("/photos")
def show_photos() -> Response:
    """Return the photos that have changed."""
    return jsonify(_studio().album.columns(_read_number("since")))


@bp.post("/photos")
def add_photos() -> Response:
    """Take photos in."""
    files = read_files("file")
    if not files:
        raise BadRequest("There is no file in the field 'file'.")
    form = request.form
    return jsonify(
        _studio().adding.add_photos(
            files,
            label=form.get("label", ""),
            group=form.get("group", ""),
            folders=form.get("folders") == "true",
        )
    )


@bp.post("/table")
def set_from_table() -> Response:
    """Set the labels that a table says."""
    files = read_files("file")
    if len(files) != 1:
        raise BadRequest(f"file: expected one table, found {len(files)}.")
    return jsonify(_studio().changes.set_from_table(*files[0]))


@bp.post("/labels")
def set_labels() -> Response:
    """Give photos a label."""
    body = _read_body()
    label = None if body.get("label") is None else _text(body, "label")
    return jsonify(
        _studio().changes.set_labels(
            _names(body), label, _revision(body), force=body.get("force") is True
        )
    )


@bp.post("/labels/rename")
def rename_label() -> Response:
    """Rename a label, or merge it with another."""
    body = _read_body()
    old, new = _text(body, "from"), _text(body, "to")
    return jsonify(_studio().changes.rename_label(old, new, _revision(body)))


@bp.post("/labels/delete")
def delete_label() -> Response:
    """Take a label off all its photos."""
    body = _read_body()
    return jsonify(_studio().changes.delete_label(_text(body, "label"), _revision(body)))


@bp.post("/photos/delete")
def delete_photos() -> Response:
    """Move photos to the trash."""
    body = _read_body()
    force = body.get("force") is True
    return jsonify(_studio().changes.delete_photos(_names(body), _revision(body), force=force))


@bp.post("/undo")
def undo() -> Response:
    """Take back the last change."""
    return jsonify(_studio().changes.undo(_revision(_read_body())))


@bp.post("/redo")
def redo() -> Response:
    """Do again what was taken back."""
    return jsonify(_studio().changes.undo(_revision(_read_body()), again=True))


@bp.get("/model")
def show_model() -> Response:
    """Return what is known of the current model."""
    return jsonify(_studio().report.model())


@bp.post("/doubts/dismiss")
def dismiss_doubts() -> Response:
    """Note that labels are right."""
    return jsonify(_studio().changes.dismiss_doubts(_names(_read_body())))


@bp.post("/try")
def try_model() -> ResponseReturnValue:
    """Answer a photo with the current model, as /api/v1/predict answers with that in the window."""
    blobs = read_images()
    if len(blobs) != 1:
        raise BadRequest(f"image: expected one image, found {len(blobs)}.")
    with _studio().batcher().admit(deadline()) as admission:
        info = admission.predictor.bundle.info
        top = min(app_state().settings.top, len(info.main.labels))
        (found,) = admission.predict_bytes(blobs, top=top, explain=True)
    note_image_errors([found])
    if isinstance(found, ImageError):
        return Problem.from_image_error(found).as_response()
    entry = found.as_json() | {
        "words": in_words(found, info).as_json(),
        "heatmap": heatmap_uri(found.activation, info.rule),
    }
    return jsonify(predictions=[entry], model={"name": info.name, "version": info.version})


@bp.get("/versions")
def list_versions() -> Response:
    """Return all versions with their figures."""
    return jsonify(_studio().versions.describe())


@bp.post("/versions")
def make_version() -> ResponseReturnValue:
    """Begin to write a version."""
    body = _read_body()
    note = _text(body, "note") if "note" in body else ""
    promote = body.get("promote") is True
    return jsonify(version=_studio().make_version(promote=promote, note=note)), 202


@bp.patch("/versions/<version>")
def write_note(version: str) -> Response:
    """Keep a note on a version."""
    _studio().versions.write_note(version, _text(_read_body(), "note"))
    return _window()


@bp.post("/versions/<version>/promote")
def promote(version: str) -> Response:
    """Put a version in the window."""
    _studio().versions.promote(version, anyway=_read_body().get("anyway") is True)
    return _window()


@bp.post("/rollback")
def rollback() -> Response:
    """Put back what was in the window before."""
    _studio().versions.rollback()
    return _window()


@bp.post("/job/stop")
def stop_job() -> Response:
    """End the job that runs."""
    _studio().versions.stop_job()
    return _window()


def _studio() -> Studio:
    return studio_access().studio


def _window() -> Response:
    studio = _studio()
    return jsonify(version=studio.album.version, window=studio.versions.window())


def _read_number(name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise BadRequest(f"{name}: expected a whole number, got {text[:40]!r}.")
    return int(text)


def _read_body() -> dict[str, Any]:
    try:
        body = request.get_json(silent=True)
    except RecursionError:  # brackets in brackets in brackets
        body = None
    if not isinstance(body, dict):
        raise BadRequest("Expected a JSON object with the content type application/json.")
    return body


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{key}: expected a text, got {type(value).__name__}.")
    return value


def _names(body: dict[str, Any]) -> list[str]:
    ids = body.get("ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(name, str) for name in ids):
        raise BadRequest("ids: expected a list of ids of photos.")
    return ids


def _revision(body: dict[str, Any]) -> int:
    revision = body.get("revision")
    if type(revision) is not int:
        raise BadRequest("revision: expected the number that came with what you saw.")
    return revision
