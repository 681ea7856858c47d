"""price, hold, discount, tax, charge: the steps of workflow.yaml."""

import pydantic

from orders import __version__
from orders.models import Order, PricedOrder

VOUCHERS = {"WELCOME5": 5.0, "SORRY10": 10.0}  # euros


def price(order):
    order = Order.parse_obj(order)
    total = sum(line.quantity * line.unit_price for line in order.lines)
    return PricedOrder(number=order.number, total=total, voucher=order.voucher)


def discount(order):
    """Takes the voucher off the net total, so it comes before tax."""
    if order.voucher is None:
        return order
    return order.copy(update={"total": max(0.0, order.total - VOUCHERS[order.voucher])})


def tax(order, rate):
    return order.copy(update={"total": round(order.total * (1 + rate), 2)})


def charge(ctx, order):
    print(f"charging {order.total:.2f} EUR for order {order.number}")
    return {
        "order": order.number,
        "run": ctx.workflow_run_id,
        "code_version": ctx.code_version_hash[:12],
        "total": f"{order.total:.2f}",
        "currency": "EUR",
        "release": __version__,
        "pydantic": pydantic.VERSION,
    }
