"""From a directory to a code version: manifest and artifact come from one reading of every file."""

import hashlib
import io
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO, BinaryIO, cast

from envs.artifact import CHUNK_BYTES, ArtifactWriter
from envs.errors import (
    CacheUnusable,
    ProjectChanged,
    ProjectError,
    ProjectSettingsInvalid,
    ProjectTooLarge,
    UnlockedRequirements,
    UnreadableFile,
    explain_os_error,
)
from envs.manifest import MAX_MANIFEST_BYTES, MAX_TOTAL_BYTES, FileEntry, Lock, Manifest
from envs.project_files import ProjectFile, list_project_files, survey
from envs.requirements_lock import COMPILE_UV_LOCK, FOREIGN_LOCKS, lock_text, read_lock, refuse_missing_lock
from envs.settings import (
    ProjectSettings,
    open_regular,
    read_project_settings,
    read_pyproject,
    read_small_file,
)
from envs.stat_cache import Snapshot, Stat, StatCache, default_folder, stat_of
from envs.uv_lock import is_uv_lock, missing_in_uv_lock

# Projects are mostly below a megabyte; the disk is touched only for the others.
MEMORY_BYTES = 8 * 1024**2


class _Content:
    """The bytes of one artifact, in memory or in an unnamed file, to be read by any number of readers."""

    def __init__(self, spooled: IO[bytes], size: int) -> None:
        self.size = size
        self._memory: bytes | None = None
        self._spooled: IO[bytes] | None = None
        if size <= MEMORY_BYTES:
            spooled.seek(0)
            self._memory = spooled.read()
            spooled.close()
        else:
            spooled.flush()  # readers go to the descriptor, past the buffer
            self._spooled = spooled
            weakref.finalize(self, spooled.close)

    def open(self) -> BinaryIO:
        if self._memory is not None:
            return io.BytesIO(self._memory)
        assert self._spooled is not None
        return cast("BinaryIO", io.BufferedReader(_Positioned(self, self._spooled.fileno()), CHUNK_BYTES))


class _Later:
    """The bytes of an artifact that nobody may ever ask for, since the stores have it: made from the project then."""

    def __init__(self, project: str, known: Snapshot) -> None:
        self._project = project
        self._known = known
        self._version: CodeVersion | None = None
        self._lock = threading.Lock()

    def open(self) -> BinaryIO:
        with self._lock:
            if self._version is None:
                version = capture(self._project, reread=True)
                if version.artifact_id != self._known.artifact_id:
                    raise ProjectChanged(self._project)
                self._version = version
        return self._version.open_artifact()


class _Positioned(io.RawIOBase):
    """A reader with a position of its own on a descriptor that others read too."""

    def __init__(self, content: _Content, descriptor: int) -> None:
        self._content = content  # keeps the descriptor open
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        data = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True)
class CodeVersion:
    """A captured project: hash, manifest, artifact. Independent of the directory it came from.

    project: name of that directory. size_bytes: of the artifact.
    """

    hash: str
    manifest: Manifest
    artifact_id: str
    project: str
    size_bytes: int
    _content: _Content | _Later = field(repr=False, compare=False)

    def open_artifact(self) -> BinaryIO:
        """A new reader at byte 0, seekable; close it."""
        return self._content.open()


def capture(
    project_dir: str | os.PathLike[str], *, stat_cache: str | os.PathLike[str] | None = None, reread: bool = False
) -> CodeVersion:
    """Capture the project in `project_dir`.

    The same bytes give the same hash on every machine. Whatever is edited meanwhile, the manifest agrees with
    the artifact. Files of a large project that were read before, and whose status says that nothing has touched them
    since, are not read again. `stat_cache`: the directory where that is noted; default: `captures` in HWE_HOME or in
    the user's caches. `reread`: read everything all the same.

    Raises ProjectError (see its subclasses), or CacheUnusable when the directory for temporary files is full.
    """
    given = os.path.abspath(project_dir)
    began = time.time_ns()
    kept: dict[str, bytes] = {}
    settings = read_project_settings(given, keep=kept)
    root = os.path.realpath(given)
    cache = StatCache(os.path.realpath(stat_cache) if stat_cache else default_folder())
    name = os.path.basename(given) or "project"
    if not reread and (known := _unchanged(cache, root, settings, kept, began)):
        later = _Later(given, known)
        return CodeVersion(known.code_version_hash, known.manifest, known.artifact_id, name, known.size_bytes, later)
    files = list_project_files(root, settings)
    lock = _lock(root, settings, kept)
    spooled = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES))  # noqa: SIM115  # see _Content
    try:
        manifest, artifact_id, size, stats = _write(cast("BinaryIO", spooled), root, files, kept, settings, lock)
        content = _Content(spooled, size)
    except OSError as error:
        spooled.close()
        raise CacheUnusable(tempfile.gettempdir(), explain_os_error(error), "directory for temporary files") from error
    except BaseException:
        spooled.close()
        raise
    code_version_hash = manifest.code_version_hash
    cache.write(root, Snapshot(manifest, code_version_hash, artifact_id, size, began, stats))
    return CodeVersion(code_version_hash, manifest, artifact_id, name, size, content)


def _unchanged(
    cache: StatCache, root: str, settings: ProjectSettings, kept: dict[str, bytes], began: int
) -> Snapshot | None:
    """What the last capture found, when this one would find the same."""
    known = cache.read(root)
    if known is None or known.manifest.python != settings.python:
        return None
    lock = known.manifest.lock
    try:
        # Without a lock, files that are not of the project may say that one is wanted: that is quickly asked again.
        if (lock and lock.path) != settings.requirements and (lock or _lock(root, settings, kept)):
            return None
        found = survey(root, settings)
    except (ProjectError, OSError):
        return None  # the whole capture says what is wrong
    is_same, has_read = known.is_of(found)
    if not is_same:
        return None
    if has_read:
        stats = [None if path in kept else stat_of(status) for path, _, status in found]
        cache.write(root, replace(known, began_ns=began, stats=stats))
    return known


def _lock(root: str, settings: ProjectSettings, kept: dict[str, bytes]) -> Lock | None:
    if settings.requirements is None:
        has_file = {name: os.path.isfile(os.path.join(root, name)) for name in FOREIGN_LOCKS}
        refuse_missing_lock(read_pyproject(root, kept), has_file)
        return None
    data = read_small_file(root, settings.requirements, kept)
    if data is None:
        raise ProjectSettingsInvalid(settings.requirements, "it vanished while the project was captured; try again")
    lock = read_lock(settings.requirements, data)
    if is_uv_lock(settings.requirements):
        missing = missing_in_uv_lock(lock_text(data), read_pyproject(root, kept))
        if missing:
            problem = f"is older than pyproject.toml, which depends on {', '.join(missing)}"
            raise UnlockedRequirements(settings.requirements, problem, COMPILE_UV_LOCK)
    return lock


def _write(
    spooled: BinaryIO,
    root: str,
    files: list[ProjectFile],
    kept: dict[str, bytes],
    settings: ProjectSettings,
    lock: Lock | None,
) -> tuple[Manifest, str, int, list[Stat | None]]:
    writer = ArtifactWriter(spooled)
    entries: list[FileEntry] = []
    stats: list[Stat | None] = []
    left = MAX_TOTAL_BYTES
    for file in files:
        status, chunks = _open(file, kept.get(file.path))
        # The owner's bit alone: those of group and others follow the umask of a checkout.
        executable = bool(status.st_mode & 0o100)
        # One that was read before its status was taken may have changed between.
        stats.append(None if file.path in kept else stat_of(status))
        sha256, size = writer.add(file.path, executable, _capped(chunks, left, root))
        entries.append(FileEntry(file.path, sha256, size, executable))
        left -= size
    manifest = Manifest(tuple(entries), lock, settings.python)
    if len(manifest.to_bytes()) > MAX_MANIFEST_BYTES:
        raise ProjectTooLarge(root, "has paths of more bytes than a manifest may have")
    writer.finish(manifest)
    size = spooled.tell()
    spooled.seek(0)
    digest = hashlib.sha256()
    while chunk := spooled.read(CHUNK_BYTES):
        digest.update(chunk)
    return manifest, digest.hexdigest(), size, stats


def _open(file: ProjectFile, held: bytes | None) -> tuple[os.stat_result, Iterator[bytes]]:
    """The status of a file, and then its content; `held`: that content, when it was read before."""
    try:
        descriptor = open_regular(file.disk_path, file.path)
    except OSError as error:
        raise UnreadableFile(file.path, error.strerror or str(error)) from None
    status = os.fstat(descriptor)
    if held is None:
        return status, _chunks(descriptor, file.path)
    os.close(descriptor)
    return status, iter([held])


def _chunks(descriptor: int, path: str) -> Iterator[bytes]:
    with open(descriptor, "rb", buffering=0) as source:
        while True:
            try:
                chunk = source.read(CHUNK_BYTES)
            except OSError as error:
                raise UnreadableFile(path, error.strerror or str(error)) from None
            if not chunk:
                return
            yield chunk


def _capped(chunks: Iterator[bytes], left: int, root: str) -> Iterator[bytes]:
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise ProjectTooLarge(root, f"has more than {MAX_TOTAL_BYTES} bytes")
        yield chunk
