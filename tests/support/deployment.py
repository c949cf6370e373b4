"""The deployment on AWS as tests ask it: its copies, its nodes, and what stands where in their templates."""

import base64
from collections.abc import Iterator
from typing import Any

NODES = ("Node1", "Node2", "Node3", "Push1")
ASKED = ("Node1", "Node2", "Node3")
COPIES = {"production": "us-east-1", "staging": "us-east-1", "another-region": "eu-west-1"}

Part = dict[str, dict[str, Any]]


def of_type(whole: dict[str, Part], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each resource of a type: part and name, properties."""
    for part, resources in whole.items():
        for name, resource in resources.items():
            if resource["Type"] == f"AWS::{kind}":
                yield f"{part}.{name}", resource.get("Properties", {})


def attributes_of(properties: dict[str, Any], field: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in properties[field]}


def node_container(whole: dict[str, Part], node: str) -> dict[str, Any]:
    return whole[node]["Task"]["Properties"]["ContainerDefinitions"][0]


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {entry["Name"]: entry["Value"] for entry in container["Environment"]}


def user_data_of(whole: dict[str, Part], node: str) -> str:
    data = whole[f"{node}Host"]["Template"]["Properties"]["LaunchTemplateData"]["UserData"]
    return base64.b64decode(data).decode()
