from pydantic import BaseModel


class Line(BaseModel):
    sku: str
    quantity: int
    unit_price: float  # euros


class Order(BaseModel):
    number: str
    lines: list[Line]
    voucher: str | None = None  # its code, such as "WELCOME5"


class PricedOrder(BaseModel):
    """What the steps hand on to each other."""

    number: str
    total: float  # euros
    voucher: str | None = None
