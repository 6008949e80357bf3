"""/studio: the page where a model is made, and the JSON API behind it.

The studio itself is opened by a command and given to the app: what serves knows no data sets. Its
owner logs in as to /review. Without a password only this machine may ask, and only by its own name:
a page elsewhere must not reach it through a name that leads here (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
    send_file,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, TooManyRequests, Unauthorized

from shopwindow.errors import ImageError, StudioError
from shopwindow.imaging.formats import ENDINGS, MEDIA_TYPES
from shopwindow.web.heatmap import heatmap_uri
from shopwindow.web.messages import in_words
from shopwindow.web.problem import Problem, note_image_errors
from shopwindow.web.state import app_state
from shopwindow.web.uploads import deadline, read_files, read_images

if TYPE_CHECKING:  # it imports onnx and data sets, and is given to the app
    from shopwindow.studio import Studio

bp = Blueprint("studio", __name__, url_prefix="/studio")

MAX_FILES = 200  # in one request to take photos in
_MAX_WAIT_S = 25
_MAX_WAITS = 16  # that wait at a time; others are answered at once
_FOR_EVER_S = 365 * 24 * 3600
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
_LOGIN_ENDPOINTS = ("studio.show", "studio.log_in")


class Access:
    """Who may use the studio of one app.

    Args:
        studio: What they use.
        is_open: Whether this machine may use it without a password.
    """

    def __init__(self, studio: Studio, *, is_open: bool) -> None:
        self.studio, self.is_open = studio, is_open
        self.epoch = secrets.token_urlsafe(8)  # sessions of another one are over
        self.waits = threading.BoundedSemaphore(_MAX_WAITS)

    def end_sessions(self) -> None:
        """Log everybody out."""
        self.epoch = secrets.token_urlsafe(8)


def accept_studio(app: Flask, studio: Studio, *, is_open: bool) -> None:
    """Offer a studio at /studio.

    Args:
        app: From `create_app`.
        studio: A project that is open.
        is_open: Whether this machine may use it without a password, where none is set.
    """
    password = app_state(app).settings.review_password
    app.extensions["shopwindow-studio"] = Access(studio, is_open=is_open and not password)
    if app.secret_key is None:  # feedback is off; its store would have one that lasts
        app.secret_key = secrets.token_bytes(32)


@bp.before_request
def check_owner() -> ResponseReturnValue | None:
    """Let in the owner, and whoever wants to log in."""
    access = _access()
    request.max_form_parts = MAX_FILES + 20
    if access.is_open:
        _check_this_machine()
    elif not app_state().settings.review_password:
        raise Forbidden(
            "The studio is closed: set SHOPWINDOW_REVIEW_PASSWORD to 16 characters or more, "
            "without spaces, and start the server again."
        )
    if request.method != "GET" and not _has_token():
        raise BadRequest(
            "This request lacks the page's token, or its cookie is gone: reload the studio."
        )
    if access.is_open or session.get("in") == access.epoch or request.endpoint in _LOGIN_ENDPOINTS:
        return None
    if request.path.startswith("/studio/api/"):
        raise Unauthorized("You are logged out: reload the studio, and log in again.")
    return redirect(url_for("studio.show"), 303)


@bp.errorhandler(StudioError)
def refuse(error: StudioError) -> Response:
    """Say why something cannot be done, with what a program needs to go on."""
    title = "Conflict" if error.http_status == 409 else "Unprocessable Entity"
    problem = Problem(error.http_status, title, str(error)).as_json()
    response = jsonify(problem | getattr(error, "details", {}))
    response.status_code, response.mimetype = error.http_status, "application/problem+json"
    return response


@bp.get("")
def show() -> ResponseReturnValue:
    """Show the page, or the form to log in."""
    access, settings = _access(), app_state().settings
    token = session.setdefault("token", secrets.token_urlsafe())
    if not access.is_open and session.get("in") != access.epoch:
        return _login_form()
    formats = settings.accepted_formats
    kinds = [kind for name in formats for kind in MEDIA_TYPES[name] + ENDINGS.get(name, ())]
    return render_template(
        "studio.html",
        token=token,
        api="/studio/api",
        has_password=not access.is_open,
        accept=",".join([*kinds, ".zip"]),
        max_upload_bytes=settings.max_upload_bytes,
        max_files=MAX_FILES,
    )


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Start a session for whoever knows the password."""
    state = app_state()
    try:
        state.access.check_login(request.remote_addr, request.headers.get)
    except TooManyRequests:
        state.metrics.count_login("refused")
        raise
    password, given = state.settings.review_password, request.form.get("password", "")
    if not password or not hmac.compare_digest(given.encode(), password.encode()):
        state.metrics.count_login("wrong")
        return _login_form("This password is wrong.", status=403)
    state.metrics.count_login("in")
    session.permanent = True
    session["in"] = _access().epoch
    session["token"] = secrets.token_urlsafe()  # somebody may have planted the one before
    return redirect(url_for("studio.show"), 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End all sessions, on every device."""
    _access().end_sessions()
    session.clear()
    return redirect(url_for("studio.show"), 303)


@bp.get("/api/state")
def show_state() -> Response:
    """Return the state, once it is newer than what the page has."""
    access = _access()
    since, wait_s = _read_number("since"), _read_number("wait")
    if since is not None and wait_s and access.waits.acquire(blocking=False):
        try:
            gone = deadline().is_gone
            access.studio.album.wait(since, min(wait_s, _MAX_WAIT_S), gone)
        finally:
            access.waits.release()
    return jsonify(access.studio.report.state())


@bp.get("/api/photos")
def show_photos() -> Response:
    """Return the photos that have changed."""
    return jsonify(_studio().album.columns(_read_number("since")))


@bp.post("/api/photos")
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


@bp.post("/api/table")
def set_from_table() -> Response:
    """Set the labels that a table says."""
    files = read_files("file")
    if len(files) != 1:
        raise BadRequest(f"file: expected one table, found {len(files)}.")
    return jsonify(_studio().changes.set_from_table(*files[0]))


@bp.post("/api/labels")
def set_labels() -> Response:
    """Give photos a label."""
    body = _read_body()
    label = None if body.get("label") is None else _text(body, "label")
    return jsonify(
        _studio().changes.set_labels(
            _names(body), label, _revision(body), force=body.get("force") is True
        )
    )


@bp.post("/api/labels/rename")
def rename_label() -> Response:
    """Rename a label, or merge it with another."""
    body = _read_body()
    old, new = _text(body, "from"), _text(body, "to")
    return jsonify(_studio().changes.rename_label(old, new, _revision(body)))


@bp.post("/api/labels/delete")
def delete_label() -> Response:
    """Take a label off all its photos."""
    body = _read_body()
    return jsonify(_studio().changes.delete_label(_text(body, "label"), _revision(body)))


@bp.post("/api/photos/delete")
def delete_photos() -> Response:
    """Move photos to the trash."""
    body = _read_body()
    force = body.get("force") is True
    return jsonify(_studio().changes.delete_photos(_names(body), _revision(body), force=force))


@bp.post("/api/undo")
def undo() -> Response:
    """Take back the last change."""
    return jsonify(_studio().changes.undo(_revision(_read_body())))


@bp.post("/api/redo")
def redo() -> Response:
    """Do again what was taken back."""
    return jsonify(_studio().changes.undo(_revision(_read_body()), again=True))


@bp.get("/api/model")
def show_model() -> Response:
    """Return what is known of the current model."""
    return jsonify(_studio().report.model())


@bp.post("/api/doubts/dismiss")
def dismiss_doubts() -> Response:
    """Note that labels are right."""
    return jsonify(_studio().changes.dismiss_doubts(_names(_read_body())))


@bp.post("/api/try")
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


@bp.get("/api/versions")
def list_versions() -> Response:
    """Return all versions with their figures."""
    return jsonify(_studio().versions.describe())


@bp.post("/api/versions")
def make_version() -> ResponseReturnValue:
    """Begin to write a version."""
    body = _read_body()
    note = _text(body, "note") if "note" in body else ""
    promote = body.get("promote") is True
    return jsonify(version=_studio().make_version(promote=promote, note=note)), 202


@bp.patch("/api/versions/<version>")
def write_note(version: str) -> Response:
    """Keep a note on a version."""
    _studio().versions.write_note(version, _text(_read_body(), "note"))
    return _window()


@bp.post("/api/versions/<version>/promote")
def promote(version: str) -> Response:
    """Put a version in the window."""
    _studio().versions.promote(version, anyway=_read_body().get("anyway") is True)
    return _window()


@bp.post("/api/rollback")
def rollback() -> Response:
    """Put back what was in the window before."""
    _studio().versions.rollback()
    return _window()


@bp.post("/api/job/stop")
def stop_job() -> Response:
    """End the job that runs."""
    _studio().versions.stop_job()
    return _window()


@bp.get("/photos/<name>/thumbnail")
def show_thumbnail(name: str) -> Response:
    """Return a small picture of a photo; it never changes."""
    response = _picture(_studio().thumbnail(name))
    response.headers["Cache-Control"] = f"private, max-age={_FOR_EVER_S}, immutable"
    return response


@bp.get("/photos/<name>/preview")
def show_preview(name: str) -> Response:
    """Return a large picture of a photo."""
    return _picture(_studio().preview(name))


@bp.get("/versions/<version>/model.onnx")
def download_model(version: str) -> Response:
    """Return the file of a version."""
    studio = _studio()
    path = studio.versions.model_file(version)
    name = f"{studio.folder.name}-{version}.onnx"
    return send_file(path, "application/octet-stream", as_attachment=True, download_name=name)


@bp.get("/project.zip")
def download_project() -> Response:
    """Return the project as an archive."""
    studio = _studio()
    response = Response(studio.archive(), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"{studio.folder.name}.zip")
    return response


def _access() -> Access:
    access: Access | None = current_app.extensions.get("shopwindow-studio")
    if access is None:
        raise NotFound
    return access


def _studio() -> Studio:
    return _access().studio


def _check_this_machine() -> None:
    """Make sure that a request without a password was made on this machine, for this address.

    Raises:
        Forbidden: It came through a proxy, or by another name.
    """
    name = urlsplit(f"//{request.host}").hostname or ""
    if any(header in request.headers for header in _FORWARDED) or not is_loopback(name):
        raise Forbidden(
            "Without a password the studio is for this machine alone: open it as 127.0.0.1, or set "
            "SHOPWINDOW_REVIEW_PASSWORD and start it again."
        )


def is_loopback(host: str) -> bool:
    """Say whether a name or an address means this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _has_token() -> bool:
    is_form = request.endpoint in ("studio.log_in", "studio.log_out")
    given = request.form.get("token", "") if is_form else request.headers.get("X-CSRF-Token", "")
    expected = str(session.get("token", ""))
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _login_form(error: str = "", status: int = 200) -> Response:
    html = render_template("studio-login.html", token=session["token"], error=error)
    return Response(html, status=status)


def _picture(jpeg: bytes | None) -> Response:
    if jpeg is None:
        raise NotFound("This photo is not in the project any more, or cannot be read.")
    return Response(jpeg, mimetype="image/jpeg")


def _window() -> Response:
    studio = _studio()
    return jsonify(version=studio.album.version, window=studio.versions.window())


def _read_number(name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
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
