from models import Colour, Line, Note, Order, Point


def make(number):
    return Order(number, [Line("chair", 1010), Line("table", 2020), Line("lamp", 3030)])


def annotate(order, text="fragile"):
    return {"note": Note(text), "colour": Colour.RED, "point": Point(1, 2), "lines": len(order.lines)}


def total(order, rate=0.1):
    result = 0.0
    for line in order.lines:
        result += line.cents * rate
    return {"total": result, "lines": len(order.lines)}


def charge(ctx, order, noted, *, total):
    return f"{order.number}: {total} {order.currency}, {noted['note'].text}"


def report(charged, total):
    return [charged, total]
