"""CoinGecko's users' clients: pycoingecko over https, and CoinGecko's own SDKs for Python and TypeScript."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import coingecko_sdk
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.support.node_fixture import CATALOG
from tests.support.npm import installed
from tests.workers.api.conftest import ADMIN_KEY
from tests.workers.api.dropins.coingecko.conftest import KEY, ask, client_of, keys_with
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
from tests.workers.request.conftest import answer_of, free_port
from trinity.observe.metrics import REPORTER
from trinity.rates import rate_of
from trinity.vocabulary import KeyState

SDK = Path(__file__).with_name("sdk")
USD = {"vs_currency": "usd"}
PRICE = {"ids": "bitcoin", "vs_currencies": "usd"}
# Nobody waits longer for a refusal than this; urllib3 alone would sleep for hours.
PROMPT_SECONDS = 40.0


def refused(service: Live, code: str) -> int:
    """How often callers were refused so."""
    return service.parts.context.block.read_counter(REPORTER.index("report_access_refusals_total", code))


# --- pycoingecko ----------------------------------------------------------------------------------------------

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{front} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{back}; }}
  }}
}}
"""
CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
)


@contextlib.contextmanager
def behind_tls(folder: Path, back: int) -> Iterator[str]:
    """A real proxy with a certificate of its own (cert.pem in the folder) before the service; yields its address."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl")
    subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
    front, file = free_port(), folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, front=front, back=back))
    running = subprocess.Popen([nginx, "-e", str(folder / "error.log"), "-c", str(file)])
    try:
        deadline = time.monotonic() + 10
        while not _listens(front):
            assert time.monotonic() < deadline, (folder / "error.log").read_text()
            time.sleep(0.01)
        yield f"https://localhost:{front}"
    finally:
        running.terminate()
        running.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def over_tls(url: str, folder: Path) -> Any:
    """pycoingecko with the key, as it is: its retries are for https alone."""
    client = client_of(url, demo_api_key=KEY)
    client.session.trust_env = False  # a bundle of the environment would count more than `verify`
    client.session.verify = str(folder / "cert.pem")
    return client


async def test_over_https_a_spent_month_is_told_at_once(tmp_path: Path) -> None:
    """Asked once and refused once: nothing makes urllib3 sleep and ask again."""
    async with live(tmp_path, keys_with(quota=1)) as service:
        with behind_tls(tmp_path, service.port) as url:
            client = over_tls(url, tmp_path)
            assert (await ask(client.get_price, **PRICE))["bitcoin"]["usd"] == 71002.5
            started = time.monotonic()
            with pytest.raises(ValueError, match="quota_exceeded") as told:
                await ask(client.get_price, **PRICE)
            assert time.monotonic() - started < PROMPT_SECONDS
            assert told.value.args[0]["status"]["error_code"] == 429
            assert refused(service, "quota_exceeded") == 1


async def test_over_https_a_short_wait_is_waited_for(tmp_path: Path) -> None:
    """A second of a rate is slept through, which shows that the client does so."""
    async with live(tmp_path, keys_with(rate=1, burst=1)) as service:
        with behind_tls(tmp_path, service.port) as url:
            client = over_tls(url, tmp_path)
            for _ in range(2):
                assert (await ask(client.get_price, **PRICE))["bitcoin"]["usd"] == 71002.5
            assert refused(service, "rate_limited") >= 1


async def test_over_https_a_long_wait_is_told_at_once(tmp_path: Path) -> None:
    """An hour of a rate is not slept through."""
    async with live(tmp_path, keys_with(rate=rate_of(1, 3600), burst=1)) as service:
        with behind_tls(tmp_path, service.port) as url:
            client, started = over_tls(url, tmp_path), time.monotonic()
            assert (await ask(client.get_price, **PRICE))["bitcoin"]["usd"] == 71002.5
            with pytest.raises(ValueError, match="rate_limited"):
                await ask(client.get_price, **PRICE)
            assert time.monotonic() - started < PROMPT_SECONDS
            assert refused(service, "rate_limited") == 1


# --- CoinGecko's SDK for Python -------------------------------------------------------------------------------


def sdk_of(url: str, **arguments: Any) -> coingecko_sdk.Coingecko:
    return coingecko_sdk.Coingecko(base_url=f"{url}/api/v3", **({"demo_api_key": KEY} | arguments))


def nulls_of(answer: Any) -> set[str]:
    """Where an answer is null and the SDK's type would have a value; the last name of each place."""
    problems = []
    try:
        TypeAdapter(type(answer)).validate_python(answer.to_dict(mode="json"))
    except ValidationError as error:
        problems = error.errors()
    return {str(problem["loc"][-1]) if problem["input"] is None else str(problem) for problem in problems}


async def test_the_python_sdk_gets_what_its_types_promise(tmp_path: Path, database_url: str) -> None:
    """Every call that has an answer; where the node knows nothing and the type has no null, the fields are these."""
    store_minutes(database_url, "BTC", "50", range(1, 1500))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    async with live(tmp_path, database_url=database_url) as service:
        row = service.memory.answers.row_of(CATALOG.asset_index("BTC"), CATALOG.exchange_index("kraken"))
        service.memory.answers.write(row, answer_of("BTC", "71000"))
        with sdk_of(service.url, demo_api_key=ADMIN_KEY, _strict_response_validation=True) as strict:
            coins, simple = strict.coins, strict.simple
            calls: dict[str, Callable[[], Any]] = {
                "ping": strict.ping.get,
                "price": lambda: simple.price.get(names="Bitcoin", vs_currencies="usd", include_24hr_change=True),
                "currencies": simple.supported_vs_currencies.get,
                "list": lambda: coins.list.get(include_platform=True),
                "markets": lambda: coins.markets.get(**USD, price_change_percentage="1h,1y", sparkline=True),
                "history": lambda: coins.history.get("bitcoin", date=today),
                "chart": lambda: coins.market_chart.get("bitcoin", days="1", **USD),
                "range": lambda: coins.market_chart.get_range("bitcoin", from_=today, to="2099-01-01T00:00", **USD),
                "ohlc": lambda: coins.ohlc.get("bitcoin", days="1", **USD),
                "search": lambda: strict.search.get(query="o"),
                "trending": strict.search.trending.get,
                "rates": strict.exchange_rates.get,
                "platforms": strict.asset_platforms.get,
            }
            got = {name: await ask(call) for name, call in calls.items()}
        assert got["price"]["Bitcoin"].usd == 71002.5
        assert got["price"]["Bitcoin"].usd_24h_change == 141905
        assert {row.id: row for row in got["markets"]}["bitcoin"].high_24h == 71002.5
        assert got["history"].market_data.current_price["usd"] == 50
        assert got["rates"].rates["usd"].value == got["chart"].prices[-1][1] == 71002.5
        assert len(got["ohlc"]) > 40
        with sdk_of(service.url, demo_api_key=ADMIN_KEY) as client:
            bare = {"block_time_in_minutes", "watchlist_portfolio_users"}
            assert nulls_of(await ask(client.coins.get_id, "bitcoin")) == bare
            tickers = await ask(client.coins.tickers.get, "bitcoin")
            assert nulls_of(tickers) == {"bid_ask_spread_percentage", "coin_mcap_usd", "volume"}
            assert tickers.tickers[0].last == 71000
            assert nulls_of(await ask(client.global_.get)) == {
                "ended_icos", "ongoing_icos", "upcoming_icos",
                "market_cap_change_percentage_24h_usd", "volume_change_percentage_24h_usd",
            }  # fmt: skip


async def test_the_python_sdk_s_errors_are_of_their_kinds_and_a_spent_month_is_asked_for_once(tmp_path: Path) -> None:
    """It asks three times where nobody tells it not to; a second of a rate it waits for."""
    async with live(tmp_path, keys_with(quota=1), auth="required") as service:
        with sdk_of(service.url) as client:
            assert (await ask(client.simple.price.get, **PRICE))["bitcoin"].usd == 71002.5
            started = time.monotonic()
            with pytest.raises(coingecko_sdk.RateLimitError) as told:
                await ask(client.simple.price.get, **PRICE)
            assert time.monotonic() - started < PROMPT_SECONDS
            assert told.value.body["code"] == "quota_exceeded"  # type: ignore[index]
            assert refused(service, "quota_exceeded") == 1
        service.tables.keys.write(1, hashlib.sha256(KEY.encode()).digest(), KeyState.ACTIVE, 1, 1, 0, False)
        with sdk_of(service.url) as client:
            for _ in range(2):
                assert (await ask(client.simple.price.get, **PRICE))["bitcoin"].usd == 71002.5
            assert refused(service, "rate_limited") >= 1
            with pytest.raises(coingecko_sdk.NotFoundError, match="coin not found"):
                await ask(client.coins.get_id, "no-such-coin")
            with pytest.raises(coingecko_sdk.UnprocessableEntityError, match="there are usd, btc"):
                await ask(client.coins.markets.get, vs_currency="xxx")
        wrong = sdk_of(service.url, demo_api_key=None, pro_api_key="wrong")
        with wrong, pytest.raises(coingecko_sdk.AuthenticationError, match="invalid_key"):
            await ask(wrong.ping.get)


async def test_the_python_sdk_needs_no_key_where_none_is_needed(service: Live) -> None:
    """Each call says that there is none."""
    none = {"extra_headers": {"x-cg-demo-api-key": coingecko_sdk.Omit()}}
    with sdk_of(service.url, demo_api_key=None) as client:
        assert (await ask(client.simple.price.get, **PRICE, **none))["bitcoin"].usd == 71002.5


# --- CoinGecko's SDK for TypeScript ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sdk_folder() -> Path:
    return installed(SDK)


async def ask_node(url: str, folder: Path, key: str, wanted: str) -> Any:
    """What the SDK gets from this address."""
    process = await asyncio.create_subprocess_exec(
        "node", str(SDK / "ask.mjs"), url, key, wanted, env={**os.environ, "CLIENT_FOLDER": str(folder)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_the_typescript_sdk_gets_all_its_calls(tmp_path: Path, sdk_folder: Path, database_url: str) -> None:
    """With its own headers, over its own paths; an unknown coin is its NotFoundError."""
    store_minutes(database_url, "BTC", "50", range(1, 1500))
    async with live(tmp_path, database_url=database_url, auth="required") as service:
        got = await ask_node(service.url, sdk_folder, ADMIN_KEY, "all")
    unknown = got.pop("unknown")
    assert (unknown["thrown"], unknown["status"]) == ("NotFoundError", 404)
    assert unknown["body"] == {"error": "coin not found", "code": "unknown_coin", "field": "id"}
    assert not [name for name, answer in got.items() if isinstance(answer, dict) and "thrown" in answer]
    assert got["price"] == {"bitcoin": {"usd": 71002.5}, "Ethereum": {"usd": 71002.5}}
    assert got["markets"][0]["low_24h"] == got["history"]["market_data"]["current_price"]["usd"] == 50
    assert len(got["ohlc"]) > 40


async def test_the_typescript_sdk_needs_no_key_where_none_is_needed(service: Live, sdk_folder: Path) -> None:
    """Its user says that there is none."""
    got = await ask_node(service.url, sdk_folder, "", "price")
    assert got["price"]["bitcoin"] == {"usd": 71002.5}


async def test_the_typescript_sdk_asks_once_for_a_spent_month(tmp_path: Path, sdk_folder: Path) -> None:
    """Its RateLimitError comes at once; it would follow any Retry-After, however long."""
    async with live(tmp_path, keys_with(quota=2), auth="required") as service:
        assert (await ask_node(service.url, sdk_folder, KEY, "price"))["price"]["bitcoin"] == {"usd": 71002.5}
        started = time.monotonic()
        told = (await ask_node(service.url, sdk_folder, KEY, "price"))["price"]
        assert time.monotonic() - started < PROMPT_SECONDS
        assert (told["thrown"], told["body"]["code"]) == ("RateLimitError", "quota_exceeded")
        assert refused(service, "quota_exceeded") == 1
