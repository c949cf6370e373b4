"""workers/api/administration/bodies.py"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Request

from workers.api.administration.bodies import LimitsBody, read_body, takes
from workers.api.administration.keys import NewKeyBody
from workers.api.base.problems import ProblemError


class Sent(Request[object, object, object]):  # type: ignore[type-var]
    """A request with this body."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    async def body(self) -> bytes:
        return self.octets


@pytest.mark.parametrize(
    ("octets", "field"),
    [
        (b"{}", "account"),
        (b"", "account"),
        (b'{"account":1}', "account"),
        (b'{"account":"a","acount":"b"}', "acount"),
        (b'{"account":"a","burst":"5"}', "burst"),
        (b'{"account":"a","quota":1.5}', "quota"),
        (b'{"account":"a","rate":[1]}', "rate"),
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
        (b'{"account":"\\ud800"}', None),
    ],
)
async def test_what_is_wrong_is_named(octets: bytes, field: str | None) -> None:
    """A missing, unknown or wrongly typed field by its name; what is no object has none."""
    with pytest.raises(ProblemError) as caught:
        await read_body(Sent(octets), NewKeyBody)  # type: ignore[arg-type]
    assert (caught.value.status, caught.value.field) == (400, field)
    assert "`$" not in caught.value.detail


async def test_left_out_null_and_a_number_are_three_things() -> None:
    """What is left out stays, null is the plan's, text and number are the same rate."""
    for octets, columns in (
        (b"{}", {}),
        (b'{"rate":null,"burst":null}', {"rate_requests": None, "rate_seconds": None, "burst": None}),
        (b'{"rate":"1/5s","quota":0}', {"rate_requests": 1, "rate_seconds": 5, "monthly_quota": 0}),
        (b'{"rate":0.2}', {"rate_requests": 1, "rate_seconds": 5}),
        (b'{"rate":200}', {"rate_requests": 200, "rate_seconds": 1}),
    ):
        body = await read_body(Sent(octets), LimitsBody)  # type: ignore[arg-type]
        assert body.columns(of_plan=False) == columns


@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
async def test_any_body_is_read_or_refused(octets: bytes) -> None:
    """No input raises anything else."""
    try:
        await read_body(Sent(octets), NewKeyBody)  # type: ignore[arg-type]
    except ProblemError as problem:
        assert problem.status == 400  # noqa: PT017 - either way is right


def test_the_documentation_is_the_type() -> None:
    """Fields, which of them are needed, and that there are no others."""
    operation = takes(NewKeyBody)()
    assert operation.request_body is not None
    schema = operation.request_body.content["application/json"].schema  # type: ignore[union-attr]
    assert set(schema["properties"]) == set(NewKeyBody.__struct_fields__)  # type: ignore[index]
    assert (schema["required"], schema["additionalProperties"]) == (["account"], False)  # type: ignore[index]
