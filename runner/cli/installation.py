"""What the commands work on: the ledger, the store and the cache that the settings name."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from envs import (
    AmbiguousHash,
    ArtifactStore,
    CodeVersion,
    CodeVersionNotFound,
    EnvCache,
    HashInvalid,
    capture,
    find_interpreter,
    open_store,
)
from runner.definition import Definition, Task, load_definition
from runner.errors import UsageError
from runner.functions import check_functions
from runner.ledger import DatabasePresence, Ledger, RunRecord, StepRecord
from runner.presence import Attendance, Presence
from runner.settings import Settings
from runner.templates import check_references
from runner.values import Values

logger = logging.getLogger("hwe.project")

# A run id becomes part of the engine's ids and of file names.
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


# Of a hash, on the command line.
MIN_PREFIX = 8


class Installation:
    """The parts behind a command, opened when first used and closed together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._always_cleanup = contextlib.ExitStack()
        self._ledger: Ledger | None = None
        self._store: ArtifactStore | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._always_cleanup.close()

    @property
    def ledger(self) -> Ledger:
        if self._ledger is None:
            self._ledger = self._always_cleanup.enter_context(Ledger.open(self.settings.database))
        return self._ledger

    @property
    def store(self) -> ArtifactStore:
        if self._store is None:
            self._store = open_store(self.settings.store, copies=self.settings.artifact_copies)
        return self._store

    @property
    def values(self) -> Values:
        return Values(self.settings.values)

    def full_hash(self, prefix: str) -> str:
        """The one stored code version whose hash begins so. Raises `UsageError`, `StoreUnusable`."""
        try:
            return self.store.resolve(prefix)
        except HashInvalid:
            reason = f"give {MIN_PREFIX} hexadecimal digits or more"
        except AmbiguousHash:
            reason = "several stored versions begin so"
        except CodeVersionNotFound:
            reason = "no stored version begins so"
        raise UsageError(f"{prefix!r} names no code version: {reason}, nor is it a directory")

    def run_with_steps(self, run_id: str) -> tuple[RunRecord, list[StepRecord]]:
        """A run as a person wants to see it, with the large values that rest outside of the ledger."""
        run = self.ledger.run(run_id)
        steps = [self._with_value(step) for step in self.ledger.steps(run.run_id)]
        if run.output:
            tasks = Definition.from_json(run.definition).tasks.values()
            keys = {task.task_id: task.result_key for task in tasks if isinstance(task, Task) and task.result_key}
            values = {keys[step.step_key]: step.value for step in steps if step.has_value and step.step_key in keys}
            run = replace(run, output={key: values.get(key) for key in run.output})
        return run, steps

    def _with_value(self, step: StepRecord) -> StepRecord:
        text = None if step.has_value else self.values.json_text(step.result)
        return step if text is None else replace(step, value=json.loads(text), has_value=True)

    def cache(self, on_progress: Callable[[str, str], None], *, retry_failed: bool = False) -> EnvCache:
        return EnvCache(self.settings.cache, self.store, on_progress=on_progress, retry_failed=retry_failed)

    def presence(self) -> Attendance:
        """A driver of runs. On one machine the kernel tells who is alive, on many the database does."""
        presence: Attendance
        if self.ledger.is_shared:
            presence = DatabasePresence(self.settings.database)
        else:
            presence = Presence(self.settings.home.absolute() / "workers")
        self._always_cleanup.callback(presence.close)
        return presence

    def keep(self, version: CodeVersion) -> None:
        """Store a version's artifact, then make it known: whatever names the hash later finds the artifact."""
        self.store.put(version)
        is_new = self.ledger.store_code_version(
            version.hash,
            artifact_id=version.artifact_id,
            project=version.project,
            python=version.manifest.python,
            size_bytes=version.size_bytes,
            manifest_json=version.manifest.to_bytes().decode(),
        )
        if is_new and version.manifest.python is None:
            logger.warning(
                '%s does not say which Python it needs, so each worker takes its own: add python = "%d.%d" under '
                "[tool.hwe] in its pyproject.toml",
                version.project,
                *sys.version_info[:2],
            )


def submit(
    installation: Installation,
    workflow: Path,
    project: Path,
    *,
    input_text: str | None,
    run_id: str | None,
    policy: str | None,
    driver: str | None = None,
) -> str:
    """Check everything, then store the code, then the run; returns its id.

    `driver` names who drives it, if not any worker.
    """
    definition = read_workflow(workflow, project)
    run_input = read_input(input_text)
    run_id = run_id or f"{definition.name}-{secrets.token_hex(6)}"
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"run id {run_id!r} may hold letters, digits, dots, dashes and underscores, 128 at most")
    version = capture(project)
    check_against_project(definition, version, project)
    if version.manifest.python is not None and not installation.ledger.is_shared:
        find_interpreter(version.manifest.python)  # the ledger is a local file, so its workers are on this machine
    installation.keep(version)
    installation.ledger.create_run(
        run_id,
        definition,
        code_version_hash=version.hash,
        policy=policy or installation.settings.strict_code_versioning,
        policy_source="--policy" if policy else installation.settings.policy_source,
        input=run_input,
        project=version.project,
        driver=driver,
    )
    return run_id


def read_workflow(workflow: Path, project: Path) -> Definition:
    """The definition in that file, looked for here and then in the project."""
    places = [workflow, project / workflow]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UsageError(f"there is no workflow file {workflow}, neither here nor in {project}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"workflow {path} cannot be read: {error}") from error
    definition = load_definition(text, source_name=str(path))
    check_references(definition)
    return definition


def check_against_project(definition: Definition, version: CodeVersion, project: Path) -> None:
    """Refuse a workflow that names functions which its project does not have."""
    tasks = [node for node in definition.tasks.values() if isinstance(node, Task) and node.pin is None]
    check_functions(
        [task.function for task in tasks],
        {entry.path for entry in version.manifest.files},
        lambda path: _source(project / path),
        has_lock=version.manifest.lock is not None,
    )


def _source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b"\0"  # the name on disk is of another Unicode form than in the manifest: unknown, so never a no


def read_input(text: str | None) -> Any:
    """The JSON given with --input, or in the file that @FILE names; an empty object when nothing is given."""
    if text is None:
        return {}
    source = "--input"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"input file {source} cannot be read: {error}") from error
    try:
        value = json.loads(text, parse_constant=_no_constant)
        # Half a surrogate pair and 1e999 parse, but cannot be stored.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{source} is not JSON: {error}; quote it for the shell, as in --input '{{\"amount\": 7}}'"
        ) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not in JSON")


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Installation]:
    """An `Installation` for the time of one command."""
    with Installation(settings) as installation:
        yield installation
