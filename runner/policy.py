"""Which code runs a step, or which error: a pure table of (mode, do they match, is the artifact stored)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from runner.errors import RunnerError


class Mode(StrEnum):
    """`strict_code_versioning`."""

    DISABLED = "disabled"
    WARN = "warn"
    STRICT = "strict"
    ARTIFACT = "artifact"


class CodeVersionMismatch(RunnerError):
    """The worker's code is not the run's, and the mode forbids to run other code."""

    fault = "environment"

    def __init__(self, run_id: str, pinned_hash: str, local_hash: str | None) -> None:
        self.run_id, self.pinned_hash, self.local_hash = run_id, pinned_hash, local_hash
        local = f"this worker has {local_hash}" if local_hash else "this worker has no project"
        super().__init__(
            f"run {run_id} started on code version {pinned_hash}, and {local}: start a worker on the run's code, or "
            f"submit runs with policy 'artifact'; then 'hwe resume {run_id}'"
        )


class ArtifactMissing(RunnerError):
    """The run's code is not in the store. `looked_in` says where that is."""

    fault = "environment"

    def __init__(self, run_id: str, pinned_hash: str, looked_in: str) -> None:
        self.run_id, self.pinned_hash, self.looked_in = run_id, pinned_hash, looked_in
        super().__init__(
            f"run {run_id} needs code version {pinned_hash}, which is not in {looked_in}: capture it there from its "
            f"sources with 'hwe capture PROJECT', or restore the store; then 'hwe resume {run_id}'"
        )


@dataclass(frozen=True)
class Decision:
    """Run `code_version_hash`; `warn` when that is not what the run started with and someone should know."""

    source: Literal["local", "stored"]
    code_version_hash: str
    warn: bool = False


def decide(
    mode: Mode,
    *,
    local_hash: str | None,
    pinned_hash: str,
    artifact_stored: Callable[[], bool],
    looked_in: str = "the artifact store",
    run_id: str = "",
) -> Decision:
    """The code for a step of a run pinned to `pinned_hash`, in a worker whose project is `local_hash` (None: none).

    `artifact_stored` is asked only when the answer depends on it. Raises `CodeVersionMismatch`, `ArtifactMissing`.
    """
    matches = local_hash == pinned_hash
    if mode is Mode.ARTIFACT:
        if artifact_stored():
            return Decision("stored", pinned_hash)
        raise ArtifactMissing(run_id, pinned_hash, looked_in)
    if local_hash is not None and (matches or mode is not Mode.STRICT):
        return Decision("local", local_hash, warn=mode is Mode.WARN and not matches)
    raise CodeVersionMismatch(run_id, pinned_hash, local_hash)
