"""Wheels kept beside the artifacts, so that a layer can be installed when no index has them any more.

    wheels/<aa>/<sha256>.whl                      each file once, by its content
    wheel-lists/<lock's sha256>/<target>.json     {"format":1,"wheels":[{"built":…,"file":…,"sha256":…,"size_bytes":…}]}

A list holds everything that one lock installs on one target, "cp312-linux-x86_64". What comes out of a store is
checked: a wheel must be what its list says, and one of its hashes must be in the lock, unless it was built from a
source distribution (`built`): of such a one no lock can know the hash, and who may write to the store is trusted with
it.
"""

import hashlib
import io
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from typing import cast

from envs.artifact import CHUNK_BYTES
from envs.errors import WheelsUnusable
from envs.interpreters import Interpreter
from envs.manifest import canonical_json, is_sha256
from envs.stores import ArtifactStore, KeepsFiles, files_of

FORMAT = 1
MAX_LIST_BYTES = 16 * 1024**2

_FILE = re.compile(r"\w[\w.!+-]*\.whl", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wheel:
    """file: its name, which says what it fits. built: from a source distribution, so that the lock has another hash."""

    built: bool
    file: str
    sha256: str
    size_bytes: int

    @property
    def pin(self) -> str:
        """As a line of a lock of its own."""
        name, version, _ = self.file.split("-", 2)
        return f"{name}=={version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class WheelList:
    """All wheels of one lock for one target, by file name."""

    lock_sha256: str
    target: str
    wheels: tuple[Wheel, ...]


def target_of(interpreter: Interpreter) -> str:
    """What wheels have to fit, as far as a name can say it: implementation, version, system, processor."""
    build = json.loads(interpreter.fingerprint)[1]
    minor = "".join(interpreter.version.split(".")[:2])
    free_threaded = "t" if interpreter.free_threaded else ""
    return re.sub(r"[^a-z0-9_.-]", "_", f"cp{minor}{free_threaded}-{build['platform']}".lower())


def wheel_lists(store: KeepsFiles, lock_sha256: str) -> list[str]:
    """The targets for which a store has the wheels of that lock. Raises StoreUnusable."""
    names = store.file_names(f"wheel-lists/{lock_sha256}")
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


def read_wheel_list(store: KeepsFiles, lock_sha256: str, target: str) -> WheelList | None:
    """None when there is none. Raises WheelsUnusable, StoreUnusable."""
    file = store.open_file(_list_name(lock_sha256, target))
    if file is None:
        return None
    with file:
        data = file.read(MAX_LIST_BYTES)
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise WheelsUnusable(f"the list for {target} has the format {document['format']!a}; this release reads 1")
        wheels = tuple(_wheel(entry) for entry in document["wheels"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WheelsUnusable(f"the list for {target} cannot be read; store them again: hwe capture --wheels") from None
    return WheelList(lock_sha256, target, wheels)


def put_wheel_list(store: KeepsFiles, wheels: WheelList) -> None:
    """After its wheels: whoever finds a list finds them. Raises StoreUnusable."""
    document = {"format": FORMAT, "wheels": [asdict(wheel) for wheel in wheels.wheels]}
    store.put_file(_list_name(wheels.lock_sha256, wheels.target), io.BytesIO(canonical_json(document)))


def is_kept(store: KeepsFiles, wheel: Wheel) -> bool:
    """Whether the store has it, whole. Raises StoreUnusable."""
    there = store.open_file(_wheel_name(wheel))
    if there is None:
        return False
    with there:
        return hashlib.file_digest(cast("io.BufferedReader", there), "sha256").hexdigest() == wheel.sha256


def put_wheel(store: KeepsFiles, wheel: Wheel, path: str) -> bool:
    """Keep the wheel at `path`; whether it was not there yet, or not as it should be. Raises StoreUnusable."""
    if is_kept(store, wheel):
        return False
    with open(path, "rb") as source:
        store.put_file(_wheel_name(wheel), source)
    return True


def is_locked(path: str, lock_text: str) -> bool:
    """Whether a lock has that file by one of its hashes."""
    with open(path, "rb") as file:
        for name in ("sha256", "sha384", "sha512"):
            file.seek(0)
            if hashlib.file_digest(file, name).hexdigest() in lock_text:
                return True
    return False


def fetch_wheels(store: KeepsFiles, wheels: WheelList, lock_text: str, folder: str) -> str:
    """Put them into `folder`, each verified; gives the lock that names exactly them.

    Raises WheelsUnusable, StoreUnusable, OSError.
    """
    for wheel in wheels.wheels:
        source = store.open_file(_wheel_name(wheel))
        if source is None:
            raise WheelsUnusable(f"{wheel.file} is missing; store them again: hwe capture --wheels")
        digest = hashlib.sha256()
        path = os.path.join(folder, wheel.file)
        with source, open(path, "wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != wheel.sha256:
            raise WheelsUnusable(f"{wheel.file} is not what its hash says; store them again: hwe capture --wheels")
        if not wheel.built and not is_locked(path, lock_text):
            raise WheelsUnusable(f"{wheel.file} is not in the lock; store them again: hwe capture --wheels")
    return "".join(f"{wheel.pin}\n" for wheel in wheels.wheels)


def copy_wheels(code_version_hash: str, source: ArtifactStore, target: ArtifactStore | KeepsFiles) -> list[Wheel]:
    """All wheels that `source` has for the lock of a version into `target`, verified on the way; those that were new.

    Raises CodeVersionNotFound, ArtifactCorrupt, WheelsUnusable, StoreUnusable, OSError.
    """
    here, there = files_of(source), files_of(target)
    if here is None or there is None:
        return []
    with source.get(code_version_hash) as stored:
        lock = stored.verify().lock
    new = []
    for name in wheel_lists(here, lock.sha256) if lock else ():
        wheels = read_wheel_list(here, lock.sha256, name) if lock else None
        if wheels is None or wheels == _list_there(there, wheels):
            continue
        with tempfile.TemporaryDirectory(prefix="hwe-wheels-") as folder:
            # Whoever installs them compares them with the lock.
            fetch_wheels(here, wheels, " ".join(wheel.sha256 for wheel in wheels.wheels), folder)
            new += [wheel for wheel in wheels.wheels if put_wheel(there, wheel, os.path.join(folder, wheel.file))]
        put_wheel_list(there, wheels)
    return new


def _list_there(store: KeepsFiles, wheels: WheelList) -> WheelList | None:
    try:
        return read_wheel_list(store, wheels.lock_sha256, wheels.target)
    except WheelsUnusable:
        return None


def _wheel(entry: dict[str, object]) -> Wheel:
    match entry:
        case {"built": bool(built), "file": str(file), "sha256": str(sha256), "size_bytes": int(size)} if (
            is_sha256(sha256) and _FILE.fullmatch(file) and file.count("-") in (4, 5)
        ):
            return Wheel(built, file, sha256, size)
    raise ValueError("not a wheel")


def _list_name(lock_sha256: str, target: str) -> str:
    return f"wheel-lists/{lock_sha256}/{target}.json"


def _wheel_name(wheel: Wheel) -> str:
    return f"wheels/{wheel.sha256[:2]}/{wheel.sha256}.whl"
