"""workers/api/base/serving/compression.py"""

import gzip
import zlib
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.api.conftest import client_of, settings_of
from workers.api.base.serving.compression import STREAM_HEAD, accepts_gzip, pack, stream_piece


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("xgzip", False),
        (";;;,,q=", False),
    ],
)
def test_a_client_gets_packed_answers_only_where_it_says_so(header: str, accepted: bool) -> None:
    """Accept-Encoding as RFC 9110 has it, with weights and the star."""
    assert accepts_gzip(header) is accepted


def test_what_is_packed_once_is_the_same_each_time() -> None:
    """No time in it, so that its tag stays."""
    assert gzip.decompress(pack(b"abc" * 999)) == b"abc" * 999
    assert pack(b"abc") == pack(b"abc")


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_pieces_made_apart_are_one_stream_and_each_is_whole_when_it_arrives(pieces: list[bytes]) -> None:
    """zlib, which browsers unpack with, gives every byte of a piece with its last one."""
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(STREAM_HEAD) == b""
    for piece in pieces:
        assert reader.decompress(stream_piece(piece)) == piece


async def test_text_is_packed_and_small_answers_are_not(tmp_path: Path) -> None:
    """JSON and the API's page come packed to who takes that, and name it for caches; others get them plain."""
    async with client_of(settings_of(tmp_path, auth="optional")) as client:
        for path in ("/openapi.json", "/docs", "/node"):
            packed = await client.get(path)
            assert packed.headers["content-encoding"] == "gzip", path
            assert "accept-encoding" in packed.headers["vary"].lower()
            plain = await client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
            assert "content-encoding" not in plain.headers
            assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert "content-encoding" not in (await client.get("/session")).headers


async def test_a_table_for_programs_is_not_packed_again(usage_client: httpx.AsyncClient) -> None:
    """Parquet is packed by itself; CSV is text."""
    span = {"from": "2026-03-28", "to": "2026-03-30"}
    for kind, encoding in (("parquet", None), ("csv", "gzip")):
        answer = await usage_client.get("/reports/usage", params=span | {"format": kind, "granularity": "hour"})
        assert answer.status_code == 200
        assert answer.headers.get("content-encoding") == encoding
        assert answer.content
