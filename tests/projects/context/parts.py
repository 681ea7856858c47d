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
