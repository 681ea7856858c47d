"""The level `locked-down`: the level `process` within namespaces of its own, made by bubblewrap.

A zygote and its steps see no other process, a file system that holds nothing but what they may read, mounted
read-only, and, when the project says `network = false`, no network at all. What a file mode could still be changed on
under Landlock is on a read-only mount here, and unix sockets with a path are not there.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

from runner.errors import SandboxUnavailable
from runner.sandbox.levels import Hold, Place
from runner.sandbox.limits import Asked
from runner.sandbox.paths import system_paths
from runner.sandbox.process_level import confinement

# What bubblewrap makes anew, instead of the system's own; of /sys, the part that says how many processors there are.
_MADE_ANEW = ("/proc", "/dev")
_SYS = "/sys"
_SYS_DEVICES = "/sys/devices/system"


class LockedDownLevel:
    """Fails closed: without bubblewrap, or where the system allows no namespaces, no step runs."""

    name: Literal["locked-down"] = "locked-down"

    def hold(self, asked: Asked, place: Place) -> Hold:
        """Namespaces around it, and the confinement of `process` within them."""
        network = asked.network and place.network
        return Hold(
            confinement=confinement(asked, place.readable),
            wrapper=tuple(_command(asked, place, network=network)),
        )


def _command(asked: Asked, place: Place, *, network: bool) -> list[str]:
    program = shutil.which("bwrap")
    if program is None or not sys.platform.startswith("linux"):
        raise SandboxUnavailable(
            "sandbox 'locked-down' needs bubblewrap, and no bwrap is on PATH: install the package bubblewrap, or "
            "choose 'process'"
        )
    command = [program, "--die-with-parent", "--cap-drop", "ALL"]
    namespaces = ("user", "pid", "ipc", "uts", "cgroup-try", *(() if network else ("net",)))
    command += [f"--unshare-{namespace}" for namespace in namespaces]
    command += ["--hostname", "step", "--proc", "/proc", "--dev", "/dev"]
    system = [path for path in system_paths() if path not in (*_MADE_ANEW, _SYS)]
    readable = [*map(str, place.readable), _SYS_DEVICES, *asked.readable]
    for path in (*system, *_outermost_first(readable)):
        command += ["--ro-bind-try", path, path]
    for path in _outermost_first([*asked.writable, str(place.scratches)]):
        if not path.startswith("/dev/"):  # what is there is its own already
            command += ["--bind-try", path, path]
    return [*command, "--remount-ro", "/", "--"]


def _outermost_first(paths: list[str]) -> list[str]:
    """A mount on a directory hides those below it, so it has to come before them."""
    return sorted(dict.fromkeys(paths), key=lambda path: len(Path(path).parts))
