"""The level `process`: what a process can be held to without any privilege and without namespaces."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal

from runner.sandbox import seccomp
from runner.sandbox.levels import Hold, Place
from runner.sandbox.limits import Asked, function_limits, step_limits, zygote_limits
from runner.sandbox.paths import DEVICES, system_paths


class ProcessLevel:
    """Landlock, seccomp, limits, no capabilities: of those what the kernel has."""

    name: Literal["process"] = "process"

    def hold(self, asked: Asked, place: Place) -> Hold:
        """The zygote holds itself, and its steps more tightly."""
        if not sys.platform.startswith("linux"):
            return Hold(network=place.network)
        return Hold(confinement=confinement(asked, place.readable), network=place.network)


def confinement(asked: Asked, readable: Iterable[object]) -> dict[str, Any]:
    """What the child is told to hold itself to before any user code; see runner/child/confinement.py."""
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
        "functions": {
            name: {
                "limits": function_limits(limits),
                "filter": "" if limits.network else seccomp.zygote_program(network=False).hex(),
            }
            for name, limits in asked.steps.items()
        },
    }
