"""What moto 5.2.5 does not make of a template, made by calls of the AWS SDK out of the same properties.

It has no CloudFormation for most of these types, and of a network load balancer it makes an application one; of a
service it forgets the target groups, of a task its size. The SDK checks names and types of all properties against AWS's
own models.
"""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"
_PASSWORD = re.compile(r"\{\{resolve:secretsmanager:([^}]+)\}\}")


# No interface of moto's knows these: the linters alone see them.
UNKNOWN = {
    "AWS::Backup::BackupSelection",
    "AWS::Backup::RestoreTestingPlan",
    "AWS::Backup::RestoreTestingSelection",
    "AWS::ElastiCache::UserGroup",
}


def _lower(value: Any) -> Any:
    """ECS's interface begins its names with small letters, CloudFormation with large ones."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: _lower(part) for key, part in value.items()}
    return [_lower(part) for part in value] if isinstance(value, list) else value


class Cloud:
    """The SDK's clients of one moto server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: dict[str, Any] = {}

    def __getattr__(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.Session("AKIAEXAMPLE", "secret", region_name=REGION)
            once = Config(retries={"total_max_attempts": 1})
            self._clients[service] = session.client(service, endpoint_url=self._url, config=once)
        return self._clients[service]


class Made:
    """What a call made: what Ref and GetAtt say of it, and how it is deleted."""

    def __init__(self, name: Any, delete: Callable[[], Any], **attributes: Any) -> None:
        self.name, self.delete, self.attributes = name, delete, attributes


def _key(cloud: Cloud, given: dict[str, Any]) -> Made:
    """By a call as well: the policy that a stack gives moto's key can be asked by nobody afterwards."""
    made = cloud.kms.create_key(Description=given["Description"], Policy=json.dumps(given["KeyPolicy"]))["KeyMetadata"]
    cloud.kms.enable_key_rotation(KeyId=made["KeyId"])
    days = given["PendingWindowInDays"]
    return Made(
        made["KeyId"],
        lambda: cloud.kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=days),
        Arn=made["Arn"],
    )


def _secret(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = {"Name": given["Name"], "KmsKeyId": given["KmsKeyId"]}
    if "GenerateSecretString" in given:
        asked["SecretString"] = cloud.secretsmanager.get_random_password(**given["GenerateSecretString"])[
            "RandomPassword"
        ]
    else:
        asked["SecretString"] = _with_passwords(cloud, given["SecretString"])
    arn = cloud.secretsmanager.create_secret(**asked)["ARN"]
    return Made(arn, lambda: cloud.secretsmanager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True))


def _with_passwords(cloud: Cloud, value: Any) -> Any:
    """As CloudFormation does it: `{{resolve:secretsmanager:...}}` becomes the secret."""
    if isinstance(value, str):
        return _PASSWORD.sub(
            lambda found: cloud.secretsmanager.get_secret_value(SecretId=found[1])["SecretString"], value
        )
    if isinstance(value, list):
        return [_with_passwords(cloud, part) for part in value]
    return {key: _with_passwords(cloud, part) for key, part in value.items()} if isinstance(value, dict) else value


def _database(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = _with_passwords(cloud, given)
    asked["DeletionProtection"] = False  # it is deleted below; a rule of ours reads what the template says
    made = cloud.rds.create_db_cluster(**{**asked, "ServerlessV2ScalingConfiguration": {
        key: float(value) for key, value in asked["ServerlessV2ScalingConfiguration"].items()
    }})["DBCluster"]  # fmt: skip
    name = made["DBClusterIdentifier"]
    return Made(
        name,
        lambda: cloud.rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True),
        **{"Endpoint.Address": made["Endpoint"], "DBClusterArn": made["DBClusterArn"]},
    )


def _database_settings(cloud: Cloud, given: dict[str, Any]) -> Made:
    name = "settings"
    cloud.rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=name, DBParameterGroupFamily=given["Family"], Description=given["Description"]
    )
    return Made(name, lambda: cloud.rds.delete_db_cluster_parameter_group(DBClusterParameterGroupName=name))


def _database_instance(cloud: Cloud, given: dict[str, Any]) -> Made:
    count = len(cloud.rds.describe_db_instances()["DBInstances"])
    name = f"instance-{count}"
    cloud.rds.create_db_instance(DBInstanceIdentifier=name, **given)
    return Made(name, lambda: cloud.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True))


def _cache(cloud: Cloud, given: dict[str, Any]) -> Made:
    made = cloud.elasticache.create_replication_group(**given)["ReplicationGroup"]
    name = made["ReplicationGroupId"]
    address = f"{name}.cache.example.com"
    return Made(
        name,
        lambda: cloud.elasticache.delete_replication_group(ReplicationGroupId=name),
        **{"PrimaryEndPoint.Address": address},
    )


def _cache_subnets(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = {"CacheSubnetGroupName": "subnets", "CacheSubnetGroupDescription": given["Description"]}
    cloud.elasticache.create_cache_subnet_group(**asked, SubnetIds=given["SubnetIds"])
    return Made("subnets", lambda: None)  # moto cannot delete it


def _cache_user(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = _with_passwords(cloud, given)
    mode = {**asked["AuthenticationMode"], "Type": "password"}
    # The SDK of today knows Redis's name alone.
    cloud.elasticache.create_user(**{**asked, "Engine": "redis", "AuthenticationMode": mode})
    name = given["UserId"]
    return Made(name, lambda: cloud.elasticache.delete_user(UserId=name))


def _network_balancer(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = {key: value for key, value in given.items() if key != "LoadBalancerAttributes"}
    made = cloud.elbv2.create_load_balancer(**asked)["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    return Made(
        arn,
        lambda: cloud.elbv2.delete_load_balancer(LoadBalancerArn=arn),
        DNSName=made["DNSName"],
        CanonicalHostedZoneID=made["CanonicalHostedZoneId"],
        LoadBalancerFullName=arn.split(":loadbalancer/")[1],
    )


def _target_group(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = {key: value for key, value in given.items() if key != "TargetGroupAttributes"}
    name = f"{given['Protocol']}-{given['Port']}".lower()
    arn = cloud.elbv2.create_target_group(Name=name, **asked)["TargetGroups"][0]["TargetGroupArn"]
    cloud.elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=given["TargetGroupAttributes"])
    return Made(
        arn,
        lambda: cloud.elbv2.delete_target_group(TargetGroupArn=arn),
        TargetGroupFullName=arn.split(":")[-1],
    )


def _listener(cloud: Cloud, given: dict[str, Any]) -> Made:
    arn = cloud.elbv2.create_listener(**given)["Listeners"][0]["ListenerArn"]
    return Made(arn, lambda: cloud.elbv2.delete_listener(ListenerArn=arn))


def _task(cloud: Cloud, given: dict[str, Any]) -> Made:
    arn = cloud.ecs.register_task_definition(**_lower(given))["taskDefinition"]["taskDefinitionArn"]
    return Made(arn, lambda: cloud.ecs.deregister_task_definition(taskDefinition=arn))


def _service(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = _lower(given)
    made = cloud.ecs.create_service(**asked)["service"]
    return Made(
        made["serviceArn"],
        lambda: cloud.ecs.delete_service(cluster=given["Cluster"], service=given["ServiceName"], force=True),
        Name=made["serviceName"],
    )


def _capacity(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = _lower(given)
    group = asked["autoScalingGroupProvider"]["autoScalingGroupArn"]
    (found,) = cloud.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    asked["autoScalingGroupProvider"]["autoScalingGroupArn"] = found["AutoScalingGroupARN"]
    cloud.ecs.create_capacity_provider(**asked)
    return Made(given["Name"], lambda: cloud.ecs.delete_capacity_provider(capacityProvider=given["Name"]))


def _capacities(cloud: Cloud, given: dict[str, Any]) -> Made:
    cloud.ecs.put_cluster_capacity_providers(**_lower(given))
    return Made(given["Cluster"], lambda: None)


def _alarm(cloud: Cloud, given: dict[str, Any]) -> Made:
    cloud.cloudwatch.put_metric_alarm(**given)
    name = given["AlarmName"]
    return Made(name, lambda: cloud.cloudwatch.delete_alarms(AlarmNames=[name]))


def _topic_policy(cloud: Cloud, given: dict[str, Any]) -> Made:
    for topic in given["Topics"]:
        cloud.sns.set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(given["PolicyDocument"])
        )
    return Made("policy", lambda: None)


def _subscription(cloud: Cloud, given: dict[str, Any]) -> Made:
    arn = cloud.sns.subscribe(**given)["SubscriptionArn"]
    return Made(arn, lambda: cloud.sns.unsubscribe(SubscriptionArn=arn))


def _bucket_policy(cloud: Cloud, given: dict[str, Any]) -> Made:
    cloud.s3.put_bucket_policy(Bucket=given["Bucket"], Policy=json.dumps(given["PolicyDocument"]))
    return Made("policy", lambda: cloud.s3.delete_bucket_policy(Bucket=given["Bucket"]))


def _outward_rule(cloud: Cloud, given: dict[str, Any]) -> Made:
    pair = {"GroupId": given["DestinationSecurityGroupId"], "Description": given["Description"]}
    rule = {key: given[key] for key in ("IpProtocol", "FromPort", "ToPort")} | {"UserIdGroupPairs": [pair]}
    cloud.ec2.authorize_security_group_egress(GroupId=given["GroupId"], IpPermissions=[rule])
    return Made("rule", lambda: cloud.ec2.revoke_security_group_egress(GroupId=given["GroupId"], IpPermissions=[rule]))


def _vault(cloud: Cloud, given: dict[str, Any]) -> Made:
    made = cloud.backup.create_backup_vault(**given)
    name = given["BackupVaultName"]
    return Made(
        name, lambda: cloud.backup.delete_backup_vault(BackupVaultName=name), BackupVaultArn=made["BackupVaultArn"]
    )


def _plan(cloud: Cloud, given: dict[str, Any]) -> Made:
    plan = given["BackupPlan"]
    renamed = {
        "TargetBackupVault": "TargetBackupVaultName",
        "StartWindowMinutes": "StartWindowMinutes",
        "CompletionWindowMinutes": "CompletionWindowMinutes",
    }
    rules = [{renamed.get(key, key): value for key, value in rule.items()} for rule in plan["BackupPlanRule"]]
    made = cloud.backup.create_backup_plan(BackupPlan={"BackupPlanName": plan["BackupPlanName"], "Rules": rules})
    name = made["BackupPlanId"]
    return Made(name, lambda: cloud.backup.delete_backup_plan(BackupPlanId=name))


def _origin_access(cloud: Cloud, given: dict[str, Any]) -> Made:
    made = cloud.cloudfront.create_origin_access_control(**given)
    name = made["OriginAccessControl"]["Id"]
    return Made(name, lambda: cloud.cloudfront.delete_origin_access_control(Id=name, IfMatch=made["ETag"]))


def _listed(items: list[Any]) -> dict[str, Any]:
    return {"Quantity": len(items), "Items": items}


def _distribution(cloud: Cloud, given: dict[str, Any]) -> Made:
    asked = copy.deepcopy(given["DistributionConfig"])
    asked["CallerReference"] = "once"
    asked["IsIPV6Enabled"] = asked.pop("IPV6Enabled")
    asked["ViewerCertificate"]["ACMCertificateArn"] = asked["ViewerCertificate"].pop("AcmCertificateArn")
    asked["ViewerCertificate"]["SSLSupportMethod"] = asked["ViewerCertificate"].pop("SslSupportMethod")
    asked["Logging"] |= {"Enabled": True, "IncludeCookies": False}
    for behavior in (asked["DefaultCacheBehavior"], *asked["CacheBehaviors"]):
        behavior["AllowedMethods"] = _listed(behavior["AllowedMethods"])
    for field in ("Aliases", "Origins", "CacheBehaviors"):
        asked[field] = _listed(asked[field])
    made = cloud.cloudfront.create_distribution(DistributionConfig=asked)
    name, tag = made["Distribution"]["Id"], made["ETag"]

    def delete() -> None:
        asked["Enabled"] = False
        changed = cloud.cloudfront.update_distribution(DistributionConfig=asked, Id=name, IfMatch=tag)
        cloud.cloudfront.delete_distribution(Id=name, IfMatch=changed["ETag"])

    return Made(name, delete, DomainName=made["Distribution"]["DomainName"])


CALLS: dict[str, Callable[[Cloud, dict[str, Any]], Made]] = {
    "AWS::Backup::BackupPlan": _plan,
    "AWS::Backup::BackupVault": _vault,
    "AWS::CloudFront::Distribution": _distribution,
    "AWS::CloudFront::OriginAccessControl": _origin_access,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::EC2::SecurityGroupEgress": _outward_rule,
    "AWS::ECS::CapacityProvider": _capacity,
    "AWS::ECS::ClusterCapacityProviderAssociations": _capacities,
    "AWS::ECS::Service": _service,
    "AWS::ECS::TaskDefinition": _task,
    "AWS::ElastiCache::ParameterGroup": lambda cloud, given: Made("settings", lambda: None),
    "AWS::ElastiCache::ReplicationGroup": _cache,
    "AWS::ElastiCache::SubnetGroup": _cache_subnets,
    "AWS::ElastiCache::User": _cache_user,
    "AWS::KMS::Key": _key,
    "AWS::RDS::DBCluster": _database,
    "AWS::RDS::DBClusterParameterGroup": _database_settings,
    "AWS::RDS::DBInstance": _database_instance,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SNS::Subscription": _subscription,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _network_balancer,
    "AWS::ElasticLoadBalancingV2::Listener": _listener,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _target_group,
}
# What moto's stacks do not delete: before which their other parts cannot be, and after which these can.
LEFT_BY_STACKS: dict[str, Callable[[Cloud, str], Any]] = {
    "AWS::EC2::NatGateway": lambda cloud, name: cloud.ec2.delete_nat_gateway(NatGatewayId=name),
    "AWS::EC2::RouteTable": lambda cloud, name: cloud.ec2.delete_route_table(RouteTableId=name),
}
LEFT_AFTER_STACKS: dict[str, Callable[[Cloud, str], Any]] = {
    "AWS::EC2::Volume": lambda cloud, name: cloud.ec2.delete_volume(VolumeId=name),
    "AWS::ElasticLoadBalancingV2::TargetGroup": lambda cloud, arn: cloud.elbv2.delete_target_group(TargetGroupArn=arn),
}
# Of the types that moto's stacks have, what they make something else of: all of the network load balancer.
BY_STACK = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
}
OF_THE_NETWORK_BALANCER = {"Udp", "LookupsUdp", "ReportsUdp", "LookupsUdpPort", "ReportsUdpPort"}


def is_made_by_call(key: str, kind: str) -> bool:
    """Whether a resource is, by its logical name and its type."""
    return kind in CALLS and (kind not in BY_STACK or key in OF_THE_NETWORK_BALANCER)
