"""Which code the unfinished runs need, compared with a project, the store and the environments of this machine.

Its time grows with the number of code versions, not with that of the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from envs import ArtifactStore
from runner.ledger import Ledger
from runner.policy import ArtifactMissing, CodeVersionMismatch, Mode, decide

# Remote stores answer each question in some ten milliseconds, and many at once.
QUESTIONS_AT_ONCE = 16


@dataclass(frozen=True)
class VersionReport:
    """A code version that unfinished runs need. `by_policy`, `by_definition`: runs of each; `oldest`: the first."""

    code_version_hash: str
    runs: int
    oldest: datetime | None
    by_policy: dict[str, int]
    by_definition: dict[str, int]
    artifact_stored: bool
    environment_warm: bool
    matches: bool

    def outcomes(self, local_hash: str | None) -> dict[str, int]:
        """How many of the runs: run on their `own` code, on the `local` one, or `fail`, by the policy table."""
        found: dict[str, int] = {}
        for policy, runs in self.by_policy.items():
            try:
                decision = decide(
                    Mode(policy),
                    local_hash=local_hash,
                    pinned_hash=self.code_version_hash,
                    artifact_stored=lambda: self.artifact_stored,
                )
                outcome = "own" if decision.code_version_hash == self.code_version_hash else "local"
            except (CodeVersionMismatch, ArtifactMissing):
                outcome = "fail"
            found[outcome] = found.get(outcome, 0) + runs
        return found


@dataclass(frozen=True)
class Validation:
    """`versions`: what unfinished runs need, the version with the oldest run first. `local_hash`: the project's."""

    local_hash: str | None
    versions: list[VersionReport]

    @property
    def mismatched(self) -> list[VersionReport]:
        return [version for version in self.versions if not version.matches]

    @property
    def missing(self) -> list[VersionReport]:
        return [version for version in self.versions if not version.artifact_stored]

    def outcomes(self) -> dict[str, int]:
        """See `VersionReport.outcomes`, over all versions."""
        total = {"own": 0, "local": 0, "fail": 0}
        for version in self.versions:
            for outcome, runs in version.outcomes(self.local_hash).items():
                total[outcome] += runs
        return total


def validate(
    ledger: Ledger, store: ArtifactStore, local_hash: str | None, is_warm: Callable[[str], bool]
) -> Validation:
    """Look. `is_warm` tells whether a version's environment is built on this machine.

    Raises what the ledger and the store raise.
    """
    census = ledger.census()
    with ThreadPoolExecutor(QUESTIONS_AT_ONCE, thread_name_prefix="hwe-validate") as pool:
        stored = list(pool.map(store.has, (one.code_version_hash for one in census)))
    return Validation(
        local_hash,
        [
            VersionReport(
                code_version_hash=one.code_version_hash,
                runs=one.runs,
                oldest=one.oldest,
                by_policy=one.by_policy,
                by_definition=one.by_definition,
                artifact_stored=is_stored,
                environment_warm=is_warm(one.code_version_hash),
                matches=one.code_version_hash == local_hash,
            )
            for one, is_stored in zip(census, stored, strict=True)
        ],
    )


def log_validation(logger: logging.Logger, validation: Validation) -> None:
    """What a worker says of it when it starts: at most three lines, whatever it found."""
    runs = sum(version.runs for version in validation.versions)
    mismatched = validation.mismatched
    others = sum(version.runs for version in mismatched)
    since = next((version.oldest for version in mismatched if version.oldest), None)
    logger.info(
        "start-up check: %d unfinished runs on %d code versions: %d match this project, %d are of %d other versions%s",
        runs,
        len(validation.versions),
        runs - others,
        others,
        len(mismatched),
        f", the oldest since {since:%Y-%m-%d %H:%M} UTC" if since else "",
    )
    outcomes = validation.outcomes()
    if others:
        logger.info(
            "start-up check: by their policies %d runs go on on their own code, %d on this project's instead, %d fail",
            outcomes["own"],
            outcomes["local"],
            outcomes["fail"],
        )
    if missing := validation.missing:
        logger.warning(
            "start-up check: the artifacts of %d code versions are not in the store (%s): capture them there from "
            "their sources with 'hwe capture PROJECT', or restore the store",
            len(missing),
            ", ".join(version.code_version_hash[:12] for version in missing[:5]) + (" …" if len(missing) > 5 else ""),
        )
