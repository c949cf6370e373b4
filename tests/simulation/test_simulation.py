"""The whole route under everything that may go wrong.

A seed that fails prints its shortest history as a test; such tests stand at the end of this file, forever.
"""

import pytest

from tests.simulation.runner import replay
from tests.simulation.seeds import SEEDS, assert_holds
from tests.simulation.weather import Weather
from tests.simulation.world import Action, World
from tests.support.hash_seeds import printed_by_each


@pytest.mark.long
@pytest.mark.uncompiled
@pytest.mark.parametrize("seed", SEEDS[::2])
def test_all_invariants_hold_over_their_share_of_events(seed: int) -> None:
    """Honest, fresh, counted once, within the limits and truthful, whatever is lost, late, killed, full or wrong."""
    assert_holds(seed)


def test_a_history_is_a_function_of_its_seed_and_a_world_of_its_history() -> None:
    """The same seed proposes the same events, and the same events leave the same node."""
    runs = []
    for _ in range(2):
        weather, history = Weather("5/1", Action), []
        with World() as world:
            for _ in range(300):
                history.append(weather.propose(world))
                world.apply(history[-1])
            runs.append((history, world.prices.words.tobytes(), world.answers.words.tobytes()))
    assert runs[0] == runs[1]


def test_a_seed_proposes_the_same_in_every_process() -> None:
    """The order of sets, which is another in each process, is not in a history."""
    script = (
        "from tests.simulation.weather import Weather; from tests.simulation.world import Action;"
        "weather = Weather('1/0', Action, {'deaths', 'bad disk', 'reboots'});"
        "print([weather.propose(None) for _ in range(200)])"
    )
    assert len(printed_by_each(script)) == 1


# --- what seeds have found ----------------------------------------------------------------------------------------


def test_two_liars_among_six_do_not_move_a_stablecoin() -> None:
    """Half of the four exchanges that sell a coin for USD is no majority of it: refused, not served."""
    history = [
        Action(4, "lie", (4, 500)),
        Action(2, "lie", (1, 500)),
        Action(4, "quote", (3, 2, 77, 0)),
        Action(1, "quote", (1, 3, 28, 0)),
        Action(4, "skew", (2, -60000)),
        Action(0, "quote", (2, 2, -48, 0)),
        Action(2, "quote", (1, 2, 39, 0)),
        Action(0, "quote", (4, 2, 4, 0)),
        Action(2, "turn", ()),
        Action(4, "quote", (1, 3, -60, 0)),
        Action(2, "turn", ()),
    ]
    assert replay(history) is None


def test_one_fresh_quote_does_not_make_the_price_of_old_ones_young() -> None:
    """Five quotes of five seconds and a new one: `max_age_ms=1500` is not met by the old ones' price."""
    history = [
        *(Action(1, "quote", (exchange, 0, 0, 0)) for exchange in range(6)),
        Action(1, "turn"),
        Action(5_000, "move", (0, 60)),
        Action(1, "quote", (0, 0, 0, 0)),
        Action(1, "turn"),
        Action(1, "ask", (0, 0, 3, 0)),
    ]
    assert replay(history) is None


def test_sums_of_two_starts_stand_for_their_answers_alone() -> None:
    """Two starts on a full disk leave one sum, whose span jumps over positions that nobody had."""
    history = [
        Action(4, "disk", (1,)),
        Action(3, "ask", (0, 0, 0, 0)),
        Action(4, "restart", ()),
        Action(2, "ask", (0, 0, 1, 0)),
        Action(0, "restart", ()),
        Action(4, "settle", ()),
    ]
    assert replay(history) is None


def test_half_of_those_who_are_first_at_a_start_are_no_minority() -> None:
    """Two liars of the four that a new consensus finds measure its coin; a fifth exchange comes a moment too late."""
    history = [
        Action(3, "lie", (0, 500)),
        Action(0, "lie", (4, 500)),
        Action(2, "quote", (4, 0, 86, 0)),
        Action(4, "quote", (0, 2, 36, 0)),
        Action(1, "quote", (4, 2, -53, 0)),
        Action(4, "quote", (0, 0, 57, 0)),
        Action(4, "restart", ()),
        Action(4, "quote", (1, 0, -83, 0)),
        Action(0, "turn", ()),
    ]
    assert replay(history) is None
