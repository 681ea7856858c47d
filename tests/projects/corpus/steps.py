"""Steps of all kinds, for runs whose bundles are kept: see scripts/record_corpus.py. What they do must never change."""

import asyncio
import os
import random
import signal
import sys
import time


class Receipt:
    """A class of the project's own, which only its own code can load."""

    def __init__(self, number, lines):
        self.number = number
        self.lines = lines


class Declined(Exception):
    def __init__(self, reason, code):
        super().__init__(reason, code)
        self.code = code


def draw(ctx, count):
    print("drawing", count, "on attempt", ctx.attempt)
    return [random.randrange(1000) for _ in range(count)]


def receipt(ctx, numbers, currency="EUR"):
    print("ein Beleg für", sum(numbers), currency)
    print(Receipt(0, []), file=sys.stderr)
    number = ctx.step("number", next_number, 40)
    ctx.set_variable("issued", ctx.get_variable("issued", 0) + 1)
    ctx.log.info("issued %s", number)
    return Receipt(number, [{"amount": amount, "currency": currency} for amount in numbers])


def next_number(start):
    """Not the same twice: what is recorded counts."""
    return start + time.time_ns() % 1000


def summarize(receipt, issued, note):
    return {"lines": len(receipt.lines), "issued": issued, "note": note, "tags": {"a", "b"}, "nan": float("nan")}


async def later(summary):
    await asyncio.sleep(0)
    return bytearray(20_000), summary["lines"], (1.5, None, True)


class Shop:
    def __init__(self):
        self.name = "shop"

    def close(self, at):
        return "%s closed at %s" % (self.name, at)


def flaky(ctx):
    if ctx.attempt < 3:
        raise ConnectionError("attempt %d of three" % ctx.attempt)
    return ctx.attempt


def fails(ctx):
    try:
        try:
            raise KeyError("card")
        except KeyError as error:
            raise ConnectionError("the bank does not answer") from error
    except ConnectionError as error:
        failure = Declined("no money", 7)
        if sys.version_info >= (3, 11):
            failure.add_note("said the bank")
            raise ExceptionGroup("two at once", [failure, ValueError("and this")]) from error
        raise failure from error


def sleeps(ctx):
    print("going to sleep", flush=True)
    while True:
        time.sleep(0.05)


def crashes():
    print("about to crash", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def leaves():
    os._exit(7)


def second_time(ctx):
    if ctx.attempt == 1:
        raise RuntimeError("not the first time")
    return "the second time"


def version():
    return 1


def charge(ctx):
    print("asking the bank")
    try:
        return ctx.step("charge", bank, ctx.attempt)
    finally:
        print("asked the bank")


def bank(attempt):
    print("the bank, on attempt", attempt)
    if attempt == 1:
        raise ConnectionError("not now")
    return attempt
