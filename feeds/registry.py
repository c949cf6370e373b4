"""The exchanges by name, in the order of metrics.EXCHANGES. A new one is a file like the six, and a line here."""

from collections.abc import Mapping

from feeds import coinbase, cryptocom, gateio, gemini, kraken, okx
from feeds.wire import Exchange

EXCHANGE_MODULES: Mapping[str, Exchange] = {
    "coinbase": coinbase,
    "gemini": gemini,
    "kraken": kraken,
    "gateio": gateio,
    "cryptocom": cryptocom,
    "okx": okx,
}
