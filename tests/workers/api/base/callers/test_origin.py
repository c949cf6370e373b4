"""workers/api/base/callers/origin.py"""

import pytest
from litestar import Request

from workers.api.base.callers.origin import check_origin
from workers.api.base.problems import ProblemError

JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")


def asked(*headers: tuple[str, str]) -> Request[object, object, object]:  # type: ignore[type-var]
    packed = [(name.encode(), value.encode()) for name, value in (("host", "node:9090"), *headers)]
    return Request({"type": "http", "method": "POST", "headers": packed})  # type: ignore[arg-type, typeddict-item]


@pytest.mark.parametrize(
    "headers",
    [
        [JSON],
        [("content-type", "application/json; charset=utf-8")],
        [JSON, ("origin", "http://node:9090")],
        [JSON, ("origin", "http://NODE:9090"), ("sec-fetch-site", "same-site")],
        [JSON, ("origin", "https://public.example"), ("sec-fetch-site", "same-origin")],
    ],
)
def test_json_of_this_origin_or_of_no_browser_passes(headers: list[tuple[str, str]]) -> None:
    """Whatever a proxy made of the host's name."""
    check_origin(asked(*headers))


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        ([("content-type", "text/plain")], 415, "Content-Type"),
        ([FORM, ("sec-fetch-site", "same-origin")], 415, "Content-Type"),
        ([], 415, "Content-Type"),
        ([JSON, ("origin", "https://elsewhere.example")], 403, "Origin"),
        ([JSON, ("origin", "null")], 403, "Origin"),
        ([JSON, ("origin", "http://node:9091")], 403, "Origin"),
        ([JSON, ("sec-fetch-site", "cross-site")], 403, "Origin"),
        ([JSON, ("sec-fetch-site", "none")], 403, "Origin"),
    ],
)  # fmt: skip
def test_another_site_or_a_form_is_refused(headers: list[tuple[str, str]], status: int, field: str) -> None:
    """With the header that is to blame."""
    with pytest.raises(ProblemError) as caught:
        check_origin(asked(*headers))
    assert (caught.value.status, caught.value.field) == (status, field)
