"""workers/api/administration/blocks.py"""

import httpx
import pytest

from tests.workers.api.administration.conftest import change, listed, refused


async def test_a_network_is_blocked_and_unblocked(operator: httpx.AsyncClient) -> None:
    """With a reason and an end; what is not blocked says so, and which wider block holds it."""
    made = (await change(operator, "blocks", address="203.0.113.0/24", reason="scraping", **{"for": "1h"}))["block"]
    assert (made["network"], made["reason"]) == ("203.0.113.0/24", "scraping")
    assert made["expires_at"] is not None
    inner = await change(operator, "blocks/remove", address="203.0.113.7")
    assert (inner["unblocked"], inner["still_blocked_by"]) == (False, ["203.0.113.0/24"])
    assert len((await listed(operator, "blocks"))["blocks"]) == 1
    assert (await change(operator, "blocks/remove", address="203.0.113.0/24"))["unblocked"] is True
    assert (await listed(operator, "blocks"))["blocks"] == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"address": "nobody"}, 400, "address"),
        ({"address": "127.0.0.1"}, 409, None),
        ({"address": "0.0.0.0/0"}, 409, None),
        ({"address": "203.0.113.7", "for": "0"}, 400, "for"),
        ({"address": "203.0.113.7", "reason": "\n"}, 400, "reason"),
    ],
)
async def test_what_is_wrong_or_protected_is_refused(
    operator: httpx.AsyncClient, body: dict[str, str], status: int, field: str | None
) -> None:
    """By the same rules as `trinity block`: loopback is never blocked."""
    assert (await refused(operator, "blocks", **body))[:2] == (status, field)
    assert (await listed(operator, "blocks"))["blocks"] == []


async def test_the_audit_is_read_in_pages(operator: httpx.AsyncClient) -> None:
    """`next` leads on until there is none; filters select."""
    for number in range(3):
        await change(operator, f"accounts/a{number}", language="de")
    first = await listed(operator, "audit", count=2)
    second = await listed(operator, "audit", count=2, before=first["next"])
    assert [entry["name"] for page in (first, second) for entry in page["entries"]] == ["a2", "a1", "a0"]
    assert second["next"] is None
    assert len((await listed(operator, "audit", kind="account", name="a1"))["entries"]) == 1
    assert (await listed(operator, "audit", actor="nobody"))["entries"] == []
