"""A rate over several nodes in virtual time: never above its bound, and all of it where it is asked for."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.shared_rate import MS, SECOND, Network, World
from trinity.rates import rate_of

SECONDS = 12
PLANS = st.sampled_from(
    [(1, 1, 1), (1, 1, 5), (5, 1, 2), (10, 1, 10), (20, 1, 1), (100, 1, 200), (200, 1, 10), (300, 1, 1), (200, 1, 200)]
)
NETWORKS = st.sampled_from(
    [
        Network(),
        Network((0.2, 8)),
        Network((5, 60)),
        Network((0.2, 5), 0.3),
        Network((5, 95), 0.3),
        Network((0, 0), 1.0),
    ]
)
SEEDS, LOADS = st.integers(0, 999), st.sampled_from([0.9, 2, 6])  # a load of the plan's rate
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def jumping(world: World, per_second: float, every_ms: int) -> None:
    """All of the load at one node, at the next one after so long, and so on."""
    for i, at_ms in enumerate(range(0, SECONDS * 1_000, every_ms)):
        world.load(i % world.nodes, per_second, SECOND + at_ms * MS, every_ms / 1_000)


def finish(world: World) -> None:
    world.run((SECONDS + 2) * SECOND)


@FEW
@given(
    plan=PLANS,
    network=NETWORKS,
    seed=SEEDS,
    load=st.sampled_from([0.9, 2, 6]),
    every_ms=st.sampled_from([130, 1_000]),
)
def test_load_that_jumps_never_gets_more_than_the_bound(
    plan: tuple[int, int, int], network: Network, seed: int, load: float, every_ms: int
) -> None:
    """At most 5 % over what the plan gives in any 10 s, or one request per further node; on any network."""
    requests, seconds, burst = plan
    world = World(rate_of(requests, seconds), burst, seed=seed, network=network)
    jumping(world, max(requests / seconds * load, 2), every_ms)
    finish(world)
    assert world.most_in_a_window() <= world.bound()


@FEW
@given(plan=PLANS, seed=SEEDS, load=LOADS)
def test_a_node_with_all_the_load_gives_what_one_node_alone_would(
    plan: tuple[int, int, int], seed: int, load: float
) -> None:
    """Within 2 %, or two requests."""
    requests, seconds, burst = plan
    world = World(rate_of(requests, seconds), burst, seed=seed)
    world.load(0, max(requests / seconds * load, 2), SECOND, SECONDS)
    finish(world)
    assert len(world.admitted_at_ns) >= min(world.admitted_alone * 0.98, world.admitted_alone - 2)
    assert world.most_in_a_window() <= world.bound()


@FEW
@given(
    plan=PLANS, seed=SEEDS, weights=st.lists(st.sampled_from([0, 1, 10]), min_size=5, max_size=5),
    nodes=st.integers(2, 5),
)  # fmt: skip
def test_load_at_several_nodes_at_once_is_shared_by_demand(
    plan: tuple[int, int, int], seed: int, weights: list[int], nodes: int
) -> None:
    """More than the plan in all: the nodes together give it, and each that is asked gives some."""
    requests, seconds, burst = plan
    world = World(rate_of(requests, seconds), burst, nodes=nodes, seed=seed)
    for i in range(nodes):
        if weights[i]:
            world.load(i, requests / seconds * 3 * weights[i] / sum(weights[:nodes]), SECOND, SECONDS)
    finish(world)
    assert world.most_in_a_window() <= world.bound()
    if world.asked:
        assert len(world.admitted_at_ns) >= world.admitted_alone * 0.9 - nodes


@FEW
@given(plan=PLANS, seed=SEEDS, at_ms=st.integers(1_000, 9_000), away_ms=st.sampled_from([0, 100, 400, 3_000]))
def test_a_valkey_that_goes_and_comes_back_empty_gives_nothing_twice(
    plan: tuple[int, int, int], seed: int, at_ms: int, away_ms: int
) -> None:
    """In the middle of jumping load; meanwhile each node has its share, which is over by the bursts at the most."""
    requests, seconds, burst = plan
    world = World(rate_of(requests, seconds), burst, seed=seed)
    jumping(world, max(requests / seconds * 2, 2), 1_000)

    def go() -> None:
        world.is_valkey_up = False
        world.empty_valkey()

    def come() -> None:
        world.is_valkey_up = True

    world.at(at_ms * MS, go)
    world.at((at_ms + away_ms) * MS, come)
    finish(world)
    bursts = 0 if away_ms < 200 else 2 * max(burst / 3, 1)  # of the two nodes that nobody asked yet
    assert world.most_in_a_window() <= world.bound() + bursts


@FEW
@given(seed=SEEDS, at_ms=st.integers(1_000, 9_000), smaller=st.booleans())
def test_another_plan_holds_from_the_moment_that_it_is_known(seed: int, at_ms: int, smaller: bool) -> None:
    """In the window behind it: as much as the new plan gives, and what was reserved under the old one."""
    plans = [(200, 200), (20, 20)]
    (old, old_burst), (new, new_burst) = plans if smaller else plans[::-1]
    world = World(old, old_burst, seed=seed)
    jumping(world, 400, 1_000)

    def change() -> None:
        for node in world.members:
            node.plan(new, new_burst)

    world.at(at_ms * MS, change)
    finish(world)
    behind = world.admitted(at_ms * MS, at_ms * MS + 3 * SECOND)
    assert behind <= (new * 3 + new_burst) * 1.05 + 2 + old * 0.1 + old_burst * (0 if smaller else 1)


@pytest.mark.long
@pytest.mark.parametrize("hours", [1])
def test_a_request_an_hour_is_one_at_each_node_at_most_and_then_one_an_hour(hours: int) -> None:
    """The smallest plan: nobody waits for a node that sits on the only request."""
    world = World(rate_of(1, 3600), 1)
    for minute in range(hours * 60):
        for node in range(3):
            world.at((minute * 60 + node) * SECOND, lambda node=node: world.request(node))  # type: ignore[misc]
    world.run(hours * 3600 * SECOND)
    assert hours - 1 <= len(world.admitted_at_ns) <= hours + 2
