"""Dependency layers: one installed lock, shared by all code versions that have it.

    <cache>/layers/<key>/      a virtual environment; finished when `.hwe-layer.json` is in it
    <cache>/layers/<key>-2/    another of the same, built while somebody ran on the first, whose marker was damaged

Built in place, since a virtual environment holds its own path, and under a lock. The key covers the lock's text, the
interpreter's build and that path, so a layer never changes once it is finished, and one in a cache that was moved is no
longer found.
"""

import contextlib
import hashlib
import itertools
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from envs.boots import may_be_lost, note_boot, settle
from envs.disk import disk_bytes, write_whole
from envs.errors import BuildGivenUp, EnvironmentBuildFailed
from envs.failures import forget, refuse_if_failing, remember
from envs.file_lists import file_problem, files_below, read_file_list, seal
from envs.indexes import NONE_NAMED, Indexes
from envs.installing import Installer, install
from envs.interpreters import Interpreter
from envs.locks import exclusive, exclusive_now, take_shared
from envs.manifest import Lock, canonical_json
from envs.pylock import is_pylock
from envs.stores import ArtifactStore
from envs.trash import discard, empty_trash
from envs.uv_lock import is_uv_lock
from envs.virtual_environment import create_virtual_environment
from envs.wheel_building import requirements_of

MARKER = ".hwe-layer.json"
FILES = ".hwe-files.json"  # see envs.file_lists
# uv tells the two formats apart by their names.
LOCK_COPY = "hwe-requirements.txt"
PYLOCK_COPY = "pylock.toml"

# Somebody may hold a lease for a moment only to see whether it is a layer.
LOOK_SECONDS = 0.2


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
    more. report: gets each phase as it begins. indexes: those that the project names.
    """

    forgive_before: float = 0.0
    offline: bool = False
    store: ArtifactStore | None = None
    indexes: Indexes = NONE_NAMED
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


def layer_key(cache_root: str, lock: Lock, interpreter: Interpreter) -> str:
    key = {
        "interpreter": interpreter.fingerprint, "lock": lock.sha256, "platform": sys.platform, "root": cache_root,
    }  # fmt: skip
    return hashlib.sha256(canonical_json(key)).hexdigest()


@contextlib.contextmanager
def layer_in_use(
    cache_root: str, lock: Lock, lock_text: str, interpreter: Interpreter, terms: Terms
) -> Iterator[Layer]:
    """The finished layer of this lock, built when it is not there; nobody removes it meanwhile.

    Any number of processes may ask at once; one builds. Raises EnvironmentBuildFailed, also without another try when
    it failed a moment ago (see `refuse_if_failing`), BuildGivenUp, CacheUnusable, OSError; a failed build leaves
    nothing but its log and a note of it.
    """
    key = layer_key(cache_root, lock, interpreter)
    for folder in ("layers", "logs"):
        os.makedirs(os.path.join(cache_root, folder), mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as held:
        yield _found(cache_root, key, held) or _provide(cache_root, key, lock, lock_text, interpreter, terms, held)


def lease_path(cache_root: str, name: str) -> str:
    """Held shared by who builds or runs on this layer, exclusively by who removes it."""
    return os.path.join(cache_root, "leases", f"layer-{name}.lock")


def build_lock_path(cache_root: str, name: str) -> str:
    """Held by who builds this layer, or one beside it."""
    return os.path.join(cache_root, "locks", f"layer-{name.partition('-')[0]}.lock")


def _provide(
    cache_root: str,
    key: str,
    lock: Lock,
    lock_text: str,
    interpreter: Interpreter,
    terms: Terms,
    held: contextlib.ExitStack,
) -> Layer:
    with exclusive(build_lock_path(cache_root, key), terms.wait) as lock_descriptor:
        if layer := _found(cache_root, key, held):
            return layer
        terms.refuse_if_failing(cache_root, key)
        name = _free_place(cache_root, key)
        held.callback(os.close, take_shared(lease_path(cache_root, name)))
        root = os.path.join(cache_root, "layers", name)
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
    """Whether `layer_in_use` has nothing to build."""
    with contextlib.ExitStack() as held:
        return _found(cache_root, layer_key(cache_root, lock, interpreter), held) is not None


def _places(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{number}" for number in itertools.count(2))


def _found(cache_root: str, key: str, held: contextlib.ExitStack) -> Layer | None:
    """The finished layer, with its lease, which `held` gives back."""
    for name in _places(key):
        root = os.path.join(cache_root, "layers", name)
        if not os.path.lexists(root):
            break
        with contextlib.ExitStack() as lease:
            lease.callback(os.close, take_shared(lease_path(cache_root, name)))
            if (layer := _finished(root)) and _is_whole(root):
                held.push(lease.pop_all())
                return layer
    return None


def _is_whole(root: str) -> bool:
    if not may_be_lost(root):
        return True
    with (
        contextlib.suppress(FileNotFoundError),
        open(os.path.join(root, FILES), "rb") as files,
        open(os.path.join(root, MARKER), "rb") as marker,
    ):
        if not any(layer_problems(root, files.read(), marker.read())):
            settle(root)
            return True
    return False


def _free_place(cache_root: str, key: str) -> str:
    """Where to build: in the place of what a killed build left, and beside one that somebody runs on, though its marker
    was damaged or lost.
    """
    for name in _places(key):
        with exclusive_now(lease_path(cache_root, name), patience_seconds=LOOK_SECONDS) as alone:
            if alone:
                _remove(cache_root, os.path.join(cache_root, "layers", name))
                return name
    raise AssertionError("unreachable")


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


def layer_problems(root: str, data: bytes, marker: bytes) -> Iterator[str]:
    """What is not as it was installed, by its list of files and its marker. Raises OSError."""
    try:
        digest = json.loads(marker)["files_sha256"]
    except (ValueError, KeyError, TypeError):
        yield f"{MARKER} is not what was written"
        return
    if hashlib.sha256(data).hexdigest() != digest:
        yield f"{FILES} is not what was written"
        return
    known = read_file_list(data)
    found = {
        path: status
        for path, status in files_below(root)
        # Links lead to the interpreter, and none of a package's files is one. What else is beside bytecode was left
        # there by whoever ran it; no import reads it, except that under `python -O`, which no step runs under.
        if path in known
        or not (
            path in (MARKER, FILES)
            or (stat.S_ISLNK(status.st_mode) and not path.startswith("lib/"))
            or ("/__pycache__/" in path and (not path.endswith(".pyc") or ".opt-" in path))
        )
    }
    for path in sorted(known.keys() | found.keys()):
        if path not in known:
            yield f"{path} does not belong to it"
        elif path not in found:
            yield f"{path} is missing"
        elif problem := file_problem(os.path.join(root, path), known[path], found[path]):
            yield f"{path} {problem}"


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
    os.mkdir(root, 0o755)
    site_packages = create_virtual_environment(root, interpreter, os.path.join(cache_root, "virtualenv"))
    as_pylock = is_pylock(lock.path) or (
        # As requirements they would not say which package is from which index.
        is_uv_lock(lock.path) and terms.indexes.exact and not terms.indexes.left_to_the_user(os.environ)
    )
    name = PYLOCK_COPY if as_pylock else LOCK_COPY
    with open(os.path.join(root, name), "w", encoding="utf-8", newline="\n") as file:
        text = lock_text if is_pylock(lock.path) else requirements_of(lock, lock_text, interpreter, as_pylock=as_pylock)
        file.write(text)
    # Ends uv's search for settings here: a cache may lie inside a project whose own are not meant for this.
    with open(os.path.join(root, "uv.toml"), "w", encoding="utf-8"):
        pass
    log_path = os.path.join(cache_root, "logs", f"layer-{key}{'-offline' if terms.offline else ''}.log")
    installer = Installer(root, lock_descriptor, log_path, terms.given_up, terms.indexes)
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
    note_boot(root)
    write_whole(os.path.join(root, MARKER), canonical_json(marker))
    return Layer(root, site_packages)
