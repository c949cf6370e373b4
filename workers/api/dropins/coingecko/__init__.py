"""The part of CoinGecko's API that is about prices, for its clients: change the base URL and go on.

    router.py       the routes under /api/v3, and what answers a path that is not here
    simple.py       /ping, /simple/..., /exchange_rates: prices of many coins in many currencies
    markets.py      /coins/markets: a table of coins
    coin.py         /coins/{id}, its /history and /tickers
    charts.py       /coins/{id}/market_chart and /ohlc
    lists.py        /coins/list, /search and others: what there is, without prices
    key.py          /key: what a key may do, and what it has used
    selection.py    which coins and currencies a caller means
    parameters.py   text into numbers, days, moments
    numbers.py      prices and changes as JSON numbers
    errors.py       refusals in CoinGecko's own form

Rules: ids are CoinGecko's (coins.py). A price is in USD, or in any asset of this node by its symbol: the quotient of
two fresh prices. As with CoinGecko, an id that is not known is left out; so is a currency, as long as another one is
known. A price that is not fresh is left out or null, never sent as if it were. What this node does not know (market
caps, supplies, volumes) is null or an empty list, never a number.
"""
