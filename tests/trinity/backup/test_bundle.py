"""trinity/backup/bundle.py"""

import io
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.backups import IDENTITY
from trinity.backup.archive import packed
from trinity.backup.bundle import CONFIGURATION, configuration_text, files_of, unpack_bundle
from trinity.backup.crypt import seal
from trinity.config import Config, FeedsSection, NodeSection, StoresSection, load_config
from trinity.errors import RestoreError
from trinity.memory.record_ring import RELEASED, WRITTEN
from trinity.memory.usage_ring import UsageRing


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A node's, with a ring of 1,024 records of which ten are written and four released, and other files."""
    data_dir = tmp_path / "node"
    (data_dir / "usage").mkdir(parents=True)
    for number in (0, 1):
        ring = UsageRing.open(data_dir / "usage" / f"ring-{number}", number, 1024, 1000)
        first = ring.written
        ring.words[8:].view(ring.record_dtype)[first % 1024 :][:10]["time_ns"] = np.arange(1, 11)
        ring.words[WRITTEN] = first + 10
        ring.words[RELEASED] = first + (4 if number == 0 else 10)
    for name in (
        "node-uuid",
        "usage/spool/000000000001.seg",
        "access.snapshot",
        "logs/x",
        "database/x",
        "lock",
        "x.new",
    ):
        (data_dir / name).parent.mkdir(exist_ok=True)
        (data_dir / name).write_text(name)
    stores = StoresSection(admin_key="x" * 20, database_url="postgresql://a:secret@b/c")
    return Config(
        node=NodeSection(data_dir=data_dir), feeds=FeedsSection(ws_base_urls={"kraken": "ws://a"}), stores=stores
    )


def _sealed(config: Config) -> io.BytesIO:
    out = io.BytesIO()
    with packed(files_of(config.node.data_dir, config)) as content:
        seal("7/nodes/x", content, out, [IDENTITY.to_public()])
    out.seek(0)
    return out


def test_a_node_s_own_files_come_back_and_nothing_else(config: Config, tmp_path: Path) -> None:
    """Not what is made anew, kept elsewhere or half written."""
    unpack_bundle("7/nodes/x", _sealed(config), [IDENTITY], tmp_path / "new")
    found = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == {
        "node-uuid", "usage/ring-0", "usage/ring-1", "usage/spool/000000000001.seg", "access.snapshot",
        f"{CONFIGURATION}/trinity.toml", f"{CONFIGURATION}/markets.toml",
    }  # fmt: skip
    ring = UsageRing.open(tmp_path / "new" / "usage" / "ring-0", 0, 1024, 1000)
    assert ring.written - ring.released == 6
    assert list(ring.read(ring.released, 6)["time_ns"]) == [5, 6, 7, 8, 9, 10]
    empty = UsageRing.open(tmp_path / "new" / "usage" / "ring-1", 1, 1024, 1000)
    assert empty.written == empty.released
    assert not empty.words[8:].any()


def test_the_files_are_read_in_the_order_in_which_a_record_goes(config: Config) -> None:
    """Rings before spools: what leaves a ring meanwhile is found in the spool."""
    names = [name for name, _ in files_of(config.node.data_dir, config)]
    assert names.index("usage/ring-1") < names.index("usage/spool/000000000001.seg")


def test_a_bundle_is_not_unpacked_over_a_node(config: Config) -> None:
    """Its identity and its records are its own."""
    with pytest.raises(RestoreError, match="is a node's"):
        unpack_bundle("7/nodes/x", _sealed(config), [IDENTITY], config.node.data_dir)


def test_the_configuration_is_one_that_a_node_takes_and_has_no_secret(config: Config, tmp_path: Path) -> None:
    """The same tree comes out of it."""
    text = configuration_text(config)
    assert "secret" not in text.replace("secrets are not in it", "")
    assert "stores" not in tomllib.loads(text)
    path = tmp_path / "trinity.toml"
    path.write_text(text)
    assert load_config({}, path) == msgspec.structs.replace(config, stores=StoresSection())
