"""trinity/node/cluster/page.py"""

from pathlib import Path

from trinity.node.cluster.layout import ClusterLayout
from trinity.node.cluster.page import page_of


def test_the_page_names_every_node_and_shows_no_secret_but_where_it_is(tmp_path: Path) -> None:
    """Whoever reads over a shoulder learns addresses and files."""
    layout = ClusterLayout(tmp_path)
    layout.secrets.mkdir()
    for name in ("api_key", "admin_key", "cache_url", "database_url"):
        (layout.secrets / name).write_text(f"secret of {name}")
    text = "\n".join(page_of(layout))
    assert all(f"{node.name} " in text and f"http://{node.host}:8081" in text for node in layout.nodes)
    assert "none of its prices is real" in text
    assert "secret of" not in text
    assert "Prometheus" not in text
    assert f"http://{layout.prometheus}:9090 Prometheus" in "\n".join(page_of(layout, has_monitoring=True))
