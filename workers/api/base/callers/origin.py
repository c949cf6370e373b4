"""Whether a request that changes something comes from a page of this service, where a browser says whence it comes.

Rules: JSON alone, which no form of another site can send without asking first; and no other origin, which no page can
hide. Who is no browser names no origin, and needs none: it has no cookie that somebody else could make it send.
"""

from typing import Any

from litestar import Request

from workers.api.base.problems import ProblemError


def check_origin(request: Request[Any, Any, Any]) -> None:
    """Raise 415 for another type of body, 403 for another origin."""
    if request.content_type[0] != "application/json":
        raise ProblemError(415, "body_not_accepted", "send Content-Type: application/json", "Content-Type")
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site == "same-origin" or (site is None and origin is None):
        return  # a browser that knows it, whatever a proxy made of the host's name; or none
    if origin is None or origin.partition("://")[2].lower() != request.headers.get("host", "").lower():
        raise ProblemError(403, "foreign_origin", "send it from a page of this service", "Origin")
