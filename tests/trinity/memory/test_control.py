"""trinity/memory/control.py"""

import pytest

from trinity.memory.control import COMMAND, NODE_SIMULATED, Command, Control


def test_each_process_has_words_of_its_own(segment_name: str) -> None:
    """Counting in one block changes no other, and a tool reads the same numbers."""
    control = Control.create(segment_name, 3)
    control.block(1).count(7)
    control.block(1).count(7, 41)
    control.block(1).beat(123)
    control.block(1).write(COMMAND, Command.DRAIN)
    control.block(1).set_gauge(8, 0.9997)
    control.write_node_word(NODE_SIMULATED, 1)
    seen = Control.attach(segment_name, 3)
    assert [seen.block(process).read_counter(7) for process in range(3)] == [0, 42, 0]
    assert seen.block(1).read(0) == 123
    assert Command(seen.block(1).read(COMMAND)) is Command.DRAIN
    assert seen.block(1).read_gauge(8) == 0.9997
    assert seen.block(2).read_gauge(8) == 0.0
    assert seen.read_node_word(NODE_SIMULATED) == 1
    control.segment.unlink()


@pytest.mark.parametrize("process", [-1, 3])
def test_a_process_that_is_not_in_the_list_has_no_block(segment_name: str, process: int) -> None:
    """An index outside of the list raises instead of reaching foreign words."""
    control = Control.create(segment_name, 3)
    with pytest.raises(IndexError):
        control.block(process)
    control.segment.unlink()
