"""CloudFormation's templates of deploy/aws as data, and their functions worked out.

`load` reads a template, its functions as `{"Fn::Sub": ...}`. A `Intrinsics` works them out against parameters and what
resources are called; `whole_of` does so for stack.yaml and all its parts, where a resource is called `<Name>` and its
attributes `<Name.Attribute>`. It knows what our templates use, and fails loudly at anything else.
"""

import base64
import functools
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "aws"
FILES = sorted(path.name for path in FOLDER.glob("[!.]*.yaml"))
_PLACE = re.compile(r"\$\{([^!}][^}]*)\}")
_ABSENT = object()
ACCOUNT = "123456789012"


class _Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)


@functools.cache
def load(file: str) -> dict[str, Any]:
    """A template of deploy/aws by its file's name; nobody changes it."""
    return yaml.load((FOLDER / file).read_text(), _Loader)


def parameters_of(name: str) -> dict[str, str]:
    """A file of deploy/aws/parameters."""
    entries = json.loads((FOLDER / "parameters" / f"{name}.json").read_text())
    return {entry["ParameterKey"]: entry["ParameterValue"] for entry in entries}


class Intrinsics:
    """Works out the functions of one template."""

    def __init__(
        self,
        template: Mapping[str, Any],
        given: Mapping[str, Any],
        region: str,
        name_of: Callable[[str], Any],
        attribute_of: Callable[[str, str], Any],
    ) -> None:
        """`name_of`: what a resource's Ref is; `attribute_of`: what its GetAtt is."""
        self._template = template
        self._name_of = name_of
        self._attribute_of = attribute_of
        self._region = region
        self.parameters: dict[str, Any] = {}
        for name, parameter in template.get("Parameters", {}).items():
            value = given[name] if name in given else parameter["Default"]
            is_list = parameter["Type"].startswith("List<") or parameter["Type"] == "CommaDelimitedList"
            self.parameters[name] = value.split(",") if is_list and isinstance(value, str) else value

    def resolve(self, value: Any) -> Any:
        """The value without functions; what is left out (AWS::NoValue) is not there."""
        if isinstance(value, dict):
            if (
                len(value) == 1
                and (name := next(iter(value))).startswith(("Fn::", "Ref", "Condition"))
                and name != "Condition"
            ):
                return self._call(name, value[name])
            return {key: found for key, part in value.items() if (found := self.resolve(part)) is not _ABSENT}
        if isinstance(value, list):
            return [found for part in value if (found := self.resolve(part)) is not _ABSENT]
        return value

    def holds(self, condition: Any) -> bool:
        """Whether a condition, by its name or as a function, does."""
        if isinstance(condition, str):
            return self.holds(self._template["Conditions"][condition])
        ((name, value),) = condition.items()
        match name:
            case "Condition":
                return self.holds(value)
            case "Fn::Equals":
                first, second = (str(self.resolve(part)) for part in value)
                return first == second
            case "Fn::Not":
                return not self.holds(value[0])
            case "Fn::And":
                return all(self.holds(part) for part in value)
        raise NotImplementedError(name)

    def resources(self) -> dict[str, dict[str, Any]]:
        """All that are made, their properties worked out."""
        return {
            name: self.resolve(resource)
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    def outputs(self) -> dict[str, Any]:
        return {name: self.resolve(output["Value"]) for name, output in self._template.get("Outputs", {}).items()}

    def _call(self, name: str, value: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(value)
            case "Fn::GetAtt":
                return self._attribute_of(value[0], value[1])
            case "Fn::Sub":
                return self._sub(value)
            case "Fn::If":
                return self.resolve(value[1] if self.holds(value[0]) else value[2])
            case "Fn::FindInMap":
                first, second, third = (self.resolve(part) for part in value)
                return self._template["Mappings"][first][second][third]
            case "Fn::Join":
                return value[0].join(str(part) for part in self.resolve(value[1]))
            case "Fn::Split":
                return self.resolve(value[1]).split(value[0])
            case "Fn::Select":
                return self.resolve(value[1])[int(value[0])]
            case "Fn::GetAZs":
                return [f"{self._region}{letter}" for letter in "abc"]
            case "Fn::Cidr":
                network, count, bits = (self.resolve(part) for part in value)
                subnets = ipaddress.ip_network(network).subnets(new_prefix=32 - int(bits))
                return [str(next(subnets)) for _ in range(int(count))]
            case "Fn::Base64":
                return base64.b64encode(self.resolve(value).encode()).decode()
        raise NotImplementedError(name)

    def _ref(self, name: str) -> Any:
        ours = {
            "AWS::Region": self._region,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackId": "<stack>",
            "AWS::NoValue": _ABSENT,
        }
        if name in ours:
            return ours[name]
        return self.parameters[name] if name in self.parameters else self._name_of(name)

    def _sub(self, value: Any) -> str:
        text, own = (value, {}) if isinstance(value, str) else value

        def put(place: re.Match[str]) -> str:
            name = place[1]
            if name in own:
                return str(self.resolve(own[name]))
            if "." in name:
                return str(self._attribute_of(*name.split(".", 1)))
            return str(self._ref(name))

        return _PLACE.sub(put, text).replace("${!", "${")


def whole_of(parameters: Mapping[str, str], region: str = "us-east-1") -> dict[str, dict[str, dict[str, Any]]]:
    """Each part of stack.yaml (and itself, under "Stack") by its logical name: its resources, worked out."""
    outputs: dict[str, dict[str, Any]] = {}

    def attribute_of(name: str, attribute: str) -> Any:
        part, _, output = attribute.partition(".")
        if part != "Outputs":
            return f"<{name}.{attribute}>"
        if name not in outputs:
            made(name)
        return outputs[name][output]

    template = load("stack.yaml")
    root = Intrinsics(template, parameters, region, lambda name: f"<{name}>", attribute_of)
    parts: dict[str, dict[str, dict[str, Any]]] = {}

    def made(name: str) -> None:
        properties = template["Resources"][name]["Properties"]
        part = load(properties["TemplateURL"])
        given = {key: root.resolve(value) for key, value in properties["Parameters"].items()}
        unknown = given.keys() - part.get("Parameters", {}).keys()
        assert not unknown, f"{properties['TemplateURL']} has no parameters {sorted(unknown)}"
        resolver = Intrinsics(
            part, given, region, lambda own: f"<{name}.{own}>", lambda own, which: f"<{name}.{own}.{which}>"
        )
        outputs[name] = resolver.outputs()
        parts[name] = resolver.resources()

    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudFormation::Stack" and name not in parts:
            made(name)
    return parts | {"Stack": root.resources()}
