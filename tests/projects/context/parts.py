"""Steps that ask things of their run."""

import os
import time
from pathlib import Path


class Receipt:
    def __init__(self, amount):
        self.amount = amount


def once(mark):
    """Leaves a mark each time it is called, and returns an object."""
    with open(mark, "a") as file:
        file.write("x")
    return Receipt(len(Path(mark).read_text()))


def charge(ctx, mark, gate):
    first = ctx.step("charge", once, mark)
    second = ctx.step("charge", once, mark)  # the same name again: another part
    while not os.path.exists(gate):
        time.sleep(0.02)
    return [first.amount, second.amount]


def flaky(ctx, mark):
    receipt = ctx.step("once", once, mark)
    if ctx.attempt < 3:
        raise ConnectionError("try again")
    return [receipt.amount, ctx.attempt]


def count(ctx, by):
    total = ctx.get_variable("total") + by
    ctx.set_variable("total", total)
    ctx.set_variable("seen", [*ctx.get_variable("seen", []), ctx.step_key])
    return total


def report(total, ctx=None):
    return total


def seen(ctx):
    return [ctx.get_variable("seen"), ctx.get_variable("nothing"), ctx.get_variable("nothing", 7)]


def large(ctx, size):
    """A result of a part, and one of the step, that are too large for a row."""
    return [len(ctx.step("text", str.__mul__, "x", size)), len(ctx.step("text", str.__mul__, "x", size))]


def text(size):
    return "x" * size


def blob(size):
    return {"blob": bytearray(size)}


def length(value):
    return len(value["blob"] if isinstance(value, dict) else value)


def tries(ctx, name):
    """The error of asking for something that cannot be."""
    calls = {
        "sleep": lambda: ctx.sleep(3600),
        "object": lambda: ctx.set_variable("x", Receipt(1)),
        "nan key": lambda: ctx.set_variable("x", {1: 2}),
        "name": lambda: ctx.set_variable("", 1),
        "long name": lambda: ctx.get_variable("x" * 1000),
        "huge": lambda: ctx.set_variable("x", "y" * 2_000_000),
        "coroutine": lambda: ctx.step("c", coroutine),
        "lock": lambda: ctx.step("lock", generator),
        "db": lambda: ctx.db_connection,
        "event": lambda: ctx.wait_for_event("x"),
        "get": lambda: ctx.get_variable("x"),
        "step": lambda: ctx.step("x", int),
    }
    try:
        return calls[name]()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def coroutine():
    return 1


def generator():
    return (n for n in range(3))


def naps(ctx):
    ctx.sleep(0.01)
    return "rested"


def many(ctx, number):
    """Threads of the step ask at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        return sorted(pool.map(lambda n: ctx.step(f"part {n}", abs, -n), range(number)))


def mark_of(mark):
    with open(mark, "a") as file:
        file.write("x")


def dies_asking(ctx, mark):
    import threading

    mark_of(mark)
    threading.Timer(0.1, os._exit, (7,)).start()
    ctx.get_variable("x")


def leaves_an_asker(ctx, mark):
    import threading

    mark_of(mark)

    def ask():
        while True:
            ctx.set_variable("x", "y" * 1000)

    threading.Thread(target=ask, daemon=True).start()
    time.sleep(0.05)
    return "z" * 50_000


def interrupted(ctx):
    import signal

    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        ctx.get_variable("slow")
    except TimeoutError:
        pass
    return [ctx.get_variable("a"), ctx.get_variable("b")]


def asks_in_a_fork(ctx):
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            ctx.get_variable("x")
        except Exception as error:
            os.write(write_end, f"{type(error).__name__}: {error}".partition(": ask")[0].encode())
        os._exit(0)
    return os.read(read_end, 1000).decode()


def tries_again(ctx, mark):
    def charge():
        mark_of(mark)
        if len(Path(mark).read_text()) == 1:
            raise ConnectionError
        return "done"

    for _ in range(2):
        try:
            return ctx.step("charge", charge)
        except ConnectionError:
            pass


def numbered(ctx):
    return [ctx.step("a#2", lambda: 1), ctx.step("a", lambda: 2), ctx.step("a", lambda: 3)]


def floods(ctx):
    channel = ctx._channel
    while True:
        call = b'{"arguments":0,"call":"get_variable","number":1,"parts":[12],"type":"call"}'
        frame = b"HWE1" + len(call).to_bytes(4, "big") + call + b'{"name":"x"}'
        os.write(channel.fd, len(frame).to_bytes(4, "big") + frame)
