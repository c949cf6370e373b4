"""What of CoinGecko's API is not here."""

import httpx


async def test_a_path_that_is_not_here_is_a_404_that_says_what_is(optional_client: httpx.AsyncClient) -> None:
    """In CoinGecko's form, at any depth; elsewhere it is a problem of this node's own."""
    for path in ("nfts/list", "nope", "simple/nope", "coins/bitcoin/contract/0x1", "coins/bitcoin/ohlc/range/more"):
        answer = await optional_client.get(f"/api/v3/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_path"), path
        assert "/coins/markets" in answer.json()["error"]
    assert "error" not in (await optional_client.get("/api/v4/ping")).json()


async def test_another_method_is_refused_in_the_same_form(optional_client: httpx.AsyncClient) -> None:
    """With the methods that are allowed."""
    answer = await optional_client.post("/api/v3/ping")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


async def test_a_slash_at_the_end_changes_nothing(optional_client: httpx.AsyncClient) -> None:
    """pycoingecko asks for /coins/bitcoin/."""
    answers = [await optional_client.get(f"/api/v3/coins/bitcoin{slash}?market_data=false") for slash in ("", "/")]
    assert [answer.json()["id"] for answer in answers] == ["bitcoin", "bitcoin"]
