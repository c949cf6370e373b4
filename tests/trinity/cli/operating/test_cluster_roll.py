"""`trinity cluster roll`: its arguments; what it does: tests/trinity/node/cluster/test_roll.py."""

from tests.trinity.cli.conftest import Run


def test_without_a_cluster_on_this_machine_it_says_what_to_name(trinity_json: Run) -> None:
    """Nothing was started here."""
    code, _, error = trinity_json("cluster", "roll", "--network", "127.201.201.0")
    assert code == 1
    assert "trinity cluster run" in str(error)


def test_named_nodes_need_a_command_that_restarts_one(trinity_json: Run) -> None:
    """And a name and a host each."""
    code, _, error = trinity_json("cluster", "roll", "--node", "node-1=127.0.0.1")
    assert (code, "--restart" in str(error)) == (2, True)
    code, _, error = trinity_json("cluster", "roll", "--node", "node-1", "--restart", "true")
    assert (code, "--node" in str(error)) == (2, True)


def test_a_node_that_is_not_ready_ends_it_before_anything(trinity_json: Run) -> None:
    """Nobody listens there."""
    code, _, error = trinity_json("cluster", "roll", "--node", "node-1=127.255.3.1", "--restart", "false {node}")
    assert code == 1
    assert "a roll begins when all nodes are well" in str(error)
