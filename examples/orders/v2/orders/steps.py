"""price, hold, tax, discount, charge: the steps of workflow.yaml."""

import pydantic

from orders import __version__
from orders.models import Order, PricedOrder, Voucher

VOUCHERS = {"WELCOME5": 500, "SORRY10": 1000}  # cents


def price(order):
    order = Order.model_validate(order)
    total = sum(line.quantity * round(line.unit_price * 100) for line in order.lines)
    voucher = Voucher(code=order.voucher, cents=VOUCHERS[order.voucher]) if order.voucher else None
    return PricedOrder(number=order.number, total=total, voucher=voucher)


def tax(order, percent):
    total = round(order.total * (100 + percent) / 100)
    return PricedOrder(number=order.number, total=total, voucher=order.voucher)


def discount(order):
    """Takes the voucher off what the customer pays, so it comes after tax. Release 1 had it the other way round."""
    if order.voucher is None:
        return order
    total = max(0, order.total - order.voucher.cents)
    return PricedOrder(number=order.number, total=total, voucher=order.voucher)


def charge(ctx, order, currency="EUR"):
    euros = f"{order.total / 100:.2f}"
    print(f"charging {euros} {currency} for order {order.number}")
    return {
        "order": order.number,
        "run": ctx.workflow_run_id,
        "code_version": ctx.code_version_hash[:12],
        "total": euros,
        "currency": currency,
        "release": __version__,
        "pydantic": pydantic.VERSION,
    }
