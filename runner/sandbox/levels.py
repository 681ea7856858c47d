"""What a sandbox level is: it says how a zygote is to be started, and the kernel does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from runner.sandbox.limits import Asked

Level = Literal["none", "process", "locked-down"]


@dataclass(frozen=True)
class Place:
    """Where a zygote lives. `readable`: its environment, its Python and its programs. `network`: False cuts it off.

    `writes`: False where nothing but scratch directories may be written to, at every level.
    """

    readable: tuple[Path, ...]
    scratches: Path
    network: bool = True
    writes: bool = True


@dataclass(frozen=True)
class Hold:
    """How a zygote is held.

    `confinement`: what it is told to hold itself to before any user code, see runner/child/confinement.py; None:
    nothing. `wrapper`: the command that runs its interpreter. `network`: whether it must cut itself off.
    """

    confinement: Mapping[str, Any] | None = None
    wrapper: tuple[str, ...] = ()
    network: bool = True


class SandboxLevel(Protocol):
    """One of the levels."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> Level: ...

    def hold(self, asked: Asked, place: Place) -> Hold:
        """For a zygote of a project that asks for this. Raises `SandboxUnavailable`."""
