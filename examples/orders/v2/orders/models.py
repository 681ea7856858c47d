from pydantic import BaseModel


class Line(BaseModel):
    sku: str
    quantity: int
    unit_price: float  # euros, as the shop sends them


class Order(BaseModel):
    number: str
    lines: list[Line]
    voucher: str | None = None  # its code, such as "WELCOME5"


class Voucher(BaseModel):
    code: str
    cents: int


class PricedOrder(BaseModel):
    """What the steps hand on to each other."""

    number: str
    total: int  # cents; release 1: euros
    voucher: Voucher | None = None  # release 1: its code
