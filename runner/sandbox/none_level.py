"""The level `none`: what every step gets, and nothing more: clean environment, own process group, wall clock."""

from __future__ import annotations

from typing import Literal

from runner.sandbox.levels import Hold, Place
from runner.sandbox.limits import Asked


class NoneLevel:
    """Steps may do what the worker's user may."""

    name: Literal["none"] = "none"

    def hold(self, asked: Asked, place: Place) -> Hold:  # noqa: ARG002 - the protocol's
        """Nothing but the network, when the caller wants it cut off."""
        return Hold(network=place.network)
