"""The dashboard's files: one page, its scripts and styles, and the chart library out of plotly's wheel.

Rules: everything comes from this node, and the page's policy forbids it to ask anyone else. The page itself shows
nothing that the API would not give to the same caller.
"""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from litestar import Request, Response, get
from litestar.params import FromPath

from workers.api.base.problems import ProblemError

_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAMES = (
    "index.html", "dashboard.css", "icon.svg",
    "dashboard.js", "client.js", "live.js", "format.js",
    "prices.js", "asset.js", "charts.js", "feeds.js", "usage.js", "inside.js",
)  # fmt: skip
_CHARTS = "plotly.min.js"
# plotly.js writes styles into the elements it draws; scripts come from files alone.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class _File(NamedTuple):
    content: bytes
    media_type: str
    etag: str


@get("/", include_in_schema=False, sync_to_thread=False)
def show_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The dashboard."""
    return _respond(request, "index.html")


@get("/static/{name:str}", include_in_schema=False, sync_to_thread=False)
def show_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """One of the page's files; their names are a closed list, so no path leads out of it."""
    if name not in _NAMES and name != _CHARTS:
        raise ProblemError(404, "unknown_path", "there is no such file")
    return _respond(request, name)


def _respond(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """The file, or 304 when the browser has this version of it."""
    file = _read(name)
    headers = {**_PAGE_HEADERS, "ETag": file.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


@cache
def _read(name: str) -> _File:
    where = files("plotly") / "package_data" if name == _CHARTS else files("workers.api.dashboard") / "static"
    content = (where / name).read_bytes()
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    return _File(content, _TYPES[name.rpartition(".")[2]], etag)
