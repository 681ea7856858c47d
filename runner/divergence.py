"""How the code that runs differs from the code that a run started with: in a line for logs, and whether it can matter
to a workflow. Neither ever fails.
"""

from __future__ import annotations

import hashlib

from envs import ArtifactStore, CodeVersion, EnvsError, Manifest, difference, read_stored_file
from envs import read_file as read_artifact_file
from runner.definition import Definition, Task
from runner.ledger import Ledger, LedgerError
from runner.relevance import Release, Relevance, relevance


def describe_divergence(ledger: Ledger, store: ArtifactStore, old_hash: str, new_hash: str) -> str:
    """Three files and two requirements at most, "changed", "added" or "removed" from the old to the new version."""
    try:
        old, new = _manifest(ledger, old_hash), _manifest(ledger, new_hash)
    except (LedgerError, ValueError) as error:
        return f"what differs cannot be told: {error}"
    if old is None or new is None:
        return "what differs cannot be told: the ledger does not know both versions"
    if (old.lock and old.lock.sha256) == (new.lock and new.lock.sha256):
        return difference(old, new).summary()
    return difference(old, new, old_lock=_lock_text(store, old), new_lock=_lock_text(store, new)).summary()


def relevance_of(
    ledger: Ledger, store: ArtifactStore, old_hash: str, local: CodeVersion, definition_hash: str
) -> tuple[str, Relevance]:
    """The name of a workflow that unfinished runs of `old_hash` have, and whether `local` changed what it calls."""
    name = definition_hash[:12]
    try:
        text = ledger.definition_of(old_hash, definition_hash)
        manifest = _manifest(ledger, old_hash)
        if text is None or manifest is None:
            return name, Relevance("unknown", "the ledger no longer knows it")
        definition = Definition.from_json(text)
        name = definition.name
        functions = [task.function for task in definition.tasks.values() if isinstance(task, Task) and task.pin is None]
        with store.get(old_hash) as stored, local.open_artifact() as file:
            old = Release(
                {entry.path for entry in manifest.files}, lambda path: read_stored_file(stored, manifest, path)
            )
            new = Release(
                {entry.path for entry in local.manifest.files},
                lambda path: read_artifact_file(file, local.manifest, path, local.artifact_id),
            )
            found = difference(
                manifest, local.manifest, old_lock=_lock_text(store, manifest), new_lock=_local_lock(new, local)
            )
            return name, relevance(functions, found, old, new)
    except (EnvsError, LedgerError, OSError, ValueError) as error:
        return name, Relevance("unknown", str(error))


def _local_lock(release: Release, local: CodeVersion) -> str:
    lock = local.manifest.lock
    return "" if lock is None else release.read(lock.path).decode("utf-8-sig", "replace")


def _manifest(ledger: Ledger, code_version_hash: str) -> Manifest | None:
    record = ledger.find_code_version(code_version_hash)
    if record is None:
        return None
    data = record.manifest.encode()
    if hashlib.sha256(data).hexdigest() != record.code_version_hash:
        raise ValueError(f"the manifest of {code_version_hash} in the ledger is not its own")
    return Manifest.from_bytes(data)


def _lock_text(store: ArtifactStore, manifest: Manifest) -> str | None:
    if manifest.lock is None:
        return ""
    try:
        with store.get(manifest.code_version_hash) as stored:
            return read_stored_file(stored, manifest, manifest.lock.path).decode("utf-8-sig", "replace")
    except (EnvsError, OSError):
        return None
