import sys
from importlib import resources

from . import models
from .models import Invoice


def issue(ctx, number, cents=100):
    print(f"issuing {number}")
    return models.Invoice(number, cents)


def add(invoice, cents):
    assert isinstance(invoice, Invoice)
    return Invoice(invoice.number, invoice.cents + cents)


def total(invoice):
    return {"number": invoice.number, "cents": invoice.cents}


def rates():
    if sys.version_info >= (3, 9):
        return resources.files("acme.billing").joinpath("data/rates.txt").read_text().split()


def python():
    return "%d.%d" % sys.version_info[:2]


def context(ctx):
    return [ctx.workflow_run_id, ctx.step_key, ctx.attempt, ctx.code_version_hash]


class Biller:
    def bill(self, cents):
        return cents * 2

    @classmethod
    def name(cls):
        return cls.__name__

    @staticmethod
    def vat(cents):
        return cents // 5
