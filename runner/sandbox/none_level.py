"""The level `none`: what every step gets, and nothing more: clean environment, own process group, wall clock."""

from __future__ import annotations

import sys
from typing import Literal

from runner.sandbox.levels import Hold, Place
from runner.sandbox.limits import Asked
from runner.sandbox.paths import DEVICES


class NoneLevel:
    """Steps may do what the worker's user may."""

    name: Literal["none"] = "none"

    def hold(self, asked: Asked, place: Place) -> Hold:  # noqa: ARG002 - the protocol's
        """Nothing but what the caller wants to be sure of: that the network is cut off, that nothing is written."""
        if place.writes or not sys.platform.startswith("linux"):
            return Hold(network=place.network)
        reads_all = {"readable": ["/"], "writable": [], "devices": list(DEVICES), "tcp": True, "functions": {}}
        nothing_else = {"filters": {"zygote": "", "step": ""}, "limits": {"zygote": {}, "step": {}}}
        return Hold(confinement={**reads_all, **nothing_else}, network=place.network)
