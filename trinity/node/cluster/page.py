"""What the terminal shows when a cluster on one machine is ready: who is where, and lines to try that work. Pure."""

from trinity.node.cluster.layout import TLS_PORT, ClusterLayout


def page_of(layout: ClusterLayout, has_monitoring: bool = False) -> list[str]:
    """The lines."""
    front, key_file = layout.proxy, layout.secrets / "api_key"
    answering = layout.answering
    nodes = [
        f"  node         {node.name:<11} http://{node.host}:8080   health http://{node.host}:8081" for node in answering
    ]
    pushers = [node for node in layout.nodes if node not in answering]
    nodes += [f"  push server  {node.name:<11} health http://{node.host}:8081" for node in pushers]
    at = f"http://{layout.prometheus}:9090 Prometheus   http://{layout.alertmanager}:9093 Alertmanager"
    alarms = [f"  alarms       {at}"] if has_monitoring else []
    return [
        "SIMULATED PRICES: the exchanges of this cluster are simulated; none of its prices is real.",
        "",
        f"  in front     https://{front}:{TLS_PORT} all (authority: {layout.authority})",
        f"               http://{front}:8080 lookups   http://{front}:9090 reports, dashboard   UDP {front}:2679, 2680",
        *nodes,
        f"  stores       PostgreSQL {layout.secrets / 'database_url'}   Valkey {layout.cache}:6379 (TLS)",
        *alarms,
        f"  files        {layout.folder}: logs/, secrets/, certificates/, parts.json (pids)",
        "",
        "try:",
        f'  curl -H "Authorization: Bearer $(cat {key_file})" "http://{front}:8080/price?asset=BTC"',
        f'  curl -H "Authorization: Bearer $(cat {key_file})" "http://{front}:9090/history?asset=BTC"',
        f"  bash -c 'exec 3<>/dev/udp/{front}/2679; echo ETH key=$(cat {key_file}) >&3; timeout 1 cat <&3'",
        f"  curl http://{answering[0].host}:8081/health",
        f"  dashboard: http://{front}:9090/, the operator's key is in {layout.secrets / 'admin_key'}",
        "",
        "Ctrl-C ends all of it.",
    ]
