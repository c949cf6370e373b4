"""The dashboard's files: one page, its scripts and styles, and the chart library as its makers publish it.

Rules: everything comes from this node, and the page's policy forbids it to ask anyone else. The page itself shows
nothing that the API would not give to the same caller. Files are read and packed once. Their address carries the
version of all of them together: a browser keeps them for good, and after an update asks for the new ones, never for a
mix; the page alone is asked for each time. Who still has the old page gets what there is now, unkept.
"""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from workers.api.base.problems import ProblemError
from workers.api.base.serving.compression import ENCODING, accepts_gzip, pack

PAGE = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml",
    "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}  # fmt: skip
_NAMES = (
    "dashboard.css", "icon.svg",
    "dashboard.js", "bills.js", "client.js", "live.js", "day.js", "format.js", "settings.js",
    "prices.js", "asset.js", "exchanges.js", "charts.js", "feeds.js", "usage.js", "month.js", "node.js",
    "pushes/view.js", "pushes/subscriptions.js", "pushes/deliveries.js", "pushes/endpoints.js", "pushes/events.js",
    "pushes/state.js", "cluster.js",
    "administration.css", "administration/view.js", "administration/list.js", "administration/form.js",
    "administration/pieces.js",
    "administration/keys.js", "administration/plans.js", "administration/accounts.js", "administration/blocks.js",
    "administration/audit.js",
    "vendor/lightweight-charts.standalone.production.mjs", "vendor/lightweight-charts.LICENSE.txt",
)  # fmt: skip
# In the page, before the version is known.
_UNVERSIONED = b"/static/"
_KEPT_FOR_GOOD = "public, max-age=31536000, immutable"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Vary": "Accept-Encoding",
}


class _File(NamedTuple):
    content: bytes
    packed: bytes
    media_type: str
    digest: str


@get("/", include_in_schema=False, sync_to_thread=False)
def show_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The dashboard."""
    return _respond(request, PAGE, "no-cache")


@get("/static/{version:str}/{name:path}", include_in_schema=False, sync_to_thread=False)
def show_file(request: Request[Any, Any, Any], version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """One of the page's files; their names are a closed list, so no path leads out of it."""
    name = str(name).lstrip("/")
    if name not in _NAMES:
        raise ProblemError(404, "unknown_path", "there is no such file")
    return _respond(request, name, _KEPT_FOR_GOOD if version == _version() else "no-cache")


def _respond(request: Request[Any, Any, Any], name: str, cache_control: str) -> Response[bytes]:
    """The file, or 304 when the browser has this version of it."""
    file = _read(name)
    is_packed = accepts_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{file.digest}-{ENCODING}"' if is_packed else f'"{file.digest}"'
    headers = {**_PAGE_HEADERS, "ETag": etag, "Cache-Control": cache_control}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known:
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    if is_packed:
        headers["Content-Encoding"] = ENCODING
    return Response(file.packed if is_packed else file.content, headers=headers, media_type=file.media_type)


@cache
def _read(name: str) -> _File:
    content = (files("workers.api.dashboard") / "static" / name).read_bytes()
    if name == PAGE:
        content = content.replace(_UNVERSIONED, b"/static/%s/" % _version().encode())
    return _File(content, pack(content), _TYPES[name.rpartition(".")[2]], _digest(content))


@cache
def _version() -> str:
    """Of all files that the page is made of."""
    return _digest(b"".join(_read(name).content for name in _NAMES))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=9).hexdigest()
