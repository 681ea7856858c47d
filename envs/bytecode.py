"""Bytecode of projects, shared by all versions with the same source: a deploy compiles what it changed.

    <cache>/bytecode/<interpreter>/<aa>/<sha256 of the source>-<sha256 of the bytecode>.pyc    a hard link to each

Nothing of the project but the source decides what is in it: names of files are those inside the project, and an import
puts the place instead. A file that no environment links to any more is removed by gc.
"""

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from envs.child_processes import output_of
from envs.disk import BLOCK_BYTES
from envs.interpreters import Interpreter
from envs.manifest import MAX_NAME_BYTES, FileEntry, canonical_json, is_sha256

BYTECODE = "bytecode"

# What py_compile writes, without the modules that it imports, which take longer than most projects' sources:
# PEP 552, unchecked. Input: a number of bytes, a line break, and so many: name, source and target, one after the other,
# zero bytes between. Without all of it, whoever wanted it compiled is gone.
_COMPILE = """
import _imp, marshal, posix, sys
from _frozen_importlib_external import MAGIC_NUMBER
size = int(sys.stdin.buffer.readline())
words = sys.stdin.buffer.read(size)
if len(words) != size:
    raise EOFError
words = iter(words.split(b"\\0"))
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


class Compilation:
    """Gives all sources of the `project` directory their bytecode, unchecked by imports, beside what else is to do.

    Entered before anything is in that directory, since an interpreter takes its time to start. `lock_descriptor` is
    inherited by it. Left, there is nothing of it any more. All of it raises OSError.
    """

    def __init__(
        self,
        cache_root: str,
        project: str,
        files: Sequence[FileEntry],
        interpreter: Interpreter,
        lock_descriptor: int,
        given_up: Callable[[], bool] = bool,
    ) -> None:
        self._project = project
        self._interpreter = interpreter
        self._sources = [file for file in files if file.path.endswith(".py") and self._has_room(file.path)]
        self._lock_descriptor = lock_descriptor
        self._given_up = given_up
        self._shelf = _Shelf(cache_root, interpreter)
        self._compiler: subprocess.Popen[bytes] | None = None
        self._digests: dict[str, str] = {}  # of bytecode, by its path
        self._missing: dict[str, str] = {}  # digests of sources, by the path of their bytecode

    def __enter__(self) -> Self:
        if not all(self._shelf.has(file.sha256) for file in self._sources):
            self._compiler = self._start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._compiler:
            self._compiler.kill()
            self._compiler.communicate()

    def begin(self) -> None:
        """The sources are there now: link what was compiled before, and have the rest compiled."""
        words = []
        folders = set()
        for file in self._sources:
            path = _bytecode_path(file.path, self._interpreter)
            target = f"{self._project}/{path}"
            folder = os.path.dirname(target)
            if folder not in folders:
                with contextlib.suppress(FileExistsError):  # an artifact may bring one along
                    os.mkdir(folder)
                folders.add(folder)
            if digest := self._shelf.link(file.sha256, target):
                self._digests[path] = digest
            else:
                self._missing[path] = file.sha256
                words += [file.path, f"{self._project}/{file.path}", target]
        if not words:
            return
        self._compiler = self._compiler or self._start()
        assert self._compiler.stdin is not None
        data = b"\0".join(map(os.fsencode, words))
        with contextlib.suppress(BrokenPipeError):  # killed: see `finish`
            self._compiler.stdin.write(b"%d\n%b" % (len(data), data))
            self._compiler.stdin.flush()

    def finish(self) -> tuple[int, str]:
        """Wait. Gives the bytes of what is new, and the `compiled_digest` of all.

        A file that does not compile is no failure: templates of code live in projects, and an import would say so.
        Raises BuildGivenUp when `given_up` says so.
        """
        new_bytes = 0
        if self._missing:
            assert self._compiler is not None
            output_of(self._compiler, self._given_up)
            failed = self._compiler.returncode != 0  # killed, or out of space: whoever imports it compiles the rest
            for path, source in self._missing.items():
                target = f"{self._project}/{path}"
                if failed:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{target}.part")
                with contextlib.suppress(FileNotFoundError):
                    self._digests[path], kept = self._shelf.keep(source, target)
                    new_bytes += kept
        return new_bytes, _digest_of(self._digests)

    def _has_room(self, source: str) -> bool:
        """Whether a file system takes the longer name of its bytecode: else an import compiles the source each time."""
        name = os.path.basename(_bytecode_path(source, self._interpreter))
        return len(os.fsencode(f"{name}.part")) <= MAX_NAME_BYTES

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._interpreter.path, "-I", "-S", "-c", _COMPILE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=[self._lock_descriptor],
            start_new_session=True,  # a Ctrl-C on our terminal is for us
        )  # fmt: skip


def compiled_digest(project: str) -> str:
    """Of all bytecode that stands in for the project's sources, which no import looks at again."""
    digests = {}
    for folder, _, names in os.walk(project):
        if os.path.basename(folder) == "__pycache__":
            for name in names:
                if ".opt-" not in name:  # for `python -O`, which no step runs under
                    path = os.path.join(folder, name)
                    digests[os.path.relpath(path, project)] = _file_digest(path)
    return _digest_of(digests)


def bytecode_bytes(cache_root: str) -> int:
    """What all of it takes on the disk."""
    return sum(status.st_blocks * BLOCK_BYTES for _, status in _kept(cache_root))


def sweep_bytecode(cache_root: str) -> int:
    """Remove what no environment links to; the bytes that are left. Raises OSError."""
    left = 0
    for path, status in _kept(cache_root):
        # Somebody may link to it in this very moment: then the link stays, and who comes next compiles it again.
        if status.st_nlink == 1:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            left += status.st_blocks * BLOCK_BYTES
    return left


class _Shelf:
    """The bytecode that one build of an interpreter can run."""

    def __init__(self, cache_root: str, interpreter: Interpreter) -> None:
        build = hashlib.sha256(interpreter.fingerprint.encode()).hexdigest()[:16]
        os.makedirs(os.path.join(cache_root, BYTECODE), mode=0o700, exist_ok=True)  # of those below, none is let in
        self._root = os.path.join(cache_root, BYTECODE, build)
        self._listed: dict[str, dict[str, str]] = {}

    def has(self, source: str) -> bool:
        """Whether that source was compiled before, as far as names tell."""
        return self._digest(source) is not None

    def link(self, source: str, target: str) -> str | None:
        """Make `target` the bytecode of that source: its digest, or None without. What is damaged is removed."""
        digest = self._digest(source)
        if digest is None:
            return None
        path = self._path(source, digest)
        try:
            if _file_digest(path) != digest:
                os.unlink(path)
                return None
            os.link(path, target)
        except OSError:  # gone meanwhile; as many links as the file system allows, or a file system without
            return None
        return digest

    def keep(self, source: str, target: str) -> tuple[str, int]:
        """Share the bytecode in `target`: its digest, and the bytes that are shared now. Raises FileNotFoundError."""
        digest = _file_digest(target)
        with contextlib.suppress(OSError):  # full, or without links: then it is this version's alone
            os.chmod(target, 0o444)
            path = self._path(source, digest)
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.link(target, path)
            return digest, os.stat(path).st_blocks * BLOCK_BYTES
        return digest, 0

    def _path(self, source: str, digest: str) -> str:
        return os.path.join(self._root, source[:2], f"{source}-{digest}.pyc")

    def _digest(self, source: str) -> str | None:
        """Of the bytecode of that source, as its name tells it."""
        shard = source[:2]
        if shard not in self._listed:
            try:
                names = os.listdir(os.path.join(self._root, shard))
            except OSError:
                names = []
            self._listed[shard] = {name[:64]: name[65:-4] for name in names}
        digest = self._listed[shard].get(source)
        return digest if is_sha256(digest) else None


def _bytecode_path(source: str, interpreter: Interpreter) -> str:
    """Where an import looks for the bytecode of `source`; both inside of a project."""
    folder, slash, name = source.rpartition("/")
    return f"{folder}{slash}__pycache__/{name[:-3]}.{interpreter.cache_tag}.pyc"


def _file_digest(path: str) -> str:
    # Not `hashlib.file_digest`: to clear its buffer takes longer than to read most bytecode.
    with open(path, "rb", buffering=0) as file:
        return hashlib.sha256(file.readall()).hexdigest()


def _digest_of(digests: dict[str, str]) -> str:
    """One digest of those of all files, by path."""
    digest = hashlib.sha256()
    for path in sorted(digests, key=lambda path: path.split("/")):
        digest.update(canonical_json([*path.rsplit("/", 1), digests[path]]))
    return digest.hexdigest()


def _kept(cache_root: str) -> Iterator[tuple[str, os.stat_result]]:
    # Not `os.walk`: to put the paths together takes longer than to look at them, and there is one for every version.
    folders = [os.path.join(cache_root, BYTECODE)]
    while folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    yield entry.path, entry.stat(follow_symlinks=False)
