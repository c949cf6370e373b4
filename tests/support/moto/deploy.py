"""Makes the whole of deploy/aws in moto's server with the AWS SDK, asks it for what exists, deletes all of it.

`.venv/infra/bin/python -m tests.support.moto.deploy` prints what it found as JSON. Each part of stack.yaml becomes a
stack of its own, in the order in which they need each other; calls.py makes what moto's stacks cannot.
"""

import copy
import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from moto.server import ThreadedMotoServer

from tests.support.cloudformation import Intrinsics, load, parameters_of
from tests.support.moto.calls import (
    CALLS,
    LEFT_AFTER_STACKS,
    LEFT_BY_STACKS,
    REGION,
    UNKNOWN,
    Cloud,
    Made,
    is_made_by_call,
)
from tests.support.moto.inventory import inventory


class Part:
    """One template: a stack of what moto makes of it, and the rest by calls."""

    def __init__(self, cloud: Cloud, name: str, template: dict[str, Any], given: dict[str, Any]) -> None:
        """`given`: its parameters."""
        self._cloud, self._name = cloud, name
        self._functions = Intrinsics(template, given, REGION, self._name_of, self._attribute_of)
        self._template = template
        wanted = {
            key: resource
            for key, resource in template["Resources"].items()
            if "Condition" not in resource or self._functions.holds(resource["Condition"])
        }
        self._by_call = {key: resource for key, resource in wanted.items() if is_made_by_call(key, resource["Type"])}
        self._made: dict[str, Made] = {}
        self._kinds = {key: resource["Type"] for key, resource in wanted.items()}
        apart = self._by_call.keys() | {key for key, resource in wanted.items() if resource["Type"] in UNKNOWN}
        self._make_stack({key: resource for key, resource in wanted.items() if key not in apart}, given)
        for key in self._by_call:
            self._make(key)

    def outputs(self) -> dict[str, Any]:
        return self._functions.outputs()

    def delete(self) -> None:
        """By calls what was made so, the newest first; then the stack."""
        for made in reversed(self._made.values()):
            made.delete()
        self._delete_left(LEFT_BY_STACKS)
        self._cloud.cloudformation.delete_stack(StackName=self._name)
        self._delete_left(LEFT_AFTER_STACKS)

    def _delete_left(self, calls: Mapping[str, Callable[[Cloud, str], Any]]) -> None:
        for key, kind in self._kinds.items():
            if kind in calls and key not in self._by_call:
                calls[kind](self._cloud, self._names[key])

    def _make_stack(self, resources: dict[str, Any], given: dict[str, Any]) -> None:
        resources = copy.deepcopy(resources)
        for resource in resources.values():
            depends = resource.pop("DependsOn", [])
            kept = [key for key in ([depends] if isinstance(depends, str) else depends) if key in resources]
            if kept:
                resource["DependsOn"] = kept
            resource.pop("Metadata", None)
        template = self._template | {"Resources": self._with_subnets(resources)}
        for section in ("Outputs", "Rules"):
            template.pop(section, None)
        parameters = [
            {"ParameterKey": key, "ParameterValue": str(given[key])}
            for key in template.get("Parameters", {})
            if key in given
        ]
        formation = self._cloud.cloudformation
        formation.create_stack(StackName=self._name, TemplateBody=json.dumps(template), Parameters=parameters)
        (stack,) = formation.describe_stacks(StackName=self._name)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        pages = formation.get_paginator("list_stack_resources").paginate(StackName=self._name)
        self._names = {
            entry["LogicalResourceId"]: entry.get("PhysicalResourceId")
            for page in pages
            for entry in page["StackResourceSummaries"]
        }

    def _with_subnets(self, value: Any) -> Any:
        """moto does not know Fn::Cidr: it is worked out before."""
        if isinstance(value, dict):
            if "Fn::Select" in value and "Fn::Cidr" in json.dumps(value):
                return self._functions.resolve(value)
            return {key: self._with_subnets(part) for key, part in value.items()}
        return [self._with_subnets(part) for part in value] if isinstance(value, list) else value

    def _make(self, key: str) -> Made:
        if key not in self._made:
            resource = self._by_call[key]
            properties = self._functions.resolve(resource.get("Properties", {}))
            self._made[key] = CALLS[resource["Type"]](self._cloud, properties)
        return self._made[key]

    def _name_of(self, key: str) -> Any:
        if key in self._by_call:
            return self._make(key).name
        return self._names.get(key) or f"unknown-{key}"

    def _attribute_of(self, key: str, attribute: str) -> Any:
        if key in self._by_call:
            return self._make(key).attributes[attribute]
        name, kind = self._names[key], self._kinds[key]
        cloud = self._cloud
        match kind.removeprefix("AWS::"), attribute:
            case "IAM::Role", "Arn":
                return cloud.iam.get_role(RoleName=name)["Role"]["Arn"]
            case "S3::Bucket", "Arn":
                return f"arn:aws:s3:::{name}"
            case "S3::Bucket", "RegionalDomainName":
                return f"{name}.s3.{REGION}.amazonaws.com"
            case "EC2::Subnet", "AvailabilityZone":
                return cloud.ec2.describe_subnets(SubnetIds=[name])["Subnets"][0]["AvailabilityZone"]
            case "ElasticLoadBalancingV2::TargetGroup", "TargetGroupFullName":
                return name.split(":")[-1]
            case "ElasticLoadBalancingV2::LoadBalancer", _:
                (found,) = cloud.elbv2.describe_load_balancers(LoadBalancerArns=[name])["LoadBalancers"]
                known = {"DNSName": found["DNSName"], "CanonicalHostedZoneID": found["CanonicalHostedZoneId"]}
                return (known | {"LoadBalancerFullName": name.split(":loadbalancer/")[1]})[attribute]
        raise NotImplementedError(f"{kind}.{attribute}")


class Root:
    """stack.yaml: its parts, as CloudFormation would make them, and what stands in it itself."""

    def __init__(self, cloud: Cloud, parameters: dict[str, str]) -> None:
        self._cloud = cloud
        self._resources = load("stack.yaml")["Resources"]
        self._functions = Intrinsics(load("stack.yaml"), parameters, REGION, lambda key: f"<{key}>", self._attribute_of)
        self._parts: dict[str, Part] = {}
        self._own: dict[str, Made] = {}

    def make(self) -> None:
        for key, resource in self._resources.items():
            kind = resource["Type"]
            if kind == "AWS::CloudFormation::Stack":
                properties = resource["Properties"]
                given = self._functions.resolve(properties["Parameters"])
                self._parts[key] = Part(self._cloud, key, load(properties["TemplateURL"]), given)
            elif kind in CALLS:
                self._own[key] = CALLS[kind](self._cloud, self._functions.resolve(resource["Properties"]))

    def delete(self) -> None:
        for part in reversed(self._parts.values()):
            part.delete()
        for made in self._own.values():
            made.delete()

    def _attribute_of(self, key: str, attribute: str) -> Any:
        if key in self._own:
            return self._own[key].attributes[attribute]
        return self._parts[key].outputs()[attribute.removeprefix("Outputs.")]


def run(print_line: Callable[[str], None]) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        cloud = Cloud(f"http://{host}:{port}")
        before = inventory(cloud)
        certificate = cloud.acm.request_certificate(DomainName="prices.example.com")["CertificateArn"]
        root = Root(cloud, parameters_of("production") | {"Certificate": certificate})
        root.make()
        there = inventory(cloud)
        root.delete()
        print_line(json.dumps({"before": before, "there": there, "after": inventory(cloud)}, default=str))
    finally:
        server.stop()


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run(lambda line: print(line, file=sys.stdout))
