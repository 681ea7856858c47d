"""Whether the environments in a cache still are what was built: every file against the manifest, which the hash names.

What is not is moved to <cache>/quarantine/ for a person to look at, unless somebody runs in it.
"""

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from envs.errors import CacheUnusable, EnvsError, explain_os_error
from envs.locks import exclusive_now, take_shared, take_shared_to_read
from envs.manifest import FileEntry, Manifest, ManifestInvalid
from envs.materialize import MANIFEST, MARKER, PROJECT, compiled_digest, read_environment
from envs.stores import ArtifactStore

# How many problems of one environment are told; the rest is a number.
PROBLEMS_TOLD = 20

# Somebody may hold a lease for a moment only to see whether it is held.
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Inspected:
    """One environment. `verdict`: "sound", "quarantined" (moved to `moved_to`), "damaged" (it is, and was left where it
    is, since somebody runs in it or the cache can only be read), or "unknown": see `problems`.
    """

    hash: str
    verdict: Literal["sound", "quarantined", "damaged", "unknown"]
    problems: tuple[str, ...] = ()
    moved_to: str | None = None


def inspect_environment(
    cache_root: str, code_version_hash: str, store: ArtifactStore | None = None
) -> Inspected | None:
    """Look at one environment, and put it aside when it is damaged; None when it is not there.

    `store`: for the manifest of one that was built by a release which kept none. Raises CacheUnusable.
    """
    root = os.path.join(cache_root, "versions", code_version_hash)
    lease = os.path.join(cache_root, "leases", f"{code_version_hash}.lock")
    try:
        read_only = not os.access(cache_root, os.W_OK)
        # Nobody removes it while we read.
        descriptor = take_shared_to_read(lease, root) if read_only else take_shared(lease)
        try:
            if read_environment(root, code_version_hash) is None:
                return None
            try:
                manifest = _manifest(root, code_version_hash, store)
            except EnvsError as error:
                return Inspected(code_version_hash, "unknown", (str(error),))
            if manifest is None:
                problems = [f"{MANIFEST} is not that of this code version"]
            else:
                problems = list(_problems(root, manifest))
        finally:
            os.close(descriptor)
        if not problems:
            return Inspected(code_version_hash, "sound")
        if len(problems) > PROBLEMS_TOLD:
            problems[PROBLEMS_TOLD:] = [f"and {len(problems) - PROBLEMS_TOLD} more"]
        moved_to = None if read_only else _quarantine(cache_root, root, lease)
        return Inspected(code_version_hash, "quarantined" if moved_to else "damaged", tuple(problems), moved_to)
    except OSError as error:
        raise CacheUnusable(cache_root, explain_os_error(error)) from error


def _manifest(root: str, code_version_hash: str, store: ArtifactStore | None) -> Manifest | None:
    """The one whose hash this is; None when what the environment has is another. Raises EnvsError."""
    try:
        with open(os.path.join(root, MANIFEST), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if _marker(root).get("compiled_sha256"):  # of a release that keeps it
            return None
        if store is None:
            raise EnvsError("it was built without its manifest, and no artifact store was given") from None
        with store.get(code_version_hash) as stored:
            return stored.verify()
    if hashlib.sha256(data).hexdigest() != code_version_hash:
        return None
    try:
        return Manifest.from_bytes(data)
    except ManifestInvalid as error:
        raise EnvsError(f"this release cannot read its manifest: {error}") from None


def _marker(root: str) -> dict[str, object]:
    with open(os.path.join(root, MARKER), "rb") as file:
        marker: dict[str, object] = json.load(file)
    return marker


def _problems(root: str, manifest: Manifest) -> Iterator[str]:
    project = os.path.join(root, PROJECT)
    known = {file.path: file for file in manifest.files}
    found = dict(_files(project))
    for path in sorted(known.keys() | found.keys()):
        if path not in known:
            yield f"{path} does not belong to it"
        elif path not in found:
            yield f"{path} is missing"
        elif problem := _file_problem(os.path.join(project, path), known[path], found[path]):
            yield f"{path} {problem}"
    compiled = _marker(root).get("compiled_sha256")
    if compiled is not None and compiled_digest(project) != compiled:
        yield "its bytecode is not what was compiled"


def _files(project: str) -> Iterator[tuple[str, os.stat_result]]:
    """All but bytecode, which has a digest of its own."""
    for folder, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name != "__pycache__"]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path = os.path.join(folder, name)
            yield os.path.relpath(path, project).replace(os.sep, "/"), os.lstat(path)


def _file_problem(path: str, file: FileEntry, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is no longer a file"
    if status.st_size != file.size:
        return f"has {status.st_size} bytes instead of {file.size}"
    if bool(status.st_mode & stat.S_IXUSR) != file.executable:
        return "is executable" if not file.executable else "is not executable"
    with open(path, "rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
            return "has another content"
    return None


def _quarantine(cache_root: str, root: str, lease: str) -> str | None:
    """Move the environment aside; where to, or None when somebody runs in it."""
    quarantine = os.path.join(cache_root, "quarantine")
    os.makedirs(quarantine, mode=0o700, exist_ok=True)
    with exclusive_now(lease, patience_seconds=LOOK_SECONDS) as alone:
        if not alone:
            return None
        target = os.path.join(quarantine, f"{os.path.basename(root)}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(root, target)
            return target
    return None
