"""/studio: the page where a model is made, and the pictures and files behind it."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    current_app,
    redirect,
    render_template,
    send_file,
    send_from_directory,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from shopwindow.errors import StudioError
from shopwindow.imaging.formats import ENDINGS, MEDIA_TYPES
from shopwindow.web.login import WRONG, login_form, password_is_right, start_session
from shopwindow.web.state import app_state
from shopwindow.web.studio_access import (
    MAX_FILES,
    check_owner,
    is_logged_in,
    refuse,
    refuse_for_disk,
    studio_access,
)

bp = Blueprint("studio", __name__, url_prefix="/studio")
bp.before_request(check_owner)
bp.register_error_handler(StudioError, refuse)
bp.register_error_handler(OSError, refuse_for_disk)

_FOR_EVER_S = 365 * 24 * 3600


@bp.get("")
def show() -> ResponseReturnValue:
    """Show the page, or the form to log in."""
    access, settings = studio_access(), app_state().settings
    token = session.setdefault("token", secrets.token_urlsafe())
    if not is_logged_in(access):
        return _login_form()
    formats = settings.accepted_formats
    kinds = [kind for name in formats for kind in MEDIA_TYPES[name] + ENDINGS.get(name, ())]
    return render_template(
        "studio.html",
        title=access.studio.folder.name,
        token=token,
        address=url_for("studio.show"),
        has_password=not access.is_open,
        accept=",".join([*kinds, ".zip"]),
        max_upload_bytes=settings.max_upload_bytes,
        max_files=MAX_FILES,
        digest=_digest_of(_files_folder()),
    )


@bp.get("/page/<digest>/<name>")
def show_file(digest: str, name: str) -> Response:
    """Return a script or style sheet of the page.

    The scripts import one another by name, so that all have an address that changes with any.
    """
    folder = _files_folder()
    if digest != _digest_of(folder):
        raise NotFound("The studio was updated: reload it.")
    response = send_from_directory(folder, name)
    response.headers["Cache-Control"] = f"private, max-age={_FOR_EVER_S}, immutable"
    return response


@bp.post("/login")
def log_in() -> ResponseReturnValue:
    """Start a session for whoever knows the password."""
    if not password_is_right():
        return _login_form(WRONG)
    start_session(studio_access().epoch)
    return redirect(url_for("studio.show"), 303)


@bp.post("/logout")
def log_out() -> ResponseReturnValue:
    """End all sessions, on every device."""
    studio_access().end_sessions()
    session.clear()
    return redirect(url_for("studio.show"), 303)


@bp.get("/photos/<name>/thumbnail")
def show_thumbnail(name: str) -> Response:
    """Return a small picture of a photo; it never changes."""
    response = _picture(studio_access().studio.thumbnail(name))
    response.headers["Cache-Control"] = f"private, max-age={_FOR_EVER_S}, immutable"
    return response


@bp.get("/photos/<name>/preview")
def show_preview(name: str) -> Response:
    """Return a large picture of a photo."""
    return _picture(studio_access().studio.preview(name))


@bp.get("/versions/<version>/model.onnx")
def download_model(version: str) -> Response:
    """Return the file of a version."""
    studio = studio_access().studio
    path = studio.versions.model_file(version)
    name = f"{studio.folder.name}-{version}.onnx"
    return send_file(path, "application/octet-stream", as_attachment=True, download_name=name)


@bp.get("/project.zip")
def download_project() -> Response:
    """Return the project as an archive."""
    studio = studio_access().studio
    response = Response(studio.archive(), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"{studio.folder.name}.zip")
    return response


def _files_folder() -> Path:
    return Path(current_app.static_folder or "") / "studio"


@cache
def _digest_of(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _login_form(error: str = "") -> Response:
    note = "This is where the owner of this server makes its model."
    return login_form("Studio", note, url_for("studio.log_in"), error)


def _picture(jpeg: bytes | None) -> Response:
    if jpeg is None:
        raise NotFound("This photo is not in the project any more, or cannot be read.")
    return Response(jpeg, mimetype="image/jpeg")
