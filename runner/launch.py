"""How a zygote is started: what a project asks for, as far as its supervisor grants that."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from envs import Environment, ProjectSettings, SandboxSettings
from runner import sandbox as sandboxes
from runner.child_files import ChildFiles
from runner.zygote import Launch


@dataclass(frozen=True)
class Options:
    """What all zygotes of one supervisor are started with. `variables` join the environment of every step.

    `writes`, `project_variables`: whether projects get the paths to write to, and the worker's variables, that their
    settings ask for.
    """

    level: sandboxes.SandboxLevel
    network: bool = True
    comparing: bool = False
    writes: bool = True
    project_variables: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None


def launch_of(
    environment: Environment,
    program: Path,
    preload: tuple[str, ...],
    settings: ProjectSettings,
    options: Options,
    files: ChildFiles,
    cache_root: str,
) -> Launch:
    """How a zygote of that environment is started. Raises what a level of the sandbox refuses."""
    asked = _granted(settings.sandbox, options)
    sandboxes.check_asked(asked, off_limits=[Path(cache_root), files.root])
    # By the name that the environment has for it, and by its own: it may be reached through a link.
    homes = [path.parent.parent for path in (environment.interpreter, environment.interpreter.resolve())]
    programs = [program.parent, files.support]
    parts = [environment.root, environment.layer_root, *homes, homes[0].resolve(), *programs]
    readable = tuple(part for part in parts if part is not None and part != part.parent)  # never all of it
    place = sandboxes.Place(readable, files.new_scratch(), options.network, options.writes)
    hold = options.level.hold(asked, place)
    passed_on = {name: os.environ[name] for name in asked.environment if name in os.environ}
    return Launch(
        code_version_hash=environment.hash,
        python=environment.python,
        import_paths=environment.import_paths,
        program=program,
        preload=preload,
        seed=settings.seed,
        network=hold.network,
        comparing=options.comparing,
        environment={**options.variables, **passed_on, **child_environment(environment.bin_directories)},
        scratches=place.scratches,
        confinement=hold.confinement,
        wrapper=hold.wrapper,
        memory_bytes=options.memory_bytes,
    )


def _granted(asked: SandboxSettings, options: Options) -> SandboxSettings:
    """What of a project's settings holds under this supervisor."""
    if not options.project_variables:
        asked = replace(asked, environment=())
    if not options.writes:
        # What is written elsewhere may still be read. In namespaces, devices are the version's own.
        own = options.level.name == "locked-down"
        kept = tuple(path for path in asked.writable if own and path.startswith("/dev/"))
        asked = replace(asked, writable=kept, readable=(*asked.readable, *asked.writable))
    return asked


def child_environment(bin_directories: Sequence[Path]) -> dict[str, str]:
    """The whole environment of a child: nothing of the worker's own, whose secrets are there."""
    search_path = [*(str(directory) for directory in bin_directories), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(search_path),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",  # sets and dicts of strings iterate alike in a replay
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        **_library_path(),
    }


@cache
def _library_path() -> dict[str, str]:
    """LD_LIBRARY_PATH when the worker has one: an interpreter built against libraries in odd places needs it."""
    value = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": value} if value and sys.platform.startswith("linux") else {}
