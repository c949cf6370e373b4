"""workers/reports/node_state.py"""

from pathlib import Path

import httpx

from tests.workers.reports.conftest import ADMIN_KEY, client_of, settings_of


async def test_the_node_s_state_names_each_feed_and_each_asset(optional_client: httpx.AsyncClient) -> None:
    """What the page shows to everyone comes in one answer, with reasons."""
    state = (await optional_client.get("/node")).json()
    assert set(state["feeds"])
    for feed in state["feeds"].values():
        assert feed["status"] in ("ws", "rest", "down")
    assert [asset["asset"] for asset in state["assets"]]
    assert state["status"] in ("ok", "degraded", "down")


async def test_an_asset_s_state_has_every_exchange_that_lists_it(optional_client: httpx.AsyncClient) -> None:
    """Prices come with their currency, their value in USD, their age and their verdict; any case will do."""
    asset = (await optional_client.get("/node")).json()["assets"][0]["asset"]
    state = (await optional_client.get("/node/asset", params={"asset": asset.lower()})).json()
    assert state["asset"] == asset
    for row in state["exchanges"]:
        assert set(row) == {"exchange", "currency", "price", "price_usd", "age_ms", "via", "state", "verdict"}


async def test_an_unknown_asset_is_refused_by_name(optional_client: httpx.AsyncClient) -> None:
    """The field is named, and what there is."""
    answer = await optional_client.get("/node/asset", params={"asset": "' OR 1=1"})
    assert (answer.status_code, answer.json()["field"]) == (400, "asset")


async def test_the_inside_is_the_operator_s_alone(optional_client: httpx.AsyncClient) -> None:
    """Without the admin key it is refused; with it, it answers also while there is no database."""
    assert (await optional_client.get("/node/inside")).status_code == 403
    inside = (await optional_client.get("/node/inside", headers={"X-API-Key": ADMIN_KEY})).json()
    assert {process["name"] for process in inside["processes"]}
    assert inside["refusals"]["missing_key"] >= 0
    assert "ledger" in inside
    assert inside["blocks"] is None


async def test_where_keys_are_required_the_state_needs_one_too(tmp_path: Path) -> None:
    """The page of a closed node shows nothing before the login."""
    async with client_of(settings_of(tmp_path)) as client:
        assert (await client.get("/node")).status_code == 401
        assert (await client.get("/")).status_code == 200, "the page itself holds no secret"
