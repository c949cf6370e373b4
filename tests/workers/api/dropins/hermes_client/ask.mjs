// The real Hermes client against a node: `node ask.mjs <base URL> <options as JSON> <moment> <id>...` prints what it got.
import { createRequire } from "node:module";
const require = createRequire(process.env.CLIENT_FOLDER + "/");
const { HermesClient } = require("@pythnetwork/hermes-client");

const [url, options, moment, ...ids] = process.argv.slice(2);
const client = new HermesClient(url, { httpRetries: 0, ...JSON.parse(options) });
const got = {};
got.feeds = await client.getPriceFeeds({ query: "btc", assetType: "crypto" });
got.latest = await client.getLatestPriceUpdates(ids, { parsed: true });
got.unknown = await client.getLatestPriceUpdates(["0x" + "ab".repeat(32)]).catch((error) => error.message);
got.ignored = await client.getLatestPriceUpdates([ids[0], "0x" + "ab".repeat(32)], { ignoreInvalidPriceIds: true });
got.past = await client.getPriceUpdatesAtTimestamp(Number(moment), ids, { parsed: true }).catch((error) => error.message);
const stream = await client.getPriceUpdatesStream(ids, { parsed: true });
got.streamed = await new Promise((resolve, reject) => {
  stream.onmessage = (event) => resolve(JSON.parse(event.data));
  stream.onerror = (event) => reject(new Error(event.message));
});
stream.close();
console.log(JSON.stringify(got));
