"""Refusals in CoinGecko's own form, and how long its clients are kept waiting by them."""

from pathlib import Path

import httpx
import pytest

from tests.workers.api.conftest import ADMIN_KEY, table_of
from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import live


async def test_a_key_goes_where_the_client_puts_it(tmp_path: Path) -> None:
    """As CoinGecko's demo key; a wrong one is an error of the client's kind."""
    async with live(tmp_path, auth="required") as service:
        client = client_of(service.url, demo_api_key=ADMIN_KEY)
        assert (await ask(client.get_price, ids="bitcoin", vs_currencies="usd"))["bitcoin"]["usd"] == 71002.5
        with pytest.raises(ValueError, match="missing_key"):
            await ask(client_of(service.url).get_price, ids="bitcoin", vs_currencies="usd")


async def test_a_database_that_is_away_is_told_in_coingecko_s_words(optional_client: httpx.AsyncClient) -> None:
    """{"error": ...} with our code beside it, and when to try again."""
    for path in ("market_chart?vs_currency=usd&days=1", "market_chart/range?vs_currency=usd&from=1&to=2"):
        answer = await optional_client.get(f"/api/v3/coins/bitcoin/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert isinstance(answer.json()["error"], str)
        assert int(answer.headers["Retry-After"]) > 0


async def test_refusals_of_a_caller_have_a_status_and_others_an_error(tmp_path: Path) -> None:
    """The two forms that CoinGecko has, each with this node's code; 10002 is its number of a missing key."""
    keys = table_of("key-1")
    async with live(tmp_path, keys, auth="required") as service, httpx.AsyncClient(base_url=service.url) as client:
        for header, status, number, code in (
            ({}, 401, 10002, "missing_key"),
            ({"x-cg-pro-api-key": "wrong"}, 401, 10010, "invalid_key"),
        ):
            answer = await client.get("/api/v3/ping", headers=header)
            body = answer.json()
            assert (answer.status_code, body["status"]["error_code"], body["code"]) == (status, number, code)
            assert body["status"]["error_message"]
            assert body["status"]["timestamp"].endswith("Z")
            assert "error" not in body
        answer = await client.get("/api/v3/coins/nope", headers={"x-cg-pro-api-key": ADMIN_KEY})
        assert answer.status_code == 404
        assert answer.json() == {"error": "coin not found", "code": "unknown_coin", "field": "id"}


@pytest.mark.parametrize("spelling", ["x-cg-demo-api-key", "x-cg-pro-api-key"])
async def test_a_key_is_read_in_each_of_coingecko_s_four_spellings(tmp_path: Path, spelling: str) -> None:
    """As a header and as a parameter, of demo and of pro."""
    keys = table_of("key-1")
    async with live(tmp_path, keys, auth="required") as service, httpx.AsyncClient(base_url=service.url) as client:
        url = "/api/v3/simple/price?ids=bitcoin&vs_currencies=usd"
        as_header = await client.get(url, headers={spelling: ADMIN_KEY})
        as_parameter = await client.get(f"{url}&{spelling.replace('-', '_')}={ADMIN_KEY}")
        assert as_header.json() == as_parameter.json() == {"bitcoin": {"usd": 71002.5}}
        wrong = await client.get(f"{url}&{spelling.replace('-', '_')}=wrong")
        assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_key")
