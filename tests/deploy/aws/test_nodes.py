"""Rules of ours for nodes and machines: a data directory stays with its node, and one node at a time is away."""

import itertools
import re
import subprocess

import pytest

from tests.support.cloudformation import load
from tests.support.deployment import ASKED, NODES, attributes_of, environment_of, node_container, of_type, user_data_of
from trinity.limits import DRAIN_MAX_NS


def test_there_are_three_nodes_in_three_zones_and_a_push_server(whole):
    """Four services by the specification, each with a name of its own."""
    types = [environment_of(node_container(whole, node))["SERVER_TYPE"] for node in NODES]
    assert types == ["APP_REPORT_SERVER"] * 3 + ["WEBHOOK_SERVER"]
    names = [environment_of(node_container(whole, node))["CLUSTER_NODE"] for node in NODES]
    assert len(set(names)) == 4
    disks = [whole[f"{node}Host"]["Disk"]["Properties"]["AvailabilityZone"] for node in ASKED]
    assert len(set(disks)) == 3


def test_a_production_node_has_the_specifications_size(whole):
    """8 vCPU and 32 GB, of which the machine's system keeps two."""
    for node in NODES:
        assert whole[f"{node}Host"]["Template"]["Properties"]["LaunchTemplateData"]["InstanceType"] == "m7i.2xlarge"
        task = whole[node]["Task"]["Properties"]
        assert task["Cpu"] == "8192"
        assert 28 * 1024 <= int(task["MemoryMiB" if "MemoryMiB" in task else "Memory"]) <= 30 * 1024  # of 32 GiB


def test_a_nodes_disk_its_machine_and_its_task_are_in_one_zone(copy):
    """A disk cannot be attached in another zone: such a node would never start."""
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
    """The ledger is in it: it is on the disk after a new task, a new machine and a restart."""
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
    """bash reads it, and the one line that makes a file system asks first whether there is one."""
    script = user_data_of(whole, "Node1")
    read = re.sub(r"<(\w+(\.\w+)*)>", r"\1", script)  # stand-ins are names
    subprocess.run(["bash", "-n"], input=read.encode(), check=True)
    for line in script.splitlines():
        if "mkfs" in line:
            assert line.startswith('test -n "$(lsblk -no FSTYPE "$device")" || mkfs'), line
    assert script.startswith("#!/bin/bash\n")
    assert "set -euxo pipefail" in script


def test_a_node_is_one_task_and_the_old_one_ends_before_the_new_one_begins(whole):
    """Two tasks on one data directory would be two nodes of one name."""
    for node in NODES:
        service = whole[node]["Service"]["Properties"]
        assert service["DesiredCount"] == 1
        deployment = service["DeploymentConfiguration"]
        assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
        assert service["AvailabilityZoneRebalancing"] == "DISABLED"
        assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


@pytest.mark.parametrize("suffix", ["", "Host"])
def test_nodes_and_machines_are_updated_one_after_the_other(suffix):
    """All four at once, as CloudFormation does without an order, would leave nobody to answer."""
    resources = load("stack.yaml")["Resources"]
    for before, after in itertools.pairwise(NODES):
        depends = resources[after + suffix]["DependsOn"]
        assert before + suffix in ([depends] if isinstance(depends, str) else depends)


def test_a_service_is_in_all_four_target_groups_and_the_push_server_in_none(whole):
    """What is missing here is a port that no balancer reaches."""
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
    """The node says that it leaves for longer than a balancer takes to see it, and is killed after that alone."""
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
    """What was asked before is answered before the task is told to stop."""
    delay = {
        group["Port"]: int(attributes_of(group, "TargetGroupAttributes")["deregistration_delay.timeout_seconds"])
        for _, group in of_type(whole, "ElasticLoadBalancingV2::TargetGroup")
    }
    assert delay[8080] > 2  # an asset that is looked up at the exchanges
    assert delay[9090] > 60  # a report
    assert min(delay[2679], delay[2680]) >= 120  # a network load balancer tells all of itself


def test_a_container_has_the_health_check_that_ecs_does_not_take_from_the_image(whole):
    """ECS passes over HEALTHCHECK of an image; without one of its own a dead node counts as healthy."""
    for node in NODES:
        check = node_container(whole, node)["HealthCheck"]
        assert check["Command"] == ["CMD", "/opt/trinity/bin/trinity", "health"]
        assert check["StartPeriod"] >= 300
        assert check["Timeout"] < check["Interval"]


def test_a_container_has_shared_memory_files_and_no_right_too_many(whole):
    """64 MB of shared memory are ECS's default, less than a million keys need."""
    for node in NODES:
        container = node_container(whole, node)
        linux = container["LinuxParameters"]
        assert linux["SharedMemorySize"] >= 64 + 106  # MB: what the doctor asks for, and a million keys
        assert linux["Capabilities"] == {"Drop": ["ALL"]}
        assert container["ReadonlyRootFilesystem"] is True
        assert container["User"] != "0"
        assert container["Ulimits"] == [{"Name": "nofile", "SoftLimit": 65536, "HardLimit": 65536}]


def test_a_log_that_stands_still_holds_no_container_up(whole):
    """`blocking`, which a driver may have as its default, stops a process whose line cannot be sent."""
    for node in NODES:
        for container in whole[node]["Task"]["Properties"]["ContainerDefinitions"]:
            assert container["LogConfiguration"]["Options"]["mode"] == "non-blocking"
