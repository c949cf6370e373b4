"""What a node runs: its services by SERVER_TYPE, in one table.

Rules: whatever depends on the type asks for a service, never for the name of a type: the list of processes
(trinity/node/roles.py), the listeners (trinity/net/ports.py), the health sites, the console, /health. Every node has
feeds, consensus, ledger and jobs of its own: each service gives prices, also the reports (9090 answers lookups too).
"""

from collections.abc import Mapping
from typing import Literal

# In the order of who says that a node is ready: the first of those that it runs.
Service = Literal["lookups", "reports", "push"]
ServerType = Literal["APP_REPORT_SERVER", "WEBHOOK_SERVER", "APP_SERVER", "REPORT_SERVER", "ALL"]

SERVICES: Mapping[ServerType, tuple[Service, ...]] = {
    "APP_REPORT_SERVER": ("lookups", "reports"),
    "WEBHOOK_SERVER": ("push",),
    "APP_SERVER": ("lookups",),
    "REPORT_SERVER": ("reports",),
    "ALL": ("lookups", "reports", "push"),
}


def services_of_type(server_type: ServerType, *, with_push: bool = False) -> tuple[Service, ...]:
    """What a node of the type runs; `with_push`: PUSH adds the deliveries to a type that has none."""
    services = SERVICES[server_type]
    return (*services, "push") if with_push and "push" not in services else services
