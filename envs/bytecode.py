"""Bytecode of projects, shared by all versions with the same source: a deploy compiles what it changed.

    <cache>/bytecode/<interpreter>/<aa>/<sha256 of the source>-<sha256 of the bytecode>.pyc    a hard link to each

Nothing of the project but the source decides what is in it: names of files are those inside the project, and an import
puts the place instead. A file that no environment links to any more is removed by gc.
"""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence

from envs.disk import BLOCK_BYTES
from envs.interpreters import Interpreter
from envs.manifest import FileEntry, is_sha256

BYTECODE = "bytecode"

# What py_compile writes, without the modules that it imports, which take longer than most projects' sources:
# PEP 552, unchecked. Input: name, source and target, one after the other, each ended by a zero byte.
_COMPILE = """
import _imp, marshal, posix, sys
from _frozen_importlib_external import MAGIC_NUMBER
words = iter(sys.stdin.buffer.read().split(b"\\0")[:-1])
for name, source, target in zip(words, words, words):
    try:
        with open(source, "rb") as file:
            data = file.read()
        code = compile(data, name.decode(), "exec", dont_inherit=True)
        seal = _imp.source_hash(int.from_bytes(MAGIC_NUMBER, "little"), data)
        bytecode = MAGIC_NUMBER + b"\\1\\0\\0\\0" + seal + marshal.dumps(code)
    except Exception:
        continue
    with open(target + b".part", "wb") as file:
        file.write(bytecode)
    posix.rename(target + b".part", target)
"""


@contextlib.contextmanager
def compiling(
    cache_root: str, project: str, files: Sequence[FileEntry], interpreter: Interpreter, lock_descriptor: int
) -> Iterator[Callable[[], int]]:
    """Give all sources of the `project` directory their bytecode, unchecked by imports, beside what the body does.

    Calling what is yielded waits for it, and returns the bytes of what is new. A file that does not compile is no
    failure: templates of code live in projects, and an import would say so. `lock_descriptor` is inherited by what is
    started, and nothing that was started is left. Raises OSError.
    """
    shelf = _Shelf(cache_root, interpreter)
    missing = []
    with tempfile.TemporaryFile(dir=cache_root) as words:
        for file in files:
            if file.path.endswith(".py"):
                source, target = _paths(project, file.path, interpreter)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if not shelf.link(file.sha256, target):
                    missing.append((file.sha256, target))
                    for word in (file.path, source, target):
                        words.write(os.fsencode(word) + b"\0")
        if not missing:
            yield lambda: 0
            return
        words.seek(0)
        compiler = subprocess.Popen(
            [interpreter.path, "-I", "-S", "-c", _COMPILE],
            stdin=words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[lock_descriptor],
        )  # fmt: skip

    def finish() -> int:
        if compiler.wait() != 0:  # killed, or out of space; the rest is compiled by whoever imports it
            for _, target in missing:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{target}.part")
        return sum(shelf.keep(source, target) for source, target in missing)

    try:
        yield finish
    finally:
        compiler.kill()
        compiler.wait()


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


def _paths(project: str, path: str, interpreter: Interpreter) -> tuple[str, str]:
    """Of a source, and of its bytecode."""
    source = os.path.join(project, path)
    folder, name = os.path.split(source)
    return source, os.path.join(folder, "__pycache__", f"{name[:-3]}.{interpreter.cache_tag}.pyc")


def _kept(cache_root: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, _, names in os.walk(os.path.join(cache_root, BYTECODE)):
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, os.stat(path)
