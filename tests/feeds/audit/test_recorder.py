"""Recorders: switched while the node runs, ended by a full disk, never in the way of a price."""

import logging
import os
from pathlib import Path

import pytest

from feeds.audit.entries import Checkpoint, Frame, Header, Opened, RecordedAnswer
from feeds.audit.segments import FOLDER, list_segments, read_segment
from tests.feeds.audit.small_node import frames_of, small_node
from trinity.observe.metrics import CONSENSUS, FEED

FEED_GAUGE = FEED.index("feed_recording")
UPDATES = CONSENSUS.index("price_updates_total")
CONSENSUS_GAUGE = CONSENSUS.index("consensus_recording")


def test_off_by_default_and_switched_at_run_time(tmp_path: Path) -> None:
    """Nothing is written before the word is set, nor after it was taken back."""
    with small_node(tmp_path) as node:
        node.trade_a_while(5)
        assert list_segments(tmp_path / FOLDER) == []
        node.switch(True)
        node.trade_a_while(20)
        assert node.context.block.read_gauge(CONSENSUS_GAUGE) == 1
        node.switch(False)
        recorded = len(frames_of(tmp_path, "coinbase"))
        node.trade_a_while(20)
        assert node.context.block.read_gauge(CONSENSUS_GAUGE) == 0
        assert recorded > 5
        assert len(frames_of(tmp_path, "coinbase")) == recorded
        assert {info.stream for info in list_segments(tmp_path / FOLDER)} == {
            "consensus",
            "coinbase",
            "gemini",
            "kraken",
        }


def test_every_segment_stands_alone(tmp_path: Path) -> None:
    """A full segment is followed by one that needs no other: frames alone, or first of all a checkpoint."""
    with small_node(tmp_path, bytes_max=64 * 2000) as node:
        node.switch(True)
        node.trade_a_while(400)
        node.close()
    infos = list_segments(tmp_path / FOLDER)
    assert len(infos) > 8
    assert sum(info.size for info in infos) <= 64 * 2000
    for info in infos:
        entries = [entry for _, chunk in read_segment(info.path) for entry in chunk]
        assert isinstance(entries[0], Header)
        if len(entries) > 1:
            assert isinstance(entries[1], Checkpoint if info.stream == "consensus" else Opened | Frame | RecordedAnswer)


def test_a_full_disk_ends_the_recording_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error line and a gauge of -1; prices go on; off and on again records again."""
    caplog.set_level(logging.ERROR)
    full = os.open("/dev/full", os.O_WRONLY)
    with small_node(tmp_path) as node:
        node.switch(True)
        node.trade_a_while(3)
        recorder = node.recorder
        assert recorder._writer is not None
        os.dup2(full, recorder._writer._file.fileno())
        os.close(full)
        published = node.context.block.read_counter(UPDATES)
        node.trade_a_while(20)
        assert not recorder.is_on
        assert node.context.block.read_gauge(CONSENSUS_GAUGE) == -1
        errors = [record for record in caplog.records if record.message == "recording ended by an error"]
        assert len(errors) == 1
        assert node.context.block.read_counter(UPDATES) > published

        node.switch(False)
        node.switch(True)
        assert recorder.is_on
        assert node.context.block.read_gauge(CONSENSUS_GAUGE) == 1


def test_a_folder_that_cannot_be_made_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No retry storm: the next try is the operator's."""
    (tmp_path / FOLDER).touch()
    with small_node(tmp_path) as node:
        node.switch(True)
        node.trade_a_while(20)
    assert sum(record.message == "recording ended by an error" for record in caplog.records) == 4
