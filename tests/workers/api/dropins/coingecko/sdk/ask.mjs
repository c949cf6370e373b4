// CoinGecko's own SDK against a node: `node ask.mjs <base URL> <key> all|price` prints what it got, or its error.
import { createRequire } from "node:module";
const require = createRequire(process.env.CLIENT_FOLDER + "/");
const { Coingecko } = require("@coingecko/coingecko-typescript");

const [url, key, wanted] = process.argv.slice(2);
const access = key ? { demoAPIKey: key } : { defaultHeaders: { "x-cg-demo-api-key": null } };
const client = new Coingecko({ baseURL: `${url}/api/v3`, ...access });
const usd = { vs_currency: "usd" };
const calls = {
  ping: () => client.ping.get(),
  price: () => client.simple.price.get({ ids: "bitcoin", names: "Ethereum", vs_currencies: "usd" }),
  currencies: () => client.simple.supportedVsCurrencies.get(),
  list: () => client.coins.list.get(),
  markets: () => client.coins.markets.get({ ...usd, ids: "bitcoin", price_change_percentage: "1h,7d" }),
  coin: () => client.coins.getID("bitcoin"),
  tickers: () => client.coins.tickers.get("bitcoin"),
  history: () => client.coins.history.get("bitcoin", { date: new Date().toISOString().slice(0, 10) }),
  chart: () => client.coins.marketChart.get("bitcoin", { ...usd, days: "1" }),
  range: () => client.coins.marketChart.getRange("bitcoin", { ...usd, from: "2026-01-01", to: "2026-01-02" }),
  ohlc: () => client.coins.ohlc.get("bitcoin", { ...usd, days: "1" }),
  search: () => client.search.get({ query: "eth" }),
  trending: () => client.search.trending.get(),
  rates: () => client.exchangeRates.get(),
  global: () => client.global.get(),
  platforms: () => client.assetPlatforms.get(),
  key: () => client.key.get(),
  unknown: () => client.coins.getID("no-such-coin"),
};
const got = {};
for (const [name, call] of Object.entries(calls)) {
  if (wanted !== "all" && wanted !== name) continue;
  got[name] = await call().catch((error) => ({ thrown: error.constructor.name, status: error.status, body: error.error }));
}
console.log(JSON.stringify(got));
