"""Who may run now: a bounded number of steps, handed out to the code versions in turn, whoever asks the most."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

# How often one who waits asks whether it is still wanted.
GIVE_UP_POLL_SECONDS = 0.25


class FairSlots:
    """A semaphore whose waiters stand in one line for each key; the lines are served in turn, each in its order."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._lines: dict[Hashable, deque[threading.Event]] = {}  # the first line is served next

    @contextlib.contextmanager
    def one(self, key: Hashable, give_up: Callable[[], bool]) -> Iterator[bool]:
        """Hold a slot for as long as the block runs; False, and no slot, when `give_up` said so while waiting."""
        got = self._acquire(key, give_up)
        try:
            yield got
        finally:
            if got:
                self._release()

    def _acquire(self, key: Hashable, give_up: Callable[[], bool]) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Event()
            self._lines.setdefault(key, deque()).append(turn)
        given_up = True  # also when waiting is interrupted
        try:
            while not turn.wait(GIVE_UP_POLL_SECONDS):
                if give_up():
                    return False
            given_up = False
            return True
        finally:
            if given_up:
                self._step_back(key, turn)

    def _step_back(self, key: Hashable, turn: threading.Event) -> None:
        with self._lock:
            if not turn.is_set():
                line = self._lines[key]
                line.remove(turn)
                if not line:
                    del self._lines[key]
                return
        self._release()  # it came while we gave up

    def _release(self) -> None:
        with self._lock:
            if not self._lines:
                self._free += 1
                return
            key, line = next(iter(self._lines.items()))
            del self._lines[key]
            line.popleft().set()
            if line:
                self._lines[key] = line  # at the end: the others come first


class Lanes:
    """Calls in the background, at most `width` at a time for each key, so that one key's wait holds up no other's.

    A thread lives for as long as its lane has calls.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, deque[tuple[Future[Any], Callable[[], None]]]] = {}
        self._threads: dict[Hashable, set[threading.Thread]] = {}

    def submit(self, key: Hashable, call: Callable[[], T]) -> Future[T]:
        """The future of `call()`. Cancelling it before the call has begun keeps it from beginning."""
        future: Future[T] = Future()

        def fulfil() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is the caller's, who asks the future
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._waiting.setdefault(key, deque()).append((future, fulfil))
            threads = self._threads.setdefault(key, set())
            if len(threads) < self._width:
                thread = threading.Thread(target=self._work, args=(key,), name="hwe-step")
                threads.add(thread)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads: those of the lane will come to it, if there are any
                    threads.discard(thread)
                    if not threads:
                        del self._threads[key], self._waiting[key]
                        future.set_exception(error)
        return future

    def _work(self, key: Hashable) -> None:
        while True:
            with self._lock:
                waiting = self._waiting[key]
                if not waiting:
                    threads = self._threads[key]
                    threads.discard(threading.current_thread())
                    if not threads:
                        del self._threads[key], self._waiting[key]
                    return
                _, fulfil = waiting.popleft()
            fulfil()
            del fulfil  # with it goes the result, which nobody here wants

    def close(self) -> None:
        """Cancel what has not begun, and wait for what has."""
        with self._lock:
            waiting = [future for line in self._waiting.values() for future, _ in line]
            threads = [thread for lane in self._threads.values() for thread in lane]
        for future in waiting:
            future.cancel()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
