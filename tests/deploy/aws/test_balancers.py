"""Rules of ours for the load balancers: what AWS accepts, linters pass over, and would cost requests."""

from tests.support.deployment import NODES, attributes_of, environment_of, node_container, of_type
from trinity.limits import IDLE_MAX_NS
from workers.request.http.target import PATHS

HEALTH_PORT = {8080: "8081", 2679: "8081", 9090: "9091", 2680: "9091"}


def test_each_target_group_asks_the_health_port_of_its_service_over_http_every_30_s(whole):
    """UDP cannot be checked, so health is another port's: 8081 of lookups, 9091 of reports."""
    groups = dict(of_type(whole, "ElasticLoadBalancingV2::TargetGroup"))
    assert {group["Port"]: group["HealthCheckPort"] for group in groups.values()} == HEALTH_PORT
    for name, group in groups.items():
        assert (group["HealthCheckProtocol"], group["HealthCheckPath"]) == ("HTTP", "/ready"), name
        assert group["HealthCheckIntervalSeconds"] == 30, name


def test_udp_is_behind_a_network_load_balancer_that_keeps_the_clients_addresses(whole):
    """Limits and blocks go by the client's address."""
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
    """Keys are secrets: they never travel in the clear."""
    listeners = {port["Port"]: port for _, port in of_type(whole, "ElasticLoadBalancingV2::Listener")}
    assert listeners[443]["Protocol"] == "HTTPS"
    assert "TLS13" in listeners[443]["SslPolicy"]
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


def test_what_the_request_loop_answers_goes_to_it_and_all_else_to_the_reports(whole):
    """The balancer's paths are those of the compiled target table."""
    balancers = whole["Balancers"]
    (condition,) = balancers["LookupPaths"]["Properties"]["Conditions"]
    assert set(condition["PathPatternConfig"]["Values"]) == set(PATHS)
    assert balancers["LookupPaths"]["Properties"]["Actions"][0]["TargetGroupArn"] == "<Balancers.Lookups>"
    assert balancers["Secure"]["Properties"]["DefaultActions"][0]["TargetGroupArn"] == "<Balancers.Reports>"


def test_the_balancer_closes_an_idle_connection_before_a_node_does(whole):
    """The other way round it would use a connection that is being closed, and answer 502."""
    idle = int(
        attributes_of(whole["Balancers"]["Http"]["Properties"], "LoadBalancerAttributes")[
            "idle_timeout.timeout_seconds"
        ]
    )
    assert 60 < idle < IDLE_MAX_NS / 1e9  # a report takes 60 s at most


def test_a_zone_without_its_node_is_answered_by_the_others(whole):
    """Each zone has one node: the balancers go to the other zones' as well."""
    for name in ("Http", "Udp"):
        attributes = attributes_of(whole["Balancers"][name]["Properties"], "LoadBalancerAttributes")
        assert attributes["load_balancing.cross_zone.enabled"] == "true"


def test_nodes_believe_the_forwarded_address_of_the_balancers_subnets_alone(whole):
    """Anybody else's X-Forwarded-For is a claim."""
    public = {whole["Network"][f"Public{zone}"]["Properties"]["CidrBlock"] for zone in "ABC"}
    for node in NODES:
        assert set(environment_of(node_container(whole, node))["TRUSTED_PROXIES"].split(",")) == public
