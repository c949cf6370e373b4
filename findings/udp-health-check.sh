#!/usr/bin/env bash
# CloudFormation: a target group that asks for health over UDP passes cfn-lint and is made by moto; AWS does not do it.
#
# Expected: cfn-lint, which has AWS's own schemas, says that UDP is no protocol of health checks; or the interface does.
# Seen:     the list of protocols of HealthCheckProtocol is that of the traffic and has UDP, so cfn-lint is silent, the
#           SDK sends it, moto answers that it is there. The SDK's own documentation of the same field says that UDP is
#           not supported for health checks: only AWS itself refuses, when the stack is created.
# Versions: cfn-lint 1.58.0, moto 5.2.5, boto3 1.44.8; Python 3.11.
# Trinity:  tests/deploy/aws/test_balancers.py asks each target group of deploy/aws for HTTP on the port of its health.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cfn-lint==1.58.0 'moto[elbv2,ec2]==5.2.5' boto3==1.44.8

cat >"$folder/template.yaml" <<'YAML'
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties: { CidrBlock: 10.0.0.0/16 }
  Lookups:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      VpcId: !Ref Network
      TargetType: ip
      Protocol: UDP
      Port: 2679
      HealthCheckProtocol: UDP
      HealthCheckPort: "2679"
YAML
"$folder/venv/bin/cfn-lint" "$folder/template.yaml" && echo "cfn-lint: nothing to say"

cat >"$folder/make.py" <<'PY'
import html
import re

import boto3
from moto import mock_aws

with mock_aws():
    given = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    elb, ec2 = (boto3.client(name, "us-east-1", **given) for name in ("elbv2", "ec2"))
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    asked = {"Protocol": "UDP", "Port": 2679, "VpcId": vpc, "TargetType": "ip", "HealthCheckProtocol": "UDP"}
    made = elb.create_target_group(Name="lookups", **asked)["TargetGroups"][0]["HealthCheckProtocol"]
    shape = elb.meta.service_model.operation_model("CreateTargetGroup").input_shape.members["HealthCheckProtocol"]
text = re.sub("<[^>]+>", "", html.unescape(shape.documentation))
refused = [sentence for sentence in re.split(r"(?<=\.)\s+", text) if "not supported" in sentence and "UDP" in sentence]
print("moto has a group that is asked over", made)
print("the SDK's list of protocols:", ", ".join(shape.enum))
print("the SDK's documentation:", *refused)
raise SystemExit(0 if made == "UDP" and "UDP" in shape.enum and refused else 1)
PY
"$folder/venv/bin/python" "$folder/make.py" || { echo "the behaviour has changed"; exit 1; }
