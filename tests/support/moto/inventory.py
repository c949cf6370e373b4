"""What exists in an account, as the AWS SDK tells it; only what the tests ask about."""

from typing import Any

from tests.support.moto.calls import Cloud


def inventory(cloud: Cloud) -> dict[str, Any]:
    """By kind; names and what was asked of each."""
    return {
        "stacks": [
            stack["StackName"]
            for stack in cloud.cloudformation.list_stacks()["StackSummaries"]
            if stack["StackStatus"] != "DELETE_COMPLETE"
        ],
        "networks": [vpc["CidrBlock"] for vpc in cloud.ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]],
        "subnets": _subnets(cloud),
        "gateways": len(
            cloud.ec2.describe_nat_gateways(Filters=[{"Name": "state", "Values": ["available"]}])["NatGateways"]
        ),
        "balancers": _balancers(cloud),
        "target_groups": _target_groups(cloud),
        "groups": _security_groups(cloud),
        "services": _services(cloud),
        "machines": [
            {
                "zones": group["AvailabilityZones"],
                "size": [group["MinSize"], group["MaxSize"]],
            }
            for group in cloud.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        ],
        "disks": [
            {"zone": disk["AvailabilityZone"], "gib": disk["Size"]}
            for disk in cloud.ec2.describe_volumes()["Volumes"]
            if not disk["Attachments"]  # those of machines' systems are
        ],
        "databases": [
            {
                "engine": database["Engine"],
                "backup_days": database["BackupRetentionPeriod"],
                "capacity": database["ServerlessV2ScalingConfiguration"],
                "encrypted": database["StorageEncrypted"],
                "instances": len(cloud.rds.describe_db_instances()["DBInstances"]),
            }
            for database in cloud.rds.describe_db_clusters()["DBClusters"]
        ],
        "caches": [
            {"tls": cache["TransitEncryptionEnabled"], "failover": cache["AutomaticFailover"]}
            for cache in cloud.elasticache.describe_replication_groups()["ReplicationGroups"]
            if cache["Status"] != "deleting"
        ],
        "alarms": _alarms(cloud),
        "rules": {
            rule["Name"]: [target["Arn"] for target in cloud.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
            for rule in cloud.events.list_rules()["Rules"]
        },
        "plans": [
            cloud.backup.get_backup_plan(BackupPlanId=plan["BackupPlanId"])["BackupPlan"]
            for plan in cloud.backup.list_backup_plans()["BackupPlansList"]
        ],
        "roles": _roles(cloud),
        "secrets": {
            secret["Name"]: cloud.secretsmanager.get_secret_value(SecretId=secret["ARN"])["SecretString"]
            for secret in cloud.secretsmanager.list_secrets()["SecretList"]
        },
        "logs": {
            group["logGroupName"]: group.get("retentionInDays")
            for group in cloud.logs.describe_log_groups()["logGroups"]
        },
        "sites": [
            {"names": site["Aliases"].get("Items"), "enabled": site["Enabled"]}
            for site in cloud.cloudfront.list_distributions()["DistributionList"].get("Items", [])
        ],
        "buckets": [bucket["Name"] for bucket in cloud.s3.list_buckets()["Buckets"]],
    }


def _subnets(cloud: Cloud) -> list[dict[str, Any]]:
    return [
        {"zone": subnet["AvailabilityZone"], "cidr": subnet["CidrBlock"], "name": _name(subnet)}
        for subnet in cloud.ec2.describe_subnets()["Subnets"]
        if not subnet["DefaultForAz"]
    ]


def _name(resource: dict[str, Any]) -> str:
    return next((tag["Value"] for tag in resource.get("Tags", []) if tag["Key"] == "Name"), "")


def _balancers(cloud: Cloud) -> dict[str, Any]:
    found = {}
    for balancer in cloud.elbv2.describe_load_balancers()["LoadBalancers"]:
        listeners = cloud.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        found[balancer["LoadBalancerName"]] = {
            "type": balancer["Type"],
            "zones": sorted(zone["ZoneName"] for zone in balancer["AvailabilityZones"]),
            "listeners": {str(listener["Port"]): listener["Protocol"] for listener in listeners},
            "paths": {
                path: rule["Actions"][0]["TargetGroupArn"]
                for listener in listeners
                for rule in cloud.elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
                for condition in rule["Conditions"]
                for path in condition.get("Values") or condition["PathPatternConfig"]["Values"]
            },
        }
    return found


def _target_groups(cloud: Cloud) -> dict[str, Any]:
    found = {}
    for group in cloud.elbv2.describe_target_groups()["TargetGroups"]:
        attributes = cloud.elbv2.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
        found[str(group["Port"])] = {
            "arn": group["TargetGroupArn"],
            "protocol": group["Protocol"],
            "health": (group["HealthCheckProtocol"], group["HealthCheckPort"], group.get("HealthCheckPath")),
            "interval": group["HealthCheckIntervalSeconds"],
            "attributes": {entry["Key"]: entry["Value"] for entry in attributes},
        }
    return found


def _security_groups(cloud: Cloud) -> dict[str, Any]:
    groups = cloud.ec2.describe_security_groups()["SecurityGroups"]
    names = {group["GroupId"]: _name(group) for group in groups if group["GroupName"] != "default"}
    return {
        names[group["GroupId"]]: sorted(
            [rule["IpProtocol"], rule["FromPort"], rule["ToPort"], _sources(rule, names)]
            for rule in group["IpPermissions"]
        )
        for group in groups
        if group["GroupId"] in names
    }


def _sources(rule: dict[str, Any], names: dict[str, str]) -> list[str]:
    pairs = [names[pair["GroupId"]] for pair in rule["UserIdGroupPairs"]]
    return sorted(pairs) + [entry["CidrIp"] for entry in rule["IpRanges"]]


def _services(cloud: Cloud) -> dict[str, Any]:
    found = {}
    for cluster in cloud.ecs.list_clusters()["clusterArns"]:
        arns = cloud.ecs.list_services(cluster=cluster)["serviceArns"]
        for service in cloud.ecs.describe_services(cluster=cluster, services=arns)["services"] if arns else []:
            if service["status"] != "ACTIVE":
                continue
            task = cloud.ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
            node = next(part for part in task["containerDefinitions"] if part["name"] == "trinity")
            found[service["serviceName"]] = {
                "tasks": service["desiredCount"],
                "targets": sorted(entry["containerPort"] for entry in service["loadBalancers"]),
                "size": (task["cpu"], task["memory"]),
                "environment": {entry["name"]: entry["value"] for entry in node["environment"]},
                "secrets": sorted(entry["name"] for entry in node["secrets"]),
            }
    return found


def _alarms(cloud: Cloud) -> dict[str, Any]:
    alarms = cloud.cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]
    return {alarm["AlarmName"]: {"actions": alarm["AlarmActions"], "threshold": alarm["Threshold"]} for alarm in alarms}


def _roles(cloud: Cloud) -> dict[str, Any]:
    found = {}
    for role in cloud.iam.list_roles()["Roles"]:
        name = role["RoleName"]
        found[name] = {
            "trusts": role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"],
            "own": cloud.iam.list_role_policies(RoleName=name)["PolicyNames"],
        }
    return found
