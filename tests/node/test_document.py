"""The OpenAPI document against a running node: what it says is asked, and what comes is as it says."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from tests.node.harness import Node, new_node
from trinity.clock import NS_PER_SECOND, SystemClock
from workers.api.openapi.document import examples

ADMIN_KEY = "the-operator-s-own-key"
PORT_OF = {"reports": "TCP_PORT_LRS", "request": "TCP_PORT_LPO"}
ABSENT: dict[str, Any] = {"responses": {"200": {"content": {}}}}
# A new node has no history of the documented moments.
MOMENTS = ("timestamp",)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A demo with an operator, old enough to have a minute of history."""
    opened = {"ADMIN_KEY": ADMIN_KEY, "PUSH_ALLOWED_TARGETS": "127.0.0.1"}
    with new_node(tmp_path_factory.mktemp("document"), **opened) as started:
        started.start()
        started.wait_ready()
        started.wait_reports_ready()
        started.wait_database()
        started.wait("a minute", lambda: started.get("/twap?asset=BTC&min_coverage=0", "TCP_PORT_LRS")[0] == 200, 150)
        yield started
        assert started.stop() == 0


class Owned(NamedTuple):
    """A customer's key, and what of theirs the paths name."""

    key: str
    values: dict[str, str]


@pytest.fixture(scope="module")
def owned(node: Node) -> Owned:
    """A customer with a subscription that nobody serves, and a test of it that waits."""
    key = post(node, "/administration/keys", ADMIN_KEY, {"account": "Corner Shop", "plan": "standard"})["api_key"]
    account = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}/account"
    node.wait("the key", lambda: ask(node, account, key)[0] == 200)
    wanted = {"target": "https://127.0.0.1:9/", "assets": ["BTC"], "interval_s": 60}
    number = post(node, "/subscriptions", key, wanted)["subscription"]["id"]
    order = post(node, f"/subscriptions/{number}/test", key, {})["order"]["id"]
    return Owned(key, {"subscription": str(number), "order_id": order})


def post(node: Node, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    url = f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}/v1{path}"
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as answer:
        made: dict[str, Any] = json.loads(answer.read())
        return made


def document_of(node: Node) -> dict[str, Any]:
    """As it is served."""
    document: dict[str, Any] = json.loads(node.text("/openapi.json", "TCP_PORT_LRS"))
    return document


def ask(node: Node, url: str, key: str = ADMIN_KEY) -> tuple[int, str, bytes]:
    """Status, media type and body, with a key where that is known; of a stream the beginning."""
    is_known = f":{node.ports['TCP_PORT_LRS']}/" in url
    request = urllib.request.Request(url, headers={"X-API-Key": key} if is_known else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            media = response.headers.get_content_type()
            return response.status, media, response.read1() if media == "text/event-stream" else response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def questions_of(node: Node, owned: Owned, document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, address, operation) of each call with a written example, on each of its ports, with its example values."""
    now = SystemClock().wall_ns() // NS_PER_SECOND
    for path, item in document["paths"].items():
        operation, filled = item.get("get", ABSENT), path
        if not any("example" in content for content in operation["responses"]["200"]["content"].values()):
            continue
        query = []
        for parameter in operation.get("parameters", []):
            value = now - 60 if parameter["name"] in MOMENTS else parameter.get("example")
            if parameter["in"] == "path":
                filled = filled.replace(f"{{{parameter['name']}}}", owned.values.get(parameter["name"], str(value)))
            elif value is not None:
                query.append((parameter["name"], str(value)))
        for server in item.get("servers", document["servers"]):
            port = server["url"].rpartition(":")[2]
            place = f"http://127.0.0.1:{port if port.isdigit() else node.ports['TCP_PORT_LRS']}"
            yield path, f"{place}{filled}?{urllib.parse.urlencode(query)}", operation


def validator_of(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema that refers to the document's components."""
    return Draft202012Validator({**schema, "components": document["components"]})


def test_every_example_is_answered_with_200_in_its_shape(node: Node, owned: Owned) -> None:
    """Each call, on each port that the document names for it; a JSON answer is valid by its schema."""
    document = document_of(node)
    asked = set()
    for path, url, operation in questions_of(node, owned, document):
        status, media, body = ask(node, url, owned.key if "/subscriptions" in path else ADMIN_KEY)
        assert status == 200, f"{url}: {body[:500]!r}"
        content = operation["responses"]["200"]["content"]
        assert media in content, url
        if media == "application/json":
            errors = list(validator_of(document, content[media]["schema"]).iter_errors(json.loads(body)))
            assert not errors, f"{url}: {errors[0].message} at {errors[0].json_path}"
        asked.add(path)
    assert len(asked) == len(examples())


def test_reports_with_rows_are_of_their_shape(node: Node) -> None:
    """The examples' days are empty on a new node: today is not."""
    document = document_of(node)
    for status, path in ((200, "/price?asset=BTC"), (404, "/price?asset=NOPE")):
        assert node.get(path)[0] == status
    for name in ("usage", "top", "latency", "log", "errors"):
        report = node.wait(name, lambda name=name: _rows_of(node, f"/reports/{name}"), 30)
        schema = document["paths"][f"/v1/reports/{name}"]["get"]["responses"]["200"]["content"]["application/json"]
        errors = list(validator_of(document, schema["schema"]).iter_errors(report))
        assert not errors, f"{name}: {errors[0].message} at {errors[0].json_path}"


def _rows_of(node: Node, path: str) -> Any:
    status, _, body = ask(node, f"http://127.0.0.1:{node.ports['TCP_PORT_LRS']}{path}")
    report = json.loads(body)
    return report if status == 200 and report["rows"] else None


def test_every_written_example_is_of_its_shape(node: Node) -> None:
    """What stands in the document is what a node could say."""
    document = document_of(node)
    for path, item in document["paths"].items():
        for content in item.get("get", ABSENT)["responses"]["200"]["content"].values():
            if "example" in content:
                errors = list(validator_of(document, content["schema"]).iter_errors(content["example"]))
                assert not errors, f"{path}: {errors[0].message} at {errors[0].json_path}"


def test_refusals_are_of_their_shape(node: Node) -> None:
    """A wrong parameter, on each port: the problem or error object that the document says."""
    document = document_of(node)
    for path, wrong in (("/v1/price", "asset=NOPE"), ("/v1/prices", "assets=,"), ("/v1/history", "granularity=2m")):
        item = document["paths"][path]
        for server in item.get("servers", document["servers"]):
            port = server["url"].rpartition(":")[2]
            place = f"http://127.0.0.1:{port if port.isdigit() else node.ports['TCP_PORT_LRS']}"
            status, media, body = ask(node, f"{place}{path}?{wrong}")
            content = item["get"]["responses"]["4XX"]["content"]
            assert 400 <= status < 500
            assert not list(validator_of(document, content[media]["schema"]).iter_errors(json.loads(body)))
            assert "field" in (json.loads(body).get("error") or json.loads(body))


def test_both_ports_give_the_same_price_and_name_each_other(node: Node) -> None:
    """The same members and the same refusals; an unknown path is told the real port of what it meant."""
    ports = node.ports
    for path in ("/price?asset=BTC", "/v1/prices?assets=BTC,NOPE", "/assets", "/price?asset=BTC&max_age=1", "/price"):
        (here, one), (there, other) = (node.get(path, PORT_OF[name]) for name in ("reports", "request"))
        assert (here, one.keys()) == (there, other.keys()), path
        if here >= 400:
            assert one == other
    _, error = node.get("/histroy", "TCP_PORT_LPO")
    assert (error["error"]["nearest"], error["error"]["port"]) == ("/history", ports["TCP_PORT_LRS"])
    _, problem = node.get("/v1/heatlh", "TCP_PORT_LRS")
    assert (problem["nearest"], problem["port"]) == ("/health", ports["TCP_PORT_LPO"])
