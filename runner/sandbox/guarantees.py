"""What a level enforces on this machine, found out by trying it in a throwaway child."""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runner.errors import SandboxUnavailable
from runner.sandbox.levels import Place, SandboxLevel
from runner.sandbox.limits import Limits

State = Literal["enforced", "partial", "absent"]

_PROGRAMS = Path(__file__).parent.parent / "child"
_TIMEOUT_SECONDS = 30  # an interpreter starts in a hundredth of a second; a machine under heavy load needs more


@dataclass(frozen=True)
class Guarantee:
    """One thing that is enforced, partly enforced or absent here. `detail` says why, and what would enable it."""

    name: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class _Trial:
    """What must be refused for a guarantee to hold, and what to say of it."""

    name: str
    attempts: tuple[str, ...]
    otherwise: str  # what would enable it
    gap: str = ""  # what remains open even where it is enforced


_TRIALS = (
    _Trial(
        "writes only to scratch",
        ("write outside", "write to a sibling"),
        "needs Landlock: Linux 5.13, enabled at boot (lsm=landlock,…)",
    ),
    _Trial("reads only what it needs", ("read outside",), "needs Landlock: Linux 5.13, enabled at boot"),
    _Trial(
        "file modes and times",
        ("chmod outside",),
        "Landlock does not cover chmod, chown and utime: run the worker as a user that owns nothing else",
    ),
    _Trial("no signals outside", ("signal outside",), "needs Landlock 6: Linux 6.12"),
    _Trial("no reach into other processes", ("read memory",), "needs Landlock: Linux 5.13, enabled at boot"),
    _Trial("no abstract unix sockets outside", ("abstract socket",), "needs Landlock 6: Linux 6.12"),
    _Trial("no way out of the process group", ("leave the group",), "needs seccomp, on x86_64 or aarch64"),
    _Trial("denied system calls", ("new namespace",), "needs seccomp, on x86_64 or aarch64"),
    _Trial("no capabilities", ("gain capabilities",), "run the worker as another user than root"),
    _Trial("no new privileges", ("gain privileges",), "a Linux mechanism"),
    _Trial("no core dumps", ("core dump",), "the system refuses the limit"),
    _Trial("file size limit", ("huge file",), "the system refuses the limit"),
    _Trial("process limit", ("many processes",), "the kernel does not limit root: run the worker as another user"),
    _Trial(
        "sees no other process",
        ("see a process",),
        "command lines of other processes are readable to every user: choose 'locked-down'",
    ),
    _Trial(
        "no unix sockets outside",
        ("socket with a path",),
        "what listens on a path can be connected to where file modes let it: choose 'locked-down'",
    ),
    _Trial("network off on request", ("socket",), "needs seccomp, on x86_64 or aarch64"),
)

# Known gaps of `process`, told as partial wherever they are open: no kernel closes them at that level. The last one
# stays open at `locked-down` too, for root.
_PARTIAL = frozenset({"file modes and times", "sees no other process", "no unix sockets outside", "process limit"})


@dataclass(frozen=True)
class _AllAllowed:
    """What a project asks for that asks for nothing; `network` tells the two trials apart."""

    network: bool
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None
    steps: Mapping[str, Limits] = field(default_factory=dict, hash=False)


@functools.cache
def guarantees_of(level: SandboxLevel) -> tuple[Guarantee, ...]:
    """What holds for every step at `level` on this machine. Takes a tenth of a second, once.

    Raises `SandboxUnavailable` when the throwaway child cannot be confined or run at all.
    """
    linux = sys.platform.startswith("linux")
    told = _try(level, network=True) | {"socket": _try(level, network=False)["socket"]}
    if not told["use scratch"]:
        raise SandboxUnavailable(f"a step at {level.name!r} cannot write to its own scratch directory on this machine")
    always = (
        Guarantee("fresh process per step", "enforced"),
        Guarantee("clean environment", "enforced", "an allowlist of variables; none of the worker's own"),
        Guarantee("no inherited descriptors", "enforced"),
        Guarantee("wall clock limit", "enforced", "SIGTERM, then SIGKILL, to the whole group"),
        Guarantee(
            "process tree ended",
            "enforced" if linux else "partial",
            "" if linux else "a process that left the group is only found on Linux",
        ),
    )
    return (*always, *(_judge(level, trial, told) for trial in _TRIALS))


def _judge(level: SandboxLevel, trial: _Trial, told: Mapping[str, bool]) -> Guarantee:
    if not any(told[attempt] for attempt in trial.attempts):
        return Guarantee(trial.name, "enforced", trial.gap)
    if level.name == "none":
        return Guarantee(trial.name, "absent", "asked for none: choose the sandbox level 'process'")
    return Guarantee(trial.name, "partial" if trial.name in _PARTIAL else "absent", trial.otherwise)


def _try(level: SandboxLevel, *, network: bool) -> dict[str, bool]:
    with ExitStack() as always_cleanup:
        # Two places, for what is readable must not hold what is outside.
        inside = Path(always_cleanup.enter_context(tempfile.TemporaryDirectory(prefix="hwe-trial-")))
        beyond = Path(always_cleanup.enter_context(tempfile.TemporaryDirectory(prefix="hwe-trial-")))
        outside = beyond / "file"
        outside.touch(mode=0o600)
        scratch, sibling = inside / "scratch", inside / "sibling"
        for directory in (scratch, sibling):
            directory.mkdir(mode=0o700)
        abstract = f"hwe-{secrets.token_hex(8)}"
        if sys.platform.startswith("linux"):
            listener = always_cleanup.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(f"\0{abstract}")
            listener.listen()
        named = always_cleanup.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        named.bind(str(beyond / "socket"))
        named.listen()
        hold = level.hold(_AllAllowed(network), Place((*_of_this_interpreter(), _PROGRAMS), inside))
        told = hold.confinement
        config = {
            "confinement": told and {**told, "scratches": str(inside)},
            "confinement_program": str(_PROGRAMS / "confinement.py"),
            "scratch": str(scratch),
            "sibling": str(sibling),
            "outside": str(outside),
            "victim": os.getpid(),
            "abstract": abstract,
            "socket": str(beyond / "socket"),
        }
        program = str(_PROGRAMS / "attempts.py")
        command = [*hold.wrapper, sys.executable, "-I", "-S", "-B", program, json.dumps(config)]
        try:
            done = subprocess.run(
                command, check=True, capture_output=True, cwd=inside, env={}, timeout=_TIMEOUT_SECONDS
            )
            return {str(name): bool(succeeded) for name, succeeded in json.loads(done.stdout).items()}
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            words = (getattr(error, "stderr", b"") or b"").decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
            raise SandboxUnavailable(
                f"sandbox {level.name!r} cannot be tried on this machine: {words or error}"
            ) from error


def _of_this_interpreter() -> list[Path]:
    """Where it lives, under the names that it is reached by."""
    executable = Path(sys.executable)
    places = [Path(sys.prefix), Path(sys.base_prefix), executable.parent, executable.resolve().parent.parent]
    return [*places, *(place.resolve() for place in places)]
