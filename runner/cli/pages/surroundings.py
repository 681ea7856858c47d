"""What steps ran in: the code version, its locked packages, its Python, and where that is for an editor to use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs import ArtifactStore, EnvCache, EnvsError, Manifest, RequirementChange, requirement_changes
from runner.cli.diff import stored_side


@dataclass(frozen=True)
class VersionShown:
    """A code version as a page tells of it. `roles`: what it is to the reader.

    `python`: the interpreter to be started, and `project` the code, both inside of the environment; None when it is
    not built here. `packages`: of the lock. `problem`: why there is no more.
    """

    code_version_hash: str
    roles: Sequence[str]
    manifest: Manifest | None = None
    packages: Sequence[RequirementChange] = ()
    python: str | None = None
    python_version: str | None = None
    interpreter: str | None = None
    project: str | None = None
    problem: str = ""


def version_shown(store: ArtifactStore | None, cache: EnvCache, code_version_hash: str, *roles: str) -> VersionShown:
    """What is known here of a version. Nothing is built for it, and nothing is raised."""
    manifest, packages, problem = None, list[RequirementChange](), ""
    if store is not None:
        try:
            with stored_side(store, code_version_hash) as side:
                manifest, packages = side.manifest, requirement_changes("", side.lock_text)
        except (EnvsError, OSError) as error:
            problem = str(error)
    python = python_version = interpreter = project = None
    try:
        if cache.is_ready(code_version_hash):
            with cache.lease(code_version_hash) as environment:
                python, project = str(environment.python), str(environment.project)
                python_version, interpreter = environment.interpreter_version, str(environment.interpreter)
    except (EnvsError, OSError) as error:
        problem = problem or str(error)
    return VersionShown(
        code_version_hash, roles, manifest, packages, python, python_version, interpreter, project, problem
    )
