"""Whether the environments in a cache still are what was built: every file against the manifest, which the hash names.

What is not is moved to <cache>/quarantine/ for a person to look at, unless somebody runs in it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from envs.bytecode import compiled_digest
from envs.errors import CacheUnusable, EnvsError, explain_os_error
from envs.file_lists import UNREADABLE, file_problem, files_below, sampled_problem
from envs.layers import FILES as LAYER_FILES
from envs.layers import MARKER as LAYER_MARKER
from envs.layers import layer_problems
from envs.layers import lease_path as layer_lease_path
from envs.locks import exclusive_now, take_shared, take_shared_to_read
from envs.manifest import Manifest, ManifestInvalid
from envs.materialize import MANIFEST, MARKER, PROJECT, Environment, read_environment, venv_digest
from envs.stores import ArtifactStore
from envs.trash import discard

# How many problems of one environment are told; the rest is a number.
PROBLEMS_TOLD = 20

# Somebody may hold a lease for a moment only to see whether it is held.
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Inspected:
    """One environment, or one layer, whose key is its `hash`.

    verdict: "sound", "quarantined" (moved to `moved_to`), "damaged" (it is, and was left where it is, since somebody
    runs in it or the cache can only be read), or "unknown": see `problems`.
    """

    hash: str
    verdict: Literal["sound", "quarantined", "damaged", "unknown"]
    problems: tuple[str, ...] = ()
    moved_to: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with an environment, or, with a `layer_key`, with the layer below it."""

    code_version_hash: str
    problem: str
    layer_key: str | None = None


def sampled_damage(environment: Environment) -> Damage | None:
    """Look at one file of the project and one of the layer, picked at random: damage is found by and by, for a tenth of
    a millisecond a lease.
    """
    project = str(environment.project)
    if problem := sampled_problem(project, str(environment.root / MANIFEST)):
        return Damage(environment.hash, problem)
    if environment.layer_root is None:
        return None
    layer = str(environment.layer_root)
    if problem := sampled_problem(layer, os.path.join(layer, LAYER_FILES)):
        return Damage(environment.hash, f"{problem} in its layer", os.path.basename(layer))
    return None


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
            environment = read_environment(root, code_version_hash)
            if environment is None:
                return None
            try:
                manifest = _manifest(root, code_version_hash, store)
                if manifest is None:
                    problems = [f"{MANIFEST} is not that of this code version"]
                else:
                    problems = [*_problems(root, manifest), *_lost_layer(environment)]
            except EnvsError as error:
                return Inspected(code_version_hash, "unknown", (str(error),))
            except OSError as error:
                problems = [_unreadable(root, error)]
        finally:
            os.close(descriptor)
        put_aside = None if read_only else lambda: quarantine_environment(cache_root, code_version_hash)
        return _inspected(code_version_hash, problems, put_aside)
    except OSError as error:
        raise CacheUnusable(cache_root, explain_os_error(error)) from error


def inspect_layer(cache_root: str, key: str) -> Inspected | None:
    """Look at one layer, and put it aside when it is damaged and nobody runs on it; None when it is not there.

    Raises CacheUnusable.
    """
    root = os.path.join(cache_root, "layers", key)
    lease = layer_lease_path(cache_root, key)
    try:
        read_only = not os.access(cache_root, os.W_OK)
        descriptor = take_shared_to_read(lease, root) if read_only else take_shared(lease)
        try:
            try:
                with open(os.path.join(root, LAYER_MARKER), "rb") as file:
                    marker = file.read()
            except FileNotFoundError:
                return None
            try:
                with open(os.path.join(root, LAYER_FILES), "rb") as file:
                    data = file.read()
            except OSError as error:
                if error.errno not in (errno.ENOENT, *UNREADABLE):
                    raise
                if b'"files_sha256"' not in marker:
                    return Inspected(key, "unknown", ("it was built by a release that kept no list of its files",))
                data = b""
            problems = list(layer_problems(root, data, marker))
        finally:
            os.close(descriptor)
        return _inspected(key, problems, None if read_only else lambda: quarantine_layer(cache_root, key))
    except OSError as error:
        raise CacheUnusable(cache_root, explain_os_error(error)) from error


def _unreadable(root: str, error: OSError) -> str:
    """What is wrong with a file that a bad disk, or somebody's chmod, keeps to itself. Raises any other error."""
    if error.errno not in UNREADABLE:
        raise error
    name = os.path.relpath(os.fsdecode(error.filename), root) if error.filename else "a file"
    return f"{name} cannot be read ({error.strerror})"


def _inspected(name: str, problems: list[str], put_aside: Callable[[], str | None] | None) -> Inspected:
    if not problems:
        return Inspected(name, "sound")
    if len(problems) > PROBLEMS_TOLD:
        problems[PROBLEMS_TOLD:] = [f"and {len(problems) - PROBLEMS_TOLD} more"]
    moved_to = put_aside() if put_aside else None
    return Inspected(name, "quarantined" if moved_to else "damaged", tuple(problems), moved_to)


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
    found = dict(files_below(project, without="__pycache__"))  # bytecode has a digest of its own
    for path in sorted(known.keys() | found.keys()):
        if path not in known:
            yield f"{path} does not belong to it"
        elif path not in found:
            yield f"{path} is missing"
        elif problem := file_problem(os.path.join(project, path), known[path], found[path]):
            yield f"{path} {problem}"
    marker = _marker(root)
    if marker.get("venv_sha256") not in (None, venv_digest(root)):
        yield "its virtual environment is not what was made"
    compiled = marker.get("compiled_sha256")
    if compiled is not None and compiled_digest(project) != compiled:
        yield "its bytecode is not what was compiled"


def _lost_layer(environment: Environment) -> Iterator[str]:
    """In a cache that was moved all of them are lost, and no damage: each is built again when it is wanted."""
    layer, here = environment.layer_root, environment.built_at == str(environment.root)
    if layer and here and not (layer / LAYER_MARKER).exists():
        yield f"the layer that it stands on, {layer}, is not there or not finished"


def quarantine_environment(cache_root: str, code_version_hash: str) -> str | None:
    """Move the environment aside; where to, or None when somebody runs in it, or it is gone. Raises OSError."""
    lease = os.path.join(cache_root, "leases", f"{code_version_hash}.lock")
    with exclusive_now(lease, patience_seconds=LOOK_SECONDS) as alone:
        return _moved(cache_root, os.path.join(cache_root, "versions", code_version_hash)) if alone else None


def quarantine_layer(cache_root: str, key: str) -> str | None:
    """Move the layer aside; where to, or None when somebody runs on it or builds on it, or it is gone. Raises OSError.

    The environments that stand on it go: they are built again, on another one, when they are wanted.
    """
    root = os.path.join(cache_root, "layers", key)
    # Whoever holds this keeps others from building and running on it.
    with exclusive_now(layer_lease_path(cache_root, key), patience_seconds=LOOK_SECONDS) as unused:
        if not unused:
            return None
        for name, lease in _standing_on(cache_root, root).items():
            with exclusive_now(lease, patience_seconds=LOOK_SECONDS) as alone:
                if not alone:
                    return None
                discard(cache_root, os.path.join(cache_root, "versions", name))
        return _moved(cache_root, root)


def _standing_on(cache_root: str, layer_root: str) -> dict[str, str]:
    """The environments on a layer, by hash, with the files of their leases."""
    found = {}
    for name in sorted(os.listdir(os.path.join(cache_root, "versions"))):
        environment = read_environment(os.path.join(cache_root, "versions", name), name)
        if environment and str(environment.layer_root) == layer_root:
            found[name] = os.path.join(cache_root, "leases", f"{name}.lock")
    return found


def _moved(cache_root: str, root: str) -> str | None:
    quarantine = os.path.join(cache_root, "quarantine")
    os.makedirs(quarantine, mode=0o700, exist_ok=True)
    # Microseconds: a bad disk can damage it again in the second in which it was built again.
    target = os.path.join(quarantine, f"{os.path.basename(root)}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rename(root, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copytree(root, target, symlinks=True)
            discard(cache_root, root)
        os.utime(target)  # from now on gc counts its days
        return target
    return None
