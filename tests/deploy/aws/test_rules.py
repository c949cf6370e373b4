"""Rules of ours for deploy/aws: what AWS accepts, linters pass over, and would cost requests, records or secrets."""

import base64
import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.cloudformation import FILES, FOLDER, load, parameters_of, whole_of
from trinity.config import load_config
from trinity.environment import ENVIRONMENT, SECRETS
from trinity.limits import DRAIN_MAX_NS, IDLE_MAX_NS
from trinity.observe.metrics import REGISTERS
from workers.request.http.target import PATHS

NODES = ("Node1", "Node2", "Node3", "Push1")
ASKED = ("Node1", "Node2", "Node3")
COPIES = {"production": "us-east-1", "staging": "us-east-1", "another-region": "eu-west-1"}
HEALTH_PORT = {8080: "8081", 2679: "8081", 9090: "9091", 2680: "9091"}
EVERYWHERE = ("0.0.0.0/0", "::/0")

# Of workers/health/exposition.py, which makes them out of several processes' readings.
OF_THE_EXPOSITION = {
    "trinity_ready",
    "trinity_feed_up",
    "trinity_process_up",
    "trinity_data_disk_free_bytes",
    "trinity_data_disk_size_bytes",
}
COMING = {"DRAIN_NOTICE_SECONDS", "HEARTBEAT_URL"}

Part = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def whole() -> dict[str, Part]:
    return whole_of(parameters_of("production"))


@pytest.fixture(scope="module", params=COPIES)
def copy(request: pytest.FixtureRequest) -> dict[str, Part]:
    return whole_of(parameters_of(request.param), COPIES[request.param])


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


# --- load balancers ------------------------------------------------------------------------------------------


def test_each_target_group_asks_the_health_port_of_its_service_over_http_every_30_s(whole):
    groups = dict(of_type(whole, "ElasticLoadBalancingV2::TargetGroup"))
    assert {group["Port"]: group["HealthCheckPort"] for group in groups.values()} == HEALTH_PORT
    for name, group in groups.items():
        assert (group["HealthCheckProtocol"], group["HealthCheckPath"]) == ("HTTP", "/ready"), name
        assert group["HealthCheckIntervalSeconds"] == 30, name


def test_udp_is_behind_a_network_load_balancer_that_keeps_the_clients_addresses(whole):
    balancers = whole["Balancers"]
    assert balancers["Udp"]["Properties"]["Type"] == "network"
    for name in ("LookupsUdp", "ReportsUdp"):
        group = balancers[name]["Properties"]
        assert group["Protocol"] == "UDP"
        assert attributes_of(group, "TargetGroupAttributes")["preserve_client_ip.enabled"] == "true"
    listeners = {
        properties["Port"]: (properties["Protocol"], properties["LoadBalancerArn"])
        for _, properties in of_type(whole, "ElasticLoadBalancingV2::Listener")
    }
    assert listeners[2679] == listeners[2680] == ("UDP", "<Balancers.Udp>")


def test_callers_over_http_are_asked_for_tls(whole):
    listeners = {port["Port"]: port for _, port in of_type(whole, "ElasticLoadBalancingV2::Listener")}
    assert listeners[443]["Protocol"] == "HTTPS"
    assert "TLS13" in listeners[443]["SslPolicy"]
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


def test_what_the_request_loop_answers_goes_to_it_and_all_else_to_the_reports(whole):
    balancers = whole["Balancers"]
    (condition,) = balancers["LookupPaths"]["Properties"]["Conditions"]
    assert set(condition["PathPatternConfig"]["Values"]) == set(PATHS)
    assert balancers["LookupPaths"]["Properties"]["Actions"][0]["TargetGroupArn"] == "<Balancers.Lookups>"
    assert balancers["Secure"]["Properties"]["DefaultActions"][0]["TargetGroupArn"] == "<Balancers.Reports>"


def test_the_balancer_closes_an_idle_connection_before_a_node_does(whole):
    idle = int(
        attributes_of(whole["Balancers"]["Http"]["Properties"], "LoadBalancerAttributes")[
            "idle_timeout.timeout_seconds"
        ]
    )
    assert 60 < idle < IDLE_MAX_NS / 1e9  # a report takes 60 s at most


def test_a_zone_without_its_node_is_answered_by_the_others(whole):
    for name in ("Http", "Udp"):
        attributes = attributes_of(whole["Balancers"][name]["Properties"], "LoadBalancerAttributes")
        assert attributes["load_balancing.cross_zone.enabled"] == "true"


def test_nodes_believe_the_forwarded_address_of_the_balancers_subnets_alone(whole):
    public = {whole["Network"][f"Public{zone}"]["Properties"]["CidrBlock"] for zone in "ABC"}
    for node in NODES:
        assert set(environment_of(node_container(whole, node))["TRUSTED_PROXIES"].split(",")) == public


# --- nodes and their disks -------------------------------------------------------------------------------------


def test_there_are_three_nodes_in_three_zones_and_a_push_server(whole):
    types = [environment_of(node_container(whole, node))["SERVER_TYPE"] for node in NODES]
    assert types == ["APP_REPORT_SERVER"] * 3 + ["WEBHOOK_SERVER"]
    names = [environment_of(node_container(whole, node))["CLUSTER_NODE"] for node in NODES]
    assert len(set(names)) == 4
    disks = [whole[f"{node}Host"]["Disk"]["Properties"]["AvailabilityZone"] for node in ASKED]
    assert len(set(disks)) == 3


def test_a_production_node_has_the_specifications_size(whole):
    for node in NODES:
        assert whole[f"{node}Host"]["Template"]["Properties"]["LaunchTemplateData"]["InstanceType"] == "m7i.2xlarge"
        task = whole[node]["Task"]["Properties"]
        assert task["Cpu"] == "8192"
        assert 28 * 1024 <= int(task["MemoryMiB" if "MemoryMiB" in task else "Memory"]) <= 30 * 1024  # of 32 GiB


def test_a_nodes_disk_its_machine_and_its_task_are_in_one_zone(copy):
    subnets = {f"<Network.Private{zone}>": f"<Network.Private{zone}.AvailabilityZone>" for zone in "ABC"}
    for node in NODES:
        host = copy[f"{node}Host"]
        (subnet,) = host["Machines"]["Properties"]["VPCZoneIdentifier"]
        network = copy[node]["Service"]["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["Subnets"] == [subnet]
        assert host["Disk"]["Properties"]["AvailabilityZone"] == subnets[subnet]
        assert copy[node]["Service"]["Properties"]["CapacityProviderStrategy"] == [
            {"CapacityProvider": f"<{node}Host.Capacity>", "Weight": 1}
        ]


def test_the_data_directory_is_on_the_disk_that_stays_with_the_node(copy):
    for node in NODES:
        disk, script = copy[f"{node}Host"]["Disk"], user_data_of(copy, node)
        assert disk["DeletionPolicy"] == disk["UpdateReplacePolicy"] == "Snapshot"
        assert f"--volume-id <{node}Host.Disk>" in script
        task = copy[node]["Task"]["Properties"]
        paths = {volume["Name"]: volume["Host"]["SourcePath"] for volume in task["Volumes"]}
        container = node_container(copy, node)
        mounts = {paths[mount["SourceVolume"]]: mount for mount in container["MountPoints"]}
        data_dir = environment_of(container)["TRINITY_DATA_DIR"]
        assert mounts[data_dir]["ContainerPath"] == data_dir
        assert not mounts[data_dir]["ReadOnly"]
        assert f'"$device {data_dir} xfs' in script  # of fstab: after a restart as well
        assert f"RequiresMountsFor={data_dir}" in script
        assert f"chown {container['User']}:{container['User']} {data_dir}" in script


def test_the_machines_script_is_a_script_and_never_formats_what_has_a_file_system(whole):
    script = user_data_of(whole, "Node1")
    read = re.sub(r"<(\w+(\.\w+)*)>", r"\1", script)  # stand-ins are names
    subprocess.run(["bash", "-n"], input=read.encode(), check=True)
    for line in script.splitlines():
        if "mkfs" in line:
            assert line.startswith('test -n "$(lsblk -no FSTYPE "$device")" || mkfs'), line
    assert script.startswith("#!/bin/bash\n")
    assert "set -euxo pipefail" in script


def test_a_node_is_one_task_and_the_old_one_ends_before_the_new_one_begins(whole):
    for node in NODES:
        service = whole[node]["Service"]["Properties"]
        assert service["DesiredCount"] == 1
        deployment = service["DeploymentConfiguration"]
        assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
        assert service["AvailabilityZoneRebalancing"] == "DISABLED"
        assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


@pytest.mark.parametrize("suffix", ["", "Host"])
def test_nodes_and_machines_are_updated_one_after_the_other(suffix):
    resources = load("stack.yaml")["Resources"]
    for before, after in itertools.pairwise(NODES):
        depends = resources[after + suffix]["DependsOn"]
        assert before + suffix in ([depends] if isinstance(depends, str) else depends)


def test_a_service_is_in_all_four_target_groups_and_the_push_server_in_none(whole):
    for node in ASKED:
        service = whole[node]["Service"]["Properties"]
        assert {entry["ContainerPort"]: entry["TargetGroupArn"] for entry in service["LoadBalancers"]} == {
            8080: "<Balancers.Lookups>",
            9090: "<Balancers.Reports>",
            2679: "<Balancers.LookupsUdp>",
            2680: "<Balancers.ReportsUdp>",
        }
    assert "LoadBalancers" not in whole["Push1"]["Service"]["Properties"]


def test_a_stop_leaves_time_for_the_notice_and_the_drain(whole):
    groups = [group for _, group in of_type(whole, "ElasticLoadBalancingV2::TargetGroup")]
    seen_after = max(
        group["UnhealthyThresholdCount"] * group["HealthCheckIntervalSeconds"] + group["HealthCheckTimeoutSeconds"]
        for group in groups
    )
    for node in NODES:
        container = node_container(whole, node)
        notice = float(environment_of(container)["DRAIN_NOTICE_SECONDS"])
        assert notice >= seen_after  # a stop that nobody told the balancers of
        assert container["StopTimeout"] >= notice + DRAIN_MAX_NS / 1e9 + 5


def test_a_target_that_leaves_may_end_its_longest_answers(whole):
    delay = {
        group["Port"]: int(attributes_of(group, "TargetGroupAttributes")["deregistration_delay.timeout_seconds"])
        for _, group in of_type(whole, "ElasticLoadBalancingV2::TargetGroup")
    }
    assert delay[8080] > 2  # an asset that is looked up at the exchanges
    assert delay[9090] > 60  # a report
    assert min(delay[2679], delay[2680]) >= 120  # a network load balancer tells all of itself


def test_a_container_has_the_health_check_that_ecs_does_not_take_from_the_image(whole):
    for node in NODES:
        check = node_container(whole, node)["HealthCheck"]
        assert check["Command"] == ["CMD", "/opt/trinity/bin/trinity", "health"]
        assert check["StartPeriod"] >= 300
        assert check["Timeout"] < check["Interval"]


def test_a_container_has_shared_memory_files_and_no_right_too_many(whole):
    for node in NODES:
        container = node_container(whole, node)
        linux = container["LinuxParameters"]
        assert linux["SharedMemorySize"] >= 64 + 106  # MB: what the doctor asks for, and a million keys
        assert linux["Capabilities"] == {"Drop": ["ALL"]}
        assert container["ReadonlyRootFilesystem"] is True
        assert container["User"] != "0"
        assert container["Ulimits"] == [{"Name": "nofile", "SoftLimit": 65536, "HardLimit": 65536}]


def test_a_log_that_stands_still_holds_no_container_up(whole):
    for node in NODES:
        for container in whole[node]["Task"]["Properties"]["ContainerDefinitions"]:
            assert container["LogConfiguration"]["Options"]["mode"] == "non-blocking"


# --- settings and secrets --------------------------------------------------------------------------------------


def test_what_a_container_is_told_are_settings_that_a_node_accepts(copy):
    for node in NODES:
        container = node_container(copy, node)
        secrets = {entry["Name"] for entry in container["Secrets"]}
        environment = environment_of(container)
        assert environment.keys() | secrets <= ENVIRONMENT.keys() | COMING
        assert not environment.keys() & set(SECRETS)
        assert {"DATABASE_URL", "CACHE_URL", "ADMIN_KEY"} <= secrets <= set(SECRETS)
        config = load_config(environment)
        assert config.node.server_type == environment["SERVER_TYPE"]


def test_no_secret_stands_in_a_template(whole):
    for _, secret in of_type(whole, "SecretsManager::Secret"):
        text = secret.get("SecretString", "")
        assert not text or "{{resolve:secretsmanager:<Stores." in text
    for file in FILES:
        for name, parameter in load(file).get("Parameters", {}).items():
            assert (
                not re.search("password|url$", name, re.IGNORECASE)
                or name in ("DatabaseUrl", "CacheUrl")
                or parameter["NoEcho"]
            )


def test_stores_are_spoken_to_over_tls_alone_and_by_their_names(whole):
    stores = whole["Stores"]
    assert "sslmode=verify-full" in stores["DatabaseUrl"]["Properties"]["SecretString"]
    assert stores["DatabaseSettings"]["Properties"]["Parameters"]["rds.force_ssl"] == "1"
    assert stores["CacheUrl"]["Properties"]["SecretString"].startswith("valkeys://")
    cache = stores["Cache"]["Properties"]
    assert (cache["TransitEncryptionEnabled"], cache["TransitEncryptionMode"]) == (True, "required")
    certificate = re.search("sslrootcert=([^&]+)", stores["DatabaseUrl"]["Properties"]["SecretString"])
    assert certificate is not None
    for node in NODES:
        assert f"-o {certificate[1]}" in user_data_of(whole, node)


def test_the_cache_user_has_the_rights_of_deploy_users_acl(whole):
    (line,) = [
        line for line in (FOLDER.parent / "users.acl").read_text().splitlines() if line.startswith("user trinity")
    ]
    rights = {word for word in line.split()[3:] if not word.startswith("#")}
    assert set(whole["Stores"]["CacheUser"]["Properties"]["AccessString"].split()) - {"on"} == rights


# --- stores, backups, logs -------------------------------------------------------------------------------------


def test_the_database_is_restorable_to_any_second_of_seven_days_and_grows_from_2_to_18(whole):
    database = whole["Stores"]["Database"]
    assert database["Properties"]["BackupRetentionPeriod"] == 7
    assert database["DeletionPolicy"] == database["UpdateReplacePolicy"] == "Snapshot"
    capacity = database["Properties"]["ServerlessV2ScalingConfiguration"]
    assert {key: float(value) for key, value in capacity.items()} == {"MinCapacity": 2, "MaxCapacity": 18}


def test_the_cache_refuses_when_it_is_full_and_keeps_nothing(whole):
    assert whole["Stores"]["CacheSettings"]["Properties"]["Properties"] == {"maxmemory-policy": "noeviction"}
    assert whole["Stores"]["Cache"]["Properties"]["SnapshotRetentionLimit"] == 0


def test_database_and_disks_are_kept_daily_for_seven_days_and_tried_weekly(whole):
    backups = whole["Backups"]
    (rule,) = backups["Plan"]["Properties"]["BackupPlan"]["BackupPlanRule"]
    assert rule["ScheduleExpression"] == "cron(0 4 * * ? *)"
    assert rule["Lifecycle"] == {"DeleteAfterDays": 7}
    assert backups["Drill"]["Properties"]["ScheduleExpression"] == "cron(0 8 ? * SUN *)"
    (tag,) = backups["DiskSelection"]["Properties"]["BackupSelection"]["ListOfTags"]
    for node in NODES:
        tags = {entry["Key"]: entry["Value"] for entry in whole[f"{node}Host"]["Disk"]["Properties"]["Tags"]}
        assert tags[tag["ConditionKey"]] == tag["ConditionValue"]


def test_logs_are_kept_for_30_days_and_no_group_is_made_by_others(copy):
    groups = {group["LogGroupName"]: group for _, group in of_type(copy, "Logs::LogGroup")}
    assert all(group["RetentionInDays"] == 30 and group["KmsKeyId"] for group in groups.values())
    name = copy["Stores"]["Database"]["Properties"]["DBClusterIdentifier"]
    exported = copy["Stores"]["Database"]["Properties"]["EnableCloudwatchLogsExports"]
    assert {f"/aws/rds/cluster/{name}/{kind}" for kind in exported} <= groups.keys()


# --- who may do what -------------------------------------------------------------------------------------------


def test_only_the_load_balancers_are_open_to_everybody(copy):
    for name, group in of_type(copy, "EC2::SecurityGroup"):
        opened = {
            (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group.get("SecurityGroupIngress", [])
        }
        expected = {
            "Network.HttpBalancer": {("tcp", 443, 443), ("tcp", 80, 80)},
            "Network.UdpBalancer": {("udp", 2679, 2680)},
        }
        assert opened == expected.get(name, set()), name
    for name, rule in of_type(copy, "EC2::SecurityGroupIngress"):
        assert not {rule.get("CidrIp"), rule.get("CidrIpv6")} & set(EVERYWHERE), name


def test_stores_are_reached_from_the_nodes_and_nodes_from_the_balancers_alone(whole):
    reached: dict[str, set[str]] = {}
    for _, rule in of_type(whole, "EC2::SecurityGroupIngress"):
        reached.setdefault(rule["GroupId"], set()).add(rule["SourceSecurityGroupId"])
    nodes = {"<Network.Node>", "<Network.Push>"}
    assert reached == {
        "<Network.Database>": nodes,
        "<Network.Cache>": nodes,
        "<Network.Node>": {"<Network.HttpBalancer>", "<Network.UdpBalancer>"},
    }


def test_what_may_be_asked_may_be_said_and_the_other_way_round(whole):
    def flows(kind: str, source: str, target: str) -> set[tuple[Any, ...]]:
        return {
            (rule[source], rule[target], rule["IpProtocol"], rule["FromPort"], rule["ToPort"])
            for _, rule in of_type(whole, kind)
        }

    asked = flows("EC2::SecurityGroupIngress", "SourceSecurityGroupId", "GroupId")
    assert asked == flows("EC2::SecurityGroupEgress", "GroupId", "DestinationSecurityGroupId")


def test_balancers_reach_the_ports_and_the_health_ports_of_their_target_groups(whole):
    opened = {
        (rule["SourceSecurityGroupId"], rule["IpProtocol"], port)
        for _, rule in of_type(whole, "EC2::SecurityGroupIngress")
        for port in range(rule["FromPort"], rule["ToPort"] + 1)
    }
    for _, group in of_type(whole, "ElasticLoadBalancingV2::TargetGroup"):
        is_udp = group["Protocol"] == "UDP"
        balancer = "<Network.UdpBalancer>" if is_udp else "<Network.HttpBalancer>"
        assert (balancer, "udp" if is_udp else "tcp", group["Port"]) in opened
        assert (balancer, "tcp", int(group["HealthCheckPort"])) in opened


def test_no_role_may_do_everything_or_something_to_everything(whole):
    for name, role in of_type(whole, "IAM::Role"):
        (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert isinstance(trusted["Principal"]["Service"], str), name
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
                assert not [action for action in actions if "*" in action], name
                if statement["Resource"] == "*":
                    assert actions == ["ecr:GetAuthorizationToken"], name


def test_a_machine_may_attach_no_disk_but_its_own_nodes(whole):
    for node in NODES:
        host = whole[f"{node}Host"]
        (policy,) = host["Role"]["Properties"]["Policies"]
        disks, machines, _ = policy["PolicyDocument"]["Statement"]
        assert disks["Resource"].endswith(f":volume/<{node}Host.Disk>")
        tags = {tag["Key"]: tag["Value"] for tag in host["Machines"]["Properties"]["Tags"]}
        assert machines["Condition"]["StringEquals"]["aws:ResourceTag/Name"] == tags["Name"]


# --- alarms ----------------------------------------------------------------------------------------------------


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    if "MetricName" in alarm:
        return [alarm]
    return [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]


def agent_configuration(whole: dict[str, Part], node: str) -> dict[str, Any]:
    agent = whole[node]["Task"]["Properties"]["ContainerDefinitions"][1]
    environment = environment_of(agent)
    yaml.safe_load(environment["PROMETHEUS_CONFIG_CONTENT"])
    return json.loads(environment["CW_CONFIG_CONTENT"])


def test_there_are_21_alarms_and_each_tells_the_operator_when_it_begins_and_ends(copy):
    alarms = dict(of_type(copy, "CloudWatch::Alarm"))
    assert len(alarms) == 21
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == ["<Alarms.Alarms>"], name
        assert alarm["AlarmName"].endswith(name.removeprefix("Alarms.")), name


def test_an_alarm_of_ours_asks_a_metric_that_nodes_have_and_the_agent_sends_under_its_names(whole):
    prefix_of_ours = "Trinity/"
    known = {
        f"trinity_{metric.name}" for register in REGISTERS.values() for metric in register.metrics
    } | OF_THE_EXPOSITION
    sent: dict[str, set[str]] = {}
    prometheus = agent_configuration(whole, "Push1")["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    for declaration in prometheus["metric_declaration"]:
        (dimensions,) = declaration["dimensions"]
        for selector in declaration["metric_selectors"]:
            sent[selector.strip("^$")] = set(dimensions)
    asked = {
        metric["MetricName"]: {dimension["Name"] for dimension in metric["Dimensions"]}
        for _, alarm in of_type(whole, "CloudWatch::Alarm")
        for metric in metrics_of(alarm)
        if metric["Namespace"].startswith(prefix_of_ours)
    }
    assert asked == sent
    assert asked.keys() <= known
    assert {
        metric["Namespace"]
        for _, alarm in of_type(whole, "CloudWatch::Alarm")
        for metric in metrics_of(alarm)
        if metric["Namespace"].startswith(prefix_of_ours)
    } == {prometheus["metric_namespace"]}


def test_an_alarm_about_something_that_vanished_is_no_good_news(whole):
    """Nodes, feeds and stores that send nothing are as bad as those that say that they are down."""
    for name, alarm in of_type(whole, "CloudWatch::Alarm"):
        if re.search("Down|Unhealthy|NoFresh|Disk", name):
            assert alarm["TreatMissingData"] == "breaching", name


def test_alarms_about_services_name_services_that_there_are(whole):
    services = {whole[node]["Service"]["Properties"]["ServiceName"] for node in NODES}
    for name in ("TrinityCpuHigh", "TrinityMemoryHigh"):
        dimensions = [metric["Dimensions"] for metric in metrics_of(whole["Alarms"][name]["Properties"])]
        assert {
            entry["Value"] for entries in dimensions for entry in entries if entry["Name"] == "ServiceName"
        } == services


# --- the files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copy_name", COPIES)
def test_a_parameter_file_says_all_that_has_no_default_and_nothing_else(copy_name):
    parameters = load("stack.yaml")["Parameters"]
    given = parameters_of(copy_name)
    assert given.keys() <= parameters.keys()
    assert {name for name, parameter in parameters.items() if "Default" not in parameter} <= given.keys()


def test_copies_beside_each_other_share_no_name_and_no_network():
    texts = {name: parameters_of(name) for name in COPIES}
    assert texts["production"]["Name"] != texts["staging"]["Name"]
    assert len({given["Cidr"] for given in texts.values()}) == len(texts)


def test_a_template_is_small_enough_and_says_what_it_is():
    for file in FILES:
        assert (FOLDER / file).stat().st_size <= 51_200, file  # what AWS takes without a bucket
        assert load(file)["Description"], file
