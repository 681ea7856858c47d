"""Bytecode of projects, shared by all versions with the same source: a deploy compiles what it changed.

    <cache>/bytecode/<interpreter>/<aa>/<sha256 of the source>-<sha256 of the bytecode>.pyc    a hard link to each

Nothing of the project but the source decides what is in it: names of files are those inside the project, and an import
puts the place instead. A file that no environment links to any more is removed by gc.
"""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from envs.disk import BLOCK_BYTES
from envs.interpreters import Interpreter
from envs.manifest import FileEntry, is_sha256

BYTECODE = "bytecode"

# compileall does no more and takes twice as long to import. No path has a line break in it.
_COMPILE = """
import os, py_compile, sys
for path in sys.stdin.buffer.read().decode("utf-8").split("\\n"):
    try:
        file, mode = os.path.join(sys.argv[1], path), py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(file, dfile=path, doraise=True, invalidation_mode=mode)
    except Exception:
        pass
"""


def compile_project(
    cache_root: str,
    project: str,
    files: Sequence[FileEntry],
    python: str,
    interpreter: Interpreter,
    lock_descriptor: int,
) -> int:
    """Give all sources of the `project` directory their bytecode, unchecked by imports; the bytes of what is new.

    A file that does not compile is no failure: templates of code live in projects, and an import would say so.
    `lock_descriptor` is inherited by what is started. Raises OSError.
    """
    shelf = _Shelf(cache_root, interpreter)
    missing = []
    for file in files:
        if file.path.endswith(".py"):
            target = _target(project, file.path, interpreter)
            if not shelf.link(file.sha256, target):
                missing.append((file, target))
    if not missing:
        return 0
    subprocess.run(
        [python, "-I", "-S", "-c", _COMPILE, project], input="\n".join(file.path for file, _ in missing).encode(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[lock_descriptor], check=False,
    )  # fmt: skip
    return sum(shelf.keep(file.sha256, target) for file, target in missing)


def bytecode_bytes(cache_root: str) -> int:
    """What all of it takes on the disk."""
    return sum(status.st_blocks * BLOCK_BYTES for _, status in _kept(cache_root))


def sweep_bytecode(cache_root: str) -> int:
    """Remove what no environment links to; the bytes that were freed. Raises OSError."""
    freed = 0
    for path, status in _kept(cache_root):
        # Somebody may link to it in this very moment: then the link stays, and who comes next compiles it again.
        if status.st_nlink == 1:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                freed += status.st_blocks * BLOCK_BYTES
    return freed


class _Shelf:
    """The bytecode that one build of an interpreter can run."""

    def __init__(self, cache_root: str, interpreter: Interpreter) -> None:
        build = hashlib.sha256(interpreter.fingerprint.encode()).hexdigest()[:16]
        os.makedirs(os.path.join(cache_root, BYTECODE), mode=0o700, exist_ok=True)  # of those below, none is let in
        self._root = os.path.join(cache_root, BYTECODE, build)
        self._listed: dict[str, dict[str, str]] = {}

    def link(self, source: str, target: str) -> bool:
        """Whether `target` now is the bytecode of that source. What is damaged is removed."""
        digest = self._shard(source[:2]).get(source)
        if digest is None:
            return False
        path = self._path(source, digest)
        try:
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    os.unlink(path)
                    return False
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.link(path, target)
        except OSError:  # gone meanwhile; as many links as the file system allows, or a file system without
            return False
        return True

    def keep(self, source: str, target: str) -> int:
        """Share the bytecode in `target`, if there is any; the bytes that are shared now."""
        with contextlib.suppress(OSError):  # full, or without links: then it is this version's alone
            with open(target, "rb") as file:
                os.fchmod(file.fileno(), 0o444)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            path = self._path(source, digest)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.link(target, path)
            return os.stat(path).st_blocks * BLOCK_BYTES
        return 0

    def _path(self, source: str, digest: str) -> str:
        return os.path.join(self._root, source[:2], f"{source}-{digest}.pyc")

    def _shard(self, name: str) -> dict[str, str]:
        """Source → bytecode, by their digests."""
        if name not in self._listed:
            try:
                names = [entry[:-4].split("-") for entry in os.listdir(os.path.join(self._root, name))]
            except OSError:
                names = []
            self._listed[name] = {pair[0]: pair[1] for pair in names if len(pair) == 2 and all(map(is_sha256, pair))}
        return self._listed[name]


def _target(project: str, path: str, interpreter: Interpreter) -> str:
    folder, name = os.path.split(os.path.join(project, path))
    return os.path.join(folder, "__pycache__", f"{name[:-3]}.{interpreter.cache_tag}.pyc")


def _kept(cache_root: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, _, names in os.walk(os.path.join(cache_root, BYTECODE)):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, os.stat(path)
