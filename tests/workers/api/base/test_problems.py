"""Errors as problem+json."""

import msgspec

from workers.api.base.problems import ProblemError, bad_parameter, body_of, database_unavailable


def test_a_refusal_has_all_members_of_rfc_9457_and_ours() -> None:
    """`field` is there only where one parameter is to blame."""
    body = msgspec.to_builtins(body_of(bad_parameter("from", "not a time"), "id-1"))
    assert body == {
        "type": "urn:trinity:problem:bad_parameter", "title": "Bad Request", "status": 400, "code": "bad_parameter",
        "detail": "not a time", "request_id": "id-1", "instance": "urn:uuid:id-1", "field": "from",
    }  # fmt: skip
    assert "field" not in msgspec.to_builtins(body_of(ProblemError(404, "unknown_path", "no"), "id-2"))


def test_an_absent_database_says_when_to_come_back() -> None:
    """503 with Retry-After."""
    problem = database_unavailable()
    assert (problem.status, int(problem.headers["Retry-After"]) > 0) == (503, True)
    assert str(problem) == "503 database_unavailable: the database does not answer: try again soon"
