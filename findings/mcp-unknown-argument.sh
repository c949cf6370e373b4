#!/usr/bin/env bash
# mcp: a tool's argument that the tool does not have is dropped without a word.
#
# Expected: a call with an argument of a wrong name is an error, as it is for the function that the tool is made of.
# Seen:     the server's model of the arguments ignores what it does not know, and the published schema does not forbid
#           it either: a limit that is misspelt (`max_age` for `max_age_ms`) is not applied, and the answer looks good.
# Versions: mcp 2.3.0, Python 3.11, Linux.
# Trinity:  refuses it by name and publishes `additionalProperties: false` (trinity/cli/mcp_tools.py, StrictTool).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0

cat >"$folder/ask.py" <<'EOF'
import asyncio

from mcp.client import Client
from mcp.server import MCPServer

server = MCPServer("prices")


@server.tool()
def price(asset: str, max_age_ms: int | None = None) -> str:
    """The price of an asset, if it is not older than that."""
    return f"{asset} with max_age_ms {max_age_ms}"


async def main() -> bool:
    async with Client(server) as client:
        schema = (await client.list_tools()).tools[0].input_schema
        answer = await client.call_tool("price", {"asset": "BTC", "max_age": 500})
        said = answer.content[0].text
        print(f"additionalProperties: {schema.get('additionalProperties', 'not said')}")
        print(f"price(asset=BTC, max_age=500): is_error {answer.is_error}, {said!r}")
        return "additionalProperties" not in schema and not answer.is_error and said == "BTC with max_age_ms None"


raise SystemExit(0 if asyncio.run(main()) else 1)
EOF
"$folder/venv/bin/python" "$folder/ask.py" || { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   additionalProperties: not said
#   price(asset=BTC, max_age=500): is_error False, 'BTC with max_age_ms None'
