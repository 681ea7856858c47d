"""The level `process`: what a process can be held to without any privilege and without namespaces."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from runner.sandbox import seccomp
from runner.sandbox.limits import Asked, step_limits, zygote_limits
from runner.sandbox.paths import DEVICES, system_paths


def confinement(asked: Asked, readable: Iterable[object]) -> dict[str, Any] | None:
    """What the child is told to hold itself to before any user code; see runner/child/confinement.py.

    `readable`: the paths of its own environment. None where there is nothing of the kind: Linux has it.
    """
    if not sys.platform.startswith("linux"):
        return None
    return {
        "readable": [*map(str, readable), *system_paths(), *asked.readable],
        "writable": list(asked.writable),
        "devices": list(DEVICES),
        "tcp": asked.network,
        "filters": {
            "zygote": seccomp.zygote_program(network=asked.network).hex(),
            "step": seccomp.step_program().hex(),
        },
        "limits": {"zygote": zygote_limits(asked), "step": step_limits(asked)},
    }
