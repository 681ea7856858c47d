"""In one line, how the code that runs differs from the code that a run started with. For logs: it never fails."""

from __future__ import annotations

import hashlib

from envs import ArtifactStore, EnvsError, Manifest, difference, read_stored_file
from runner.ledger import Ledger, LedgerError


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
