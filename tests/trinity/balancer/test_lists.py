"""trinity/balancer/lists.py"""

from trinity.balancer.lists import LOOKUPS, Place, ports_of, write_lists
from trinity.config import PortsSection

PORTS = ports_of(PortsSection())


def test_a_node_is_asked_on_its_ports_and_one_that_is_out_is_named() -> None:
    """HTTP once; UDP a second time, without counting; an IPv6 address in brackets."""
    asked = [Place("node-1", "10.0.0.11"), Place("node-2", "fd00::2")]
    texts = write_lists(LOOKUPS, PORTS[LOOKUPS], asked, [("node-3", "draining,\nand more")])
    assert texts["lookups.conf"].splitlines() == [
        "# node-3: draining, and more",
        "server 10.0.0.11:8080 max_fails=1 fail_timeout=1s;  # node-1",
        "server [fd00::2]:8080 max_fails=1 fail_timeout=1s;  # node-2",
    ]
    over_udp = texts["lookups_udp.conf"]
    assert over_udp.count("server 10.0.0.11:2679 max_fails=1 fail_timeout=10s;") == 1
    assert over_udp.count("server 10.0.0.11:2679 backup max_fails=0;") == 1
