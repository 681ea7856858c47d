"""Calls that are made at the same time, and whose results come in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# How far the others may be ahead of a call that takes long, each: what came of them is kept until its turn.
_AHEAD = 4


def side_by_side(
    call: Callable[[Item], Result], items: Iterable[Item], jobs: int, give_up: Callable[[], None]
) -> Iterator[Result]:
    """`call` of each item, in order, `jobs` of them at a time. Raises what the first one raises that does.

    `give_up` is called when nobody wants the rest any more, and must make the calls in progress end.
    """
    if jobs == 1:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="replay") as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(call, item))
                if len(begun) > _AHEAD * jobs:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            give_up()  # the pool waits for what runs, and a step may never end
            raise
