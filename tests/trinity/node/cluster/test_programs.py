"""trinity/node/cluster/programs.py; that the programs run is tests/node/test_cluster.py."""

import logging
import sys
from pathlib import Path

import pytest

from trinity.config import Config, SimulatorSection
from trinity.errors import MissingProgramError
from trinity.node.cluster.layout import ClusterLayout
from trinity.node.cluster.parts import get_status
from trinity.node.cluster.programs import (
    InstalledPrograms,
    build_groups,
    find_programs,
    stream_module_line,
)

PROGRAMS = InstalledPrograms("/nginx", "/valkey-server", "")


def _executable(folder: Path, name: str, says: str = "") -> None:
    (folder / name).write_text(f"#!{sys.executable}\nimport sys\nprint({says!r}, file=sys.stderr)\n")
    (folder / name).chmod(0o755)


def test_what_is_missing_is_named_with_what_to_install(tmp_path: Path) -> None:
    """nginx, its stream module, a cache server: one error each; redis-server is the second choice."""
    with pytest.raises(MissingProgramError, match=r"nginx is not installed.*libnginx-mod-stream"):
        find_programs(str(tmp_path))
    _executable(tmp_path, "nginx", "configure arguments: --with-http_ssl_module")
    with pytest.raises(MissingProgramError, match="valkey-server is not installed"):
        find_programs(str(tmp_path))
    _executable(tmp_path, "redis-server")
    with pytest.raises(MissingProgramError, match="nginx's stream module"):
        find_programs(str(tmp_path))
    _executable(tmp_path, "nginx", "configure arguments: --with-stream --with-http_ssl_module")
    assert find_programs(str(tmp_path)).valkey.endswith("redis-server")
    _executable(tmp_path, "valkey-server")
    assert find_programs(str(tmp_path)).valkey.endswith("valkey-server")


def test_a_stream_module_of_its_own_is_loaded_from_where_nginx_has_its_modules(tmp_path: Path) -> None:
    """Debian's nginx; where the file is missing there is none."""
    built = f"configure arguments: --modules-path={tmp_path} --with-stream=dynamic"
    assert stream_module_line(built) is None
    (tmp_path / "ngx_stream_module.so").touch()
    assert stream_module_line(built) == f"load_module {tmp_path}/ngx_stream_module.so;"
    assert stream_module_line("--with-stream") == ""


def test_stores_come_before_nodes_and_nginx_behind_them(tmp_path: Path) -> None:
    """The order of a start."""
    groups = build_groups(ClusterLayout(tmp_path), Config(), PROGRAMS, logging.getLogger(), lambda: None)
    names = [[part.name for part in group] for group in groups]
    assert names[:-1] == [["postgresql"], ["valkey", "simulator"], ["node-1", "node-2", "node-3", "node-4"]]
    assert names[-1][:2] == ["nginx", "balancer"]


@pytest.mark.parametrize(("quotes", "told"), [(SimulatorSection().quotes_per_second, "150"), (700, None)])
def test_the_simulated_market_is_slower_unless_the_user_says_how_fast(
    tmp_path: Path, quotes: int, told: str | None
) -> None:
    """Four nodes take in each quote."""
    config = Config(simulator=SimulatorSection(quotes_per_second=quotes))
    groups = build_groups(ClusterLayout(tmp_path), config, PROGRAMS, logging.getLogger(), lambda: None)
    simulator = groups[1][1]
    assert simulator._environment.get("SIMULATOR_QUOTES_PER_SECOND") == told  # type: ignore[attr-defined]


def test_nobody_s_answer_is_none() -> None:
    """A port that nobody listens on."""
    assert get_status("127.0.0.1", 1, "/") == 0
