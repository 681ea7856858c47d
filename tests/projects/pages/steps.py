"""Steps whose results, logs and errors are what a page has to be able to show."""

import sys
import warnings
from dataclasses import dataclass

HOSTILE = [
    "</script><script>document.title = 'broken out'</script>",
    "<img src=x onerror=\"document.title = 'broken out'\">",
    "'\"><svg onload=alert(1)>",
    "</pre></details><h1>not ours</h1>",
    "{{ 7 * 7 }} {% raw %} ${7}",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x85",
    "abc \u202edesrever\u202c \u2066\u200f",
    "http://127.0.0.1:1/pixel.png",
]


@dataclass
class Price:
    net: float
    currency: str


def load(order):
    print("loading order", order["number"])
    for line in order["lines"]:
        print(f"  {line['quantity']} x {line['sku']} at {line['unit_price']:.2f}")
    return {"number": order["number"], "lines": order["lines"], "country": "AT"}


def confirm(ctx, order):
    print(f"asking the warehouse, attempt {ctx.attempt}")
    if ctx.attempt < 2:
        raise ConnectionError("the warehouse did not answer")
    return {"confirmed": True, "order": order["number"]}


def price(order):
    net = sum(line["quantity"] * line["unit_price"] for line in order["lines"])
    print(f"net {net:.2f}")
    return Price(net, "EUR")


def total(priced):
    rate = 0.2
    amount = round(priced.net * (1 + rate), 2)
    return {"net": priced.net, "rate": rate, "total": amount, "currency": priced.currency}


def odd():
    for text in HOSTILE:
        print(text)
        print(text, file=sys.stderr)
    warnings.warn("<b>deprecated</b>", stacklevel=1)
    return {"texts": HOSTILE, "<b>key</b>": None, "long": "x" * 200_000}


def charge(ctx, total):
    try:
        raise KeyError("card <b>4711</b>")
    except KeyError as error:
        raise ValueError(HOSTILE[0]) from error
