import functools
from collections import deque

from models import Colour, Inner, Key, Line, Order, Point, Pool, Priority, Queued, Receipt, Rights, Slotted


def make(number):
    return {
        "order": Order([Line("chair", number)], "USD", prices={"chair": number}),
        "boxed": Slotted(Inner(number)),
        "queue": deque([Queued(number)]),
        "partial": functools.partial(max, Point(1, 2)),
        "keys": {Key(number): Priority.HIGH},
        "colour": Colour.BLUE,
        "rights": Rights.READ | Rights.WRITE,
        "pool": Pool(),
    }


def with_rate(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(0.5, *args, **kwargs)

    return inner


def logged(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


def pay(ctx, made):
    receipt = ctx.step("receipt", Receipt)
    if ctx.attempt == 1:
        raise ConnectionError("try again in an hour")
    return receipt.paid


@with_rate
def tax(rate, made, key):
    return made["order"].total * rate


@logged
def send(made, paid, copies=1):
    return copies


class Shop:
    def close(self, made):
        return made["pool"].size
