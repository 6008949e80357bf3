"""Asks a shopwindow server from Python: `Client`, and `AsyncClient` for asyncio.

Both send the same requests; only waiting differs. A server that is busy is asked again when it says
so (`Retry-After`), since a prediction may be asked for twice and feedback replaces itself.
docs/api.md describes what the server returns.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast, overload

from shopwindow.errors import ApiError, MissingExtraError
from shopwindow.inference.any_image import AnyImage, as_file_or_picture, is_one_image

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("The client", "client") from error

MAX_FILES = 10  # what a server accepts in one request, unless its settings say otherwise
MAX_BYTES = 8_000_000  # of the 10 MB that it accepts, to leave room for the form
_TRIES = 6
_MAX_WAIT_S = 60.0
_BUSY = (429, 503)
_OF_AN_IMAGE = "urn:shopwindow:problem:"

Json = dict[str, Any]


class Client:
    """Asks a server. Use it as a context manager, or close it. Thread-safe, as httpx is.

    Args:
        url: The server's address, such as `http://127.0.0.1:5000`.
        api_key: The server's `api_key`, if it has one.
        timeout_s: The longest wait for a connection or for the next byte.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout_s: float = 30) -> None:
        self._http = httpx.Client(**_options(url, api_key, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @overload
    def predict(  # type: ignore[overload-overlap]  # text and bytes are sequences, but come first
        self, images: AnyImage, *, top: int | None = ..., explain: bool = ..., embedding: bool = ...
    ) -> Json: ...

    @overload
    def predict(
        self,
        images: Sequence[AnyImage],
        *,
        top: int | None = ...,
        explain: bool = ...,
        embedding: bool = ...,
    ) -> list[Json]: ...

    def predict(
        self,
        images: AnyImage | Sequence[AnyImage],
        *,
        top: int | None = None,
        explain: bool = False,
        embedding: bool = False,
    ) -> Json | list[Json]:
        """Ask for the prediction for an image, or for an entry for each of several.

        Several images are sent a few at a time, each request within the server's usual limits.

        Args:
            images: An image, or a list of images, of any length: see `Predictor.predict`.
            top: How many labels to list; None leaves it to the server.
            explain: Whether to ask for the words and the heatmap that the page shows.
            embedding: Whether to ask for the embedding.

        Returns:
            An entry as in docs/api.md: `label`, `confidence`, `sure`, ... Of several images, one
            that cannot be used has the entry `{"error": ...}`.

        Raises:
            ApiError: The server refuses the only image, or the request, or stays busy.
            httpx.TransportError: The server cannot be reached.
            OSError: A file does not exist or cannot be read.
        """
        entries: list[Json] = []
        for files in _batches(images):
            response = self._send(_prediction_request(self._http, files, top, explain, embedding))
            entries += _entries_of(response)
        return _as_asked(images, entries)

    def feedback(self, receipt: str, label: str, *, image: AnyImage | None = None) -> Json:
        """Say what an image shows.

        Args:
            receipt: From the prediction's entry.
            label: The right label; "" for none of the labels.
            image: The same image, if the server may keep it. Ask the person whose photo it is.

        Returns:
            `id`, `undo`, `label`, `photo_kept`, `kept_until`.

        Raises:
            ApiError: The server refuses it, or takes no feedback.
            httpx.TransportError: The server cannot be reached.
        """
        return _json_of(self._send(_feedback_request(self._http, receipt, label, image)))

    def withdraw(self, feedback: Json) -> None:
        """Withdraw feedback; the server deletes it and its photo.

        Args:
            feedback: What `feedback` returned.

        Raises:
            ApiError: It has been withdrawn already, or it is not this one's.
            httpx.TransportError: The server cannot be reached.
        """
        _json_of(self._send(_withdrawal_request(self._http, feedback)))

    def model(self) -> Json:
        """Describe the model: its labels, how good it is, what it was trained on.

        Raises:
            ApiError: The server refuses.
            httpx.TransportError: The server cannot be reached.
        """
        return _json_of(self._send(self._http.build_request("GET", "api/v1/model")))

    def _send(self, request: httpx.Request) -> httpx.Response:
        for wait_s in _waits():
            response = self._http.send(request)
            if response.status_code not in _BUSY or wait_s is None:
                break
            time.sleep(_wait_of(response, wait_s))
        return response


class AsyncClient:
    """The same as `Client` for asyncio: `async with`, and `await` before each call.

    Args:
        url: See `Client`.
        api_key: See `Client`.
        timeout_s: See `Client`.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout_s: float = 30) -> None:
        self._http = httpx.AsyncClient(**_options(url, api_key, timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    @overload
    async def predict(  # type: ignore[overload-overlap]
        self, images: AnyImage, *, top: int | None = ..., explain: bool = ..., embedding: bool = ...
    ) -> Json: ...

    @overload
    async def predict(
        self,
        images: Sequence[AnyImage],
        *,
        top: int | None = ...,
        explain: bool = ...,
        embedding: bool = ...,
    ) -> list[Json]: ...

    async def predict(
        self,
        images: AnyImage | Sequence[AnyImage],
        *,
        top: int | None = None,
        explain: bool = False,
        embedding: bool = False,
    ) -> Json | list[Json]:
        """See `Client.predict`."""
        entries: list[Json] = []
        for files in _batches(images):
            request = _prediction_request(self._http, files, top, explain, embedding)
            entries += _entries_of(await self._send(request))
        return _as_asked(images, entries)

    async def feedback(self, receipt: str, label: str, *, image: AnyImage | None = None) -> Json:
        """See `Client.feedback`."""
        return _json_of(await self._send(_feedback_request(self._http, receipt, label, image)))

    async def withdraw(self, feedback: Json) -> None:
        """See `Client.withdraw`."""
        _json_of(await self._send(_withdrawal_request(self._http, feedback)))

    async def model(self) -> Json:
        """See `Client.model`."""
        return _json_of(await self._send(self._http.build_request("GET", "api/v1/model")))

    async def _send(self, request: httpx.Request) -> httpx.Response:
        for wait_s in _waits():
            response = await self._http.send(request)
            if response.status_code not in _BUSY or wait_s is None:
                break
            await asyncio.sleep(_wait_of(response, wait_s))
        return response


_AnyHttp = httpx.Client | httpx.AsyncClient


def _options(url: str, api_key: str | None, timeout_s: float) -> Json:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return {"base_url": url, "headers": headers, "timeout": timeout_s, "follow_redirects": True}


def _batches(images: AnyImage | Sequence[AnyImage]) -> Iterator[list[bytes]]:
    """Yield the files of one request after the other; files are read when their turn comes."""
    several = [images] if is_one_image(images) else images
    batch: list[bytes] = []
    for image in cast("Sequence[AnyImage]", several):
        blob = _as_file(image)
        if batch and (len(batch) == MAX_FILES or sum(map(len, batch)) + len(blob) > MAX_BYTES):
            yield batch
            batch = []
        batch.append(blob)
    if batch:
        yield batch


def _as_file(image: AnyImage) -> bytes:
    found = as_file_or_picture(image)
    if isinstance(found, bytes):
        return found
    buffer = io.BytesIO()
    found.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _prediction_request(
    http: _AnyHttp, files: list[bytes], top: int | None, explain: bool, embedding: bool
) -> httpx.Request:
    asked = {"explain": explain, "embedding": embedding}
    query: dict[str, str] = {name: "true" for name, wanted in asked.items() if wanted}
    if top is not None:
        query["top"] = str(top)
    parts = [("image", ("image", blob, "application/octet-stream")) for blob in files]
    return http.build_request("POST", "api/v1/predict", params=query, files=parts)


def _feedback_request(
    http: _AnyHttp, receipt: str, label: str, image: AnyImage | None
) -> httpx.Request:
    fields = {"receipt": receipt, "label": label}
    if image is None:
        return http.build_request("POST", "api/v1/feedback", json=fields)
    files = {"image": ("image", _as_file(image), "application/octet-stream")}
    return http.build_request("POST", "api/v1/feedback", data=fields, files=files)


def _withdrawal_request(http: _AnyHttp, feedback: Json) -> httpx.Request:
    headers = {"X-Undo-Token": feedback["undo"]}
    return http.build_request("DELETE", f"api/v1/feedback/{feedback['id']}", headers=headers)


def _waits() -> Iterator[float | None]:
    """Yield how long to wait after each try, in seconds; None after the last."""
    yield from (0.5 * 2**number for number in range(_TRIES - 1))
    yield None


def _wait_of(response: httpx.Response, wait_s: float) -> float:
    told = response.headers.get("Retry-After", "")
    return min(_MAX_WAIT_S, max(wait_s, float(told) if told.isdecimal() else 0.0))


def _entries_of(response: httpx.Response) -> list[Json]:
    problem = _problem_of(response)
    if problem is not None and problem["type"].startswith(_OF_AN_IMAGE):
        return [{"error": problem}]  # the only image of this request
    return cast("list[Json]", _json_of(response)["predictions"])


def _as_asked(images: object, entries: list[Json]) -> Json | list[Json]:
    if not is_one_image(images):
        return entries
    (entry,) = entries
    if "error" in entry:
        raise ApiError(**entry["error"])
    return entry


def _json_of(response: httpx.Response) -> Json:
    problem = _problem_of(response)
    if problem is not None:
        raise ApiError(**problem)
    if response.status_code == 204:
        return {}
    try:
        return cast("Json", response.json())
    except ValueError:
        raise ApiError(
            status=response.status_code,
            title="Not a shopwindow server",
            detail=f"{response.url} answered, but not with JSON. Is this the right address?",
        ) from None


def _problem_of(response: httpx.Response) -> Json | None:
    """Return the server's refusal, or that of a proxy on the way; None if there is none."""
    if response.is_success:
        return None
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        problem = response.json()
        return {name: problem[name] for name in ("status", "title", "detail", "type")}
    return {
        "status": response.status_code,
        "title": response.reason_phrase,
        "detail": f"{response.url} refused this ({response.status_code}).",
        "type": "about:blank",
    }
