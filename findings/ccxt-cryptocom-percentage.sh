#!/usr/bin/env bash
# ccxt: a Crypto.com ticker's `percentage` is the fraction that the exchange sends, and open and change follow from it.
#
# Expected: `percentage` of a unified ticker is the change of 24 hours in percent, of every exchange (ccxt's manual:
#           change / open * 100), so the exchange's `c` of 0.0099, on a day between 84,870 and 87,000, reads 0.99.
# Seen:     0.0099. ccxt works out what the exchange does not send from it: an open within 9 USD of the last price and a
#           change of 8.49, where the market rose by 840. Kraken's and OKX's tickers of the same move are right.
# Versions: ccxt 4.5.90, Python 3.11.
# Trinity:  takes prices and times from the exchanges, never a change: `24h_change` is computed from its own candles
#           (workers/api/dropins/coingecko.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ccxt==4.5.90

cat >"$folder/ticker.py" <<'EOF'
import ccxt

# The same market in the forms of three exchanges: 84,928 a day ago, 85,768.30 now, which is 0.99 % more.
OPEN, LAST = 84_928.0, 85_768.3
RAW = {
    "cryptocom": {
        "i": "BTC_USD", "h": "87000.00", "l": "84870.33", "a": str(LAST), "b": "85765.12", "k": "85765.13",
        "v": "1042.4626", "vv": "89605257.17", "c": "0.0099", "oi": "0", "t": 1767225600123,
    },
    "okx": {
        "instType": "SPOT", "instId": "BTC-USD", "last": str(LAST), "bidPx": "85765.1", "askPx": "85765.2",
        "open24h": str(OPEN), "high24h": "87000", "low24h": "84870.3", "vol24h": "1042", "volCcy24h": "89605257",
        "ts": "1767225600123",
    },
    "kraken": {
        "a": ["85765.2", "1", "1.0"], "b": ["85765.1", "1", "1.0"], "c": [str(LAST), "0.01"], "v": ["1", "2"],
        "p": ["85500.1", "85500.2"], "t": [1, 2], "l": ["84870.3", "84870.3"], "h": ["87000.0", "87000.0"], "o": str(OPEN),
    },
}
market = {
    "id": "BTCUSD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "active": True, "type": "spot", "spot": True,
    "contract": False,
}
seen = {}
for exchange, raw in RAW.items():
    ticker = getattr(ccxt, exchange)().parse_ticker(raw, market)
    seen[exchange] = [round(ticker[name], 4) for name in ("percentage", "open", "change")]
    print(f"{exchange}: percentage {seen[exchange][0]}, open {seen[exchange][1]}, change {seen[exchange][2]}")
right = round((LAST - OPEN) / OPEN * 100, 2)
as_described = (
    round(seen["okx"][0], 2) == round(seen["kraken"][0], 2) == right == 0.99
    and seen["cryptocom"][0] == 0.0099
    and abs(seen["cryptocom"][1] - LAST) < 9
)
raise SystemExit(0 if as_described else 1)
EOF
"$folder/venv/bin/python" "$folder/ticker.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   cryptocom: percentage 0.0099, open 85759.8098, change 8.4902
#   okx: percentage 0.9894, open 84928.0, change 840.3
#   kraken: percentage 0.9894, open 84928.0, change 840.3
