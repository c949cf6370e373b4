"""Handshakes are taken one at a time, with rest between, and never in a bundle before deliveries."""

import asyncio

from tests.support.clocks import ManualClock
from workers.push.https.pace import Lane


async def until_run(lane: Lane, steps: int) -> list[int]:
    """Submit so many steps, each of which notes in which turn of the loop it ran."""
    turn, ran, done = 0, [], asyncio.Event()

    def count() -> None:
        nonlocal turn
        turn += 1
        if len(ran) < steps:
            loop.call_soon(count)
        else:
            done.set()

    loop = asyncio.get_running_loop()
    loop.call_soon(count)
    for _ in range(steps):
        lane.submit(lambda: ran.append(turn))
    async with asyncio.timeout(30):
        await done.wait()
    return ran


async def test_other_work_of_the_loop_comes_between_two_steps() -> None:
    """A hundred handshakes that are ready together take a hundred turns of the loop."""
    ran = await until_run(Lane(1, 0.0, ManualClock()), 100)
    assert len(set(ran)) == 100


async def test_a_lane_rests_by_the_time_that_its_step_took() -> None:
    """Steps of 1 ms in a lane that rests nine times as long: ten take 81 ms at least, by the loop's clock."""
    clock, loop = ManualClock(), asyncio.get_running_loop()
    lane, began, done = Lane(1, 9.0, clock), loop.time(), asyncio.Event()
    left = 10

    def step() -> None:
        nonlocal left
        clock.advance(0.001)
        left -= 1
        if not left:
            done.set()

    for _ in range(10):
        lane.submit(step)
    async with asyncio.timeout(30):
        await done.wait()
    assert loop.time() - began >= 0.08


async def test_a_step_that_fails_stops_nobody_else() -> None:
    """The lane goes on with the next one."""
    loop, told, done = asyncio.get_running_loop(), [], asyncio.Event()
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    lane = Lane(1, 0.0, ManualClock())
    lane.submit(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    lane.submit(done.set)
    async with asyncio.timeout(30):
        await done.wait()
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_a_lane_has_so_many_slots() -> None:
    """The third dial waits until one of two is over."""
    lane, inside, gate = Lane(2, 0.0, ManualClock()), [], asyncio.Event()

    async def dial() -> None:
        async with lane.slot():
            inside.append(1)
            await gate.wait()

    tasks = [asyncio.create_task(dial()) for _ in range(3)]
    async with asyncio.timeout(30):
        while len(inside) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(inside) == 2
        gate.set()
        await asyncio.gather(*tasks)
    assert len(inside) == 3
