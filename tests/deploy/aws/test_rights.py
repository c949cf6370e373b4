"""Rules of ours for who may speak to whom, and who may do what."""

from typing import Any

from tests.support.deployment import NODES, of_type

EVERYWHERE = ("0.0.0.0/0", "::/0")


def test_only_the_load_balancers_are_open_to_everybody(copy):
    """No other group takes anything from everywhere, in any copy."""
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
    """The push server is asked by nobody."""
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
    """A flow that only one of two groups allows is none."""

    def flows(kind: str, source: str, target: str) -> set[tuple[Any, ...]]:
        return {
            (rule[source], rule[target], rule["IpProtocol"], rule["FromPort"], rule["ToPort"])
            for _, rule in of_type(whole, kind)
        }

    asked = flows("EC2::SecurityGroupIngress", "SourceSecurityGroupId", "GroupId")
    assert asked == flows("EC2::SecurityGroupEgress", "GroupId", "DestinationSecurityGroupId")


def test_balancers_reach_the_ports_and_the_health_ports_of_their_target_groups(whole):
    """A health port that is closed makes every target unhealthy."""
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
    """No wildcard in an action, and one call alone, which AWS knows no resource for, on everything."""
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
    """A machine that took over another's disk would have its ledger."""
    for node in NODES:
        host = whole[f"{node}Host"]
        (policy,) = host["Role"]["Properties"]["Policies"]
        disks, machines, _ = policy["PolicyDocument"]["Statement"]
        assert disks["Resource"].endswith(f":volume/<{node}Host.Disk>")
        tags = {tag["Key"]: tag["Value"] for tag in host["Machines"]["Properties"]["Tags"]}
        assert machines["Condition"]["StringEquals"]["aws:ResourceTag/Name"] == tags["Name"]
