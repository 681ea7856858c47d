import os
import sys
import time
from importlib import resources

from .models import Invoice


def issue(ctx, number, cents):
    ctx.log.info("issuing %s in %s", number, ctx.workflow_run_id)
    return Invoice(number, cents)


def gate(path):
    """Holds the run until the file is there, so that a test can act in the middle of a step."""
    while not os.path.exists(path):
        time.sleep(0.02)


def tax(invoice):
    rate = int(resources.files("acme.billing").joinpath("data/rate.txt").read_text())
    return Invoice(invoice.number, invoice.cents + invoice.cents * rate // 100)


class Teller:
    def total(self, invoice):
        return {"cents": invoice.cents, "python": "%d.%d" % sys.version_info[:2], "kind": type(invoice).__module__}
