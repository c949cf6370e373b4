"""The whole of deploy/aws is made in moto's server with the AWS SDK, asked for what exists, and deleted."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloudformation import ACCOUNT

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv" / "infra" / "bin" / "python"
# It takes twenty on idle cores.
SECONDS_MAX = 300


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What there was before, while it stood, and after it was deleted."""
    if not PYTHON.exists():
        pytest.skip("`make infra-tools` installs moto and the AWS SDK")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-m", "tests.support.moto.deploy"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def there(told: dict[str, Any]) -> dict[str, Any]:
    return told["there"]


def test_the_network_has_a_public_and_a_private_subnet_in_each_of_three_zones(there):
    """And a way out in each, so that no zone loses the exchanges with another."""
    zones = {subnet["name"]: subnet["zone"][-1] for subnet in there["subnets"]}
    assert zones == {f"trinity-{kind}-{zone}": zone for kind in ("public", "private") for zone in "abc"}
    assert there["networks"] == ["10.20.0.0/16"]
    assert there["gateways"] == 3


def test_two_load_balancers_listen_in_three_zones(there):
    """One of HTTP, which asks for TLS, and one of UDP."""
    http, udp = there["balancers"]["trinity-http"], there["balancers"]["trinity-udp"]
    assert (http["type"], http["listeners"]) == ("application", {"443": "HTTPS", "80": "HTTP"})
    assert (udp["type"], udp["listeners"]) == ("network", {"2679": "UDP", "2680": "UDP"})
    assert len(http["zones"]) == len(udp["zones"]) == 3


def test_the_target_groups_are_asked_for_health_on_other_ports_than_they_serve(there):
    """UDP's as well, over HTTP; and its clients' addresses are kept."""
    groups = there["target_groups"]
    assert {port: group["health"] for port, group in groups.items()} == {
        "8080": ["HTTP", "8081", "/ready"],
        "9090": ["HTTP", "9091", "/ready"],
        "2679": ["HTTP", "8081", "/ready"],
        "2680": ["HTTP", "9091", "/ready"],
    }
    assert {group["interval"] for group in groups.values()} == {30}
    assert all(groups[port]["attributes"]["preserve_client_ip.enabled"] == "true" for port in ("2679", "2680"))


def test_lookups_go_to_the_lookups_target_group(there):
    """By the listener's rule, whose group is that of 8080."""
    paths = there["balancers"]["trinity-http"]["paths"]
    assert set(paths.values()) == {there["target_groups"]["8080"]["arn"]}
    assert "/price" in paths


def test_four_container_services_of_the_specifications_size_run(there):
    """Three that answer, in all four target groups, and a push server in none."""
    services = there["services"]
    assert services.keys() == {"node-1", "node-2", "node-3", "push-1"}
    for name, service in services.items():
        is_push = name == "push-1"
        assert service["tasks"] == 1
        assert service["size"] == ["8192", "30720"]
        assert service["targets"] == ([] if is_push else [2679, 2680, 8080, 9090])
        assert service["environment"]["SERVER_TYPE"] == ("WEBHOOK_SERVER" if is_push else "APP_REPORT_SERVER")
        assert service["environment"]["CLUSTER_NODE"] == name
        assert {"ADMIN_KEY", "CACHE_URL", "DATABASE_URL"} <= set(service["secrets"])


def test_each_node_has_a_machine_and_a_disk_in_its_zone(there):
    """Three zones, and the push server in the first."""
    zones = ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1c"]
    assert sorted(zone for group in there["machines"] for zone in group["zones"]) == zones
    assert all(group["size"] == [1, 1] for group in there["machines"])
    disks = [disk for disk in there["disks"] if disk["gib"] == 200]
    assert sorted(disk["zone"] for disk in disks) == zones


def test_the_stores_are_there(there):
    """PostgreSQL with two instances and 7 days of recovery, Valkey over TLS with a replica."""
    (database,) = there["databases"]
    assert (database["engine"], database["backup_days"], database["encrypted"]) == ("aurora-postgresql", 7, True)
    assert database["instances"] == 2
    assert (database["capacity"]["MinCapacity"], database["capacity"]["MaxCapacity"]) == (2, 18)
    (cache,) = there["caches"]
    assert cache["tls"]


def test_secrets_are_whole_urls_with_the_passwords_of_the_secret_store(there):
    """What a node reads, and nothing that a template says."""
    secrets = there["secrets"]
    assert f"trinity:{secrets['trinity/database-password']}@" in secrets["trinity/database-url"]
    assert f"trinity:{secrets['trinity/cache-password']}@" in secrets["trinity/cache-url"]
    passwords = {secrets[f"trinity/{name}"] for name in ("database-password", "cache-password", "admin-key")}
    assert len(passwords) == 3
    assert all(len(password) == 40 and password.isalnum() for password in passwords)


def test_only_the_load_balancers_take_anything_from_everywhere(there):
    """As AWS understands the rules, all of them together."""
    opened = {name for name, rules in there["groups"].items() for rule in rules if "0.0.0.0/0" in rule[3]}
    assert opened == {"trinity-http-balancer", "trinity-udp-balancer"}
    assert there["groups"]["trinity-database"] == [["tcp", 5432, 5432, ["trinity-node", "trinity-push"]]]
    assert there["groups"]["trinity-cache"] == [["tcp", 6379, 6379, ["trinity-node", "trinity-push"]]]


def test_21_alarms_tell_the_operators_topic(there):
    """And the two rules for what is no metric do."""
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:trinity-alarms"
    assert len(there["alarms"]) == 21
    assert all(alarm["actions"] == [topic] for alarm in there["alarms"].values())
    assert there["rules"] == {"trinity-failed-deployments": [topic], "trinity-failed-backups": [topic]}


def test_backups_are_scheduled(there):
    """Daily, kept for 7 days, copied to the other region."""
    (plan,) = there["plans"]
    (rule,) = plan["Rules"]
    assert (rule["ScheduleExpression"], rule["Lifecycle"]["DeleteAfterDays"]) == ("cron(0 4 * * ? *)", 7)
    assert rule["CopyActions"][0]["DestinationBackupVaultArn"].startswith("arn:aws:backup:eu-west-1:")


def test_each_role_is_one_services(there):
    """Containers, machines, the network's log, the database's figures, the backups."""
    assert sorted(role["trusts"] for role in there["roles"].values()) == [
        "backup.amazonaws.com",
        *["ec2.amazonaws.com"] * 4,
        *["ecs-tasks.amazonaws.com"] * 2,
        "monitoring.rds.amazonaws.com",
        "vpc-flow-logs.amazonaws.com",
    ]


def test_all_logs_are_kept_for_30_days(there):
    """Nodes, network and database."""
    assert there["logs"] == {"/trinity/nodes": 30, "/trinity/network": 30, "/aws/rds/cluster/trinity/postgresql": 30}


def test_the_website_is_on_the_cdn_under_its_name(there):
    """With a bucket for its files, one for its log, and one for the balancer's."""
    assert there["sites"] == [{"names": ["www.example.com"], "enabled": True}]
    assert len(there["buckets"]) == 3


def test_nothing_but_the_files_is_left_when_it_is_deleted(told, there):
    """The buckets are kept on purpose (DeletionPolicy): a website and logs that nobody meant to lose."""
    after = told["after"] | {"buckets": []}
    assert after == told["before"]
    assert told["after"]["buckets"] == there["buckets"]
