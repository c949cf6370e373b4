"""The OpenAPI document: every answer has a shape, and a version where it is ours."""

import json
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from workers.api.openapi.answers import OPERATIONS
from workers.api.openapi.document import examples
from workers.api.usage.export import MEDIA_TYPES

# What has no GET changes something, and says what it made.
ABSENT: dict[str, Any] = {"responses": {"200": {"content": {}}}}
LOOSE: tuple[Any, ...] = ({}, {"type": "object"}, {"type": "object", "additionalProperties": {}})


async def _document(client: httpx.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


async def test_every_answer_has_a_shape(optional_client: httpx.AsyncClient) -> None:
    """No 200 is `object` or nothing: a handler returns a Struct, or its path has a row in answers.py."""
    document = await _document(optional_client)
    assert document["openapi"] == "3.1.0"
    for path, item in document["paths"].items():
        for media, content in item.get("get", ABSENT)["responses"]["200"]["content"].items():
            assert content["schema"] not in LOOSE, f"{path} has no shape"
            assert media != "application/json" or content["schema"] != {"type": "string"}, f"{path} has no shape"


async def test_all_ports_are_there_and_own_paths_have_their_version(optional_client: httpx.AsyncClient) -> None:
    """Lookups on both ports, health on its own; the shapes of other services keep their paths."""
    paths = (await _document(optional_client))["paths"]
    assert [server["url"] for server in paths["/v1/price"]["servers"]] == ["/", "http://{host}:8080"]
    assert [server["url"] for server in paths["/metrics"]["servers"]] == [
        "http://{host}:8081", "http://{host}:9091",
    ]  # fmt: skip
    assert {"/v1/history", "/v1/reports/usage", "/api/v3/simple/price", "/udf/history", "/v2/price_feeds"} <= set(paths)
    assert not {"/price", "/history", "/v1/udf/history"} & set(paths)
    assert not [path for path in paths if path.startswith("/administration")], "what has a parameter in it, too"
    assert "/v1/administration/keys/{key}/limit" in paths
    for operation in OPERATIONS:
        assert ("security" in paths[operation.path]["get"]) is operation.is_public


async def test_a_report_is_offered_in_each_of_its_forms(optional_client: httpx.AsyncClient) -> None:
    """JSON, CSV, XLSX and Parquet, by the media types that they are sent with."""
    operation = (await _document(optional_client))["paths"]["/v1/reports/usage"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {name.partition(";")[0] for name in MEDIA_TYPES.values()}


async def test_every_schema_is_one_and_every_reference_leads_somewhere(optional_client: httpx.AsyncClient) -> None:
    """JSON Schema 2020-12, as OpenAPI 3.1 has it."""
    document = await _document(optional_client)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for part in json.dumps(document).split('"$ref": "')[1:]:
        where = document
        for step in part.partition('"')[0].removeprefix("#/").split("/"):
            where = where[step]
    identifiers = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "servers"
    ]
    assert len(set(identifiers)) == len(identifiers)


async def test_every_example_stands_beside_its_call(optional_client: httpx.AsyncClient) -> None:
    """What a node once said; tests/node/test_document.py holds them against a node of today."""
    paths = (await _document(optional_client))["paths"]
    assert len(examples()) > 30
    for path, example in examples().items():
        operation = (paths.get(path) or paths[f"/v1{path}"])["get"]
        assert example in [content.get("example") for content in operation["responses"]["200"]["content"].values()]
