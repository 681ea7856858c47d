"""How the outcome of a replayed attempt is judged, where no process is needed to see it."""

from types import SimpleNamespace

import pytest

from runner.outcome import StepError, StepOutcome
from runner.replayed import judged

PLACES = "<Order object at 0x7f5e1c2b3a40> in /tmp/hwe-run-ab12/scratch/3/order.txt"
OTHER_PLACES = "<Order object at 0x55d0aa113c80> in /var/hwe-run-cd34/scratch/9/order.txt"


def failed(message, cause=None):
    return StepError("ValueError", message, "builtins", cause=cause)


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (failed(PLACES), failed(OTHER_PLACES), "same"),
        (failed("no", failed(PLACES)), failed("no", failed(OTHER_PLACES)), "same"),
        (failed(PLACES), failed(PLACES.replace("Order", "Bill")), "different"),
        (failed("crc 0x7f5e1c2b"), failed("crc 0x7f5e1c2c"), "different"),
    ],
)
def test_where_things_lie_makes_no_error_another(then, now, verdict):
    step = SimpleNamespace(
        step_key="s", attempt=1, function="f", status="failed", error=then.to_json(), has_value=False, stdout="",
        stderr="", wall_seconds=1.0, cpu_seconds=1.0, max_rss_bytes=1,
    )  # fmt: skip
    outcome = StepOutcome(status="failed", function="f", code_version_hash="a" * 64, error=now)
    assert judged(step, "a" * 64, outcome).verdict == verdict
