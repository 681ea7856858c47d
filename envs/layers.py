"""Dependency layers: one installed lock, shared by all code versions that have it.

    <cache>/layers/<key>/    a virtual environment; finished when `.hwe-layer.json` is in it

Built in place, since a virtual environment holds its own path, and under a lock. The key covers the lock's text, the
interpreter's build and that path, so a layer never changes once it is finished, and one in a cache that was moved is no
longer found.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from envs.disk import disk_bytes, write_whole
from envs.errors import BuildGivenUp, EnvironmentBuildFailed
from envs.failures import forget, refuse_if_failing, remember
from envs.file_lists import seal
from envs.installing import Installer, install
from envs.interpreters import Interpreter
from envs.locks import exclusive, take_shared
from envs.manifest import Lock, canonical_json
from envs.pylock import is_pylock
from envs.stores import ArtifactStore
from envs.trash import discard, empty_trash
from envs.virtual_environment import create_virtual_environment
from envs.wheel_building import requirements_of

MARKER = ".hwe-layer.json"
FILES = ".hwe-files.json"  # see envs.file_lists
# uv tells the two formats apart by their names.
LOCK_COPY = "hwe-requirements.txt"
PYLOCK_COPY = "pylock.toml"


@dataclass(frozen=True, slots=True)
class Layer:
    """`root`: the virtual environment. `site_packages`: where its packages are."""

    root: str
    site_packages: str


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a layer is built. `forgive_before`: see `refuse_if_failing`. `store`: where wheels may be.

    offline: without a network or an index, to find out whether that can be done; a failure is then not remembered,
    since it says nothing about those who may use one. given_up: asked a few times a second whether nobody wants it any
    more. report: gets each phase as it begins.
    """

    forgive_before: float = 0.0
    offline: bool = False
    store: ArtifactStore | None = None
    given_up: Callable[[], bool] = bool  # False
    report: Callable[[str], object] = str  # nothing comes of it

    def begin(self, phase: str) -> None:
        """Tell that a phase begins. Raises BuildGivenUp."""
        if self.given_up():
            raise BuildGivenUp
        self.report(phase)

    def wait(self) -> None:
        """While another builder is at work, see `exclusive`. Raises BuildGivenUp."""
        self.begin("wait")

    def refuse_if_failing(self, cache_root: str, key: str) -> None:
        """Raise EnvironmentBuildFailed when the layer failed a moment ago."""
        if not self.offline:
            refuse_if_failing(cache_root, f"layer-{key}", forgive_before=self.forgive_before)


ORDINARY = Terms()


def layer_key(cache_root: str, lock: Lock, interpreter: Interpreter) -> str:
    key = {
        "interpreter": interpreter.fingerprint, "lock": lock.sha256, "platform": sys.platform, "root": cache_root,
    }  # fmt: skip
    return hashlib.sha256(canonical_json(key)).hexdigest()


@contextlib.contextmanager
def layer_in_use(
    cache_root: str, lock: Lock, lock_text: str, interpreter: Interpreter, terms: Terms = ORDINARY
) -> Iterator[Layer]:
    """`provide_layer`, and nobody removes it before the environment that is to stand on it has its marker."""
    key = layer_key(cache_root, lock, interpreter)
    os.makedirs(os.path.join(cache_root, "leases"), mode=0o700, exist_ok=True)
    descriptor = take_shared(lease_path(cache_root, key))
    try:
        yield provide_layer(cache_root, lock, lock_text, interpreter, terms)
    finally:
        os.close(descriptor)


def lease_path(cache_root: str, key: str) -> str:
    """Held shared by who builds on this layer, exclusively by who removes it."""
    return os.path.join(cache_root, "leases", f"layer-{key}.lock")


def provide_layer(
    cache_root: str, lock: Lock, lock_text: str, interpreter: Interpreter, terms: Terms = ORDINARY
) -> Layer:
    """The finished layer of this lock, built when it is not there.

    Any number of processes may ask at once; one builds. Raises EnvironmentBuildFailed, also without another try when
    it failed a moment ago (see `refuse_if_failing`), BuildGivenUp, CacheUnusable, OSError; a failed build leaves
    nothing but its log and a note of it.
    """
    key = layer_key(cache_root, lock, interpreter)
    root = os.path.join(cache_root, "layers", key)
    if layer := _finished(root):
        return layer
    for folder in ("layers", "locks", "logs"):
        os.makedirs(os.path.join(cache_root, folder), mode=0o700, exist_ok=True)
    with exclusive(os.path.join(cache_root, "locks", f"layer-{key}.lock"), terms.wait) as lock_descriptor:
        if layer := _finished(root):
            return layer
        terms.refuse_if_failing(cache_root, key)
        try:
            layer = _build(cache_root, root, key, lock, lock_text, interpreter, lock_descriptor, terms)
        except EnvironmentBuildFailed as error:
            _remove(cache_root, root)
            if terms.offline:
                raise
            raise remember(cache_root, f"layer-{key}", error) from error
        except BaseException:
            _remove(cache_root, root)
            raise
        forget(cache_root, f"layer-{key}")
        return layer


def has_layer(cache_root: str, lock: Lock, interpreter: Interpreter) -> bool:
    """Whether `provide_layer` has nothing to build."""
    return _finished(os.path.join(cache_root, "layers", layer_key(cache_root, lock, interpreter))) is not None


def _finished(root: str) -> Layer | None:
    try:
        with open(os.path.join(root, MARKER), "rb") as file:
            marker = json.load(file)
        return Layer(root, os.path.join(root, marker["site_packages"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def _remove(cache_root: str, root: str) -> None:
    # Away in one step: what was killed a moment ago may still write.
    with contextlib.suppress(OSError):
        discard(cache_root, root)
    empty_trash(cache_root)


def _build(
    cache_root: str,
    root: str,
    key: str,
    lock: Lock,
    lock_text: str,
    interpreter: Interpreter,
    lock_descriptor: int,
    terms: Terms,
) -> Layer:
    if os.path.lexists(root):  # a killed build
        _remove(cache_root, root)
    os.mkdir(root, 0o755)
    site_packages = create_virtual_environment(root, interpreter, os.path.join(cache_root, "virtualenv"))
    name = PYLOCK_COPY if is_pylock(lock.path) else LOCK_COPY
    with open(os.path.join(root, name), "w", encoding="utf-8", newline="\n") as file:
        file.write(lock_text if is_pylock(lock.path) else requirements_of(lock, lock_text, interpreter))
    # Ends uv's search for settings here: a cache may lie inside a project whose own are not meant for this.
    with open(os.path.join(root, "uv.toml"), "w", encoding="utf-8"):
        pass
    log_path = os.path.join(cache_root, "logs", f"layer-{key}{'-offline' if terms.offline else ''}.log")
    installer = Installer(root, lock_descriptor, log_path, terms.given_up)
    install(installer, name, lock, lock_text, interpreter, terms.store, offline=terms.offline)
    files = seal(root)
    write_whole(os.path.join(root, FILES), files)
    marker = {
        "files_sha256": hashlib.sha256(files).hexdigest(),
        "interpreter": interpreter.path,
        "site_packages": os.path.relpath(site_packages, root),
        "size_bytes": disk_bytes(root),
        "version": interpreter.version,
    }
    write_whole(os.path.join(root, MARKER), canonical_json(marker))
    return Layer(root, site_packages)
