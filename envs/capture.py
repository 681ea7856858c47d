"""From a directory to a code version: manifest and artifact come from one reading of every file."""

import hashlib
import io
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO, cast

from envs.artifact import CHUNK_BYTES, ArtifactWriter
from envs.errors import (
    CacheUnusable,
    ProjectSettingsInvalid,
    ProjectTooLarge,
    UnlockedRequirements,
    UnreadableFile,
    explain_os_error,
)
from envs.manifest import MAX_MANIFEST_BYTES, MAX_TOTAL_BYTES, FileEntry, Lock, Manifest
from envs.project_files import ProjectFile, list_project_files
from envs.requirements_lock import COMPILE_UV_LOCK, FOREIGN_LOCKS, lock_text, read_lock, refuse_missing_lock
from envs.settings import (
    ProjectSettings,
    open_regular,
    read_project_settings,
    read_pyproject,
    read_small_file,
)
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
    _content: _Content = field(repr=False, compare=False)

    def open_artifact(self) -> BinaryIO:
        """A new reader at byte 0, seekable; close it."""
        return self._content.open()


def capture(project_dir: str | os.PathLike[str]) -> CodeVersion:
    """Capture the project in `project_dir`.

    The same bytes give the same hash on every machine. Whatever is edited meanwhile, the manifest agrees with
    the artifact. Raises ProjectError (see its subclasses), or CacheUnusable when the directory for temporary
    files is full.
    """
    given = os.path.abspath(project_dir)
    kept: dict[str, bytes] = {}
    settings = read_project_settings(given, keep=kept)
    root = os.path.realpath(given)
    files = list_project_files(root, settings)
    lock = _lock(root, settings, kept)
    spooled = cast("IO[bytes]", tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES))  # noqa: SIM115  # see _Content
    try:
        manifest, artifact_id, size = _write(cast("BinaryIO", spooled), root, files, kept, settings, lock)
        content = _Content(spooled, size)
    except OSError as error:
        spooled.close()
        raise CacheUnusable(tempfile.gettempdir(), explain_os_error(error)) from error
    except BaseException:
        spooled.close()
        raise
    name = os.path.basename(given) or "project"
    return CodeVersion(manifest.code_version_hash, manifest, artifact_id, name, size, content)


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
            problem = f"is older than pyproject.toml, which depends on {', '.join(missing)} as well"
            raise UnlockedRequirements(settings.requirements, problem, COMPILE_UV_LOCK)
    return lock


def _write(
    spooled: BinaryIO,
    root: str,
    files: list[ProjectFile],
    kept: dict[str, bytes],
    settings: ProjectSettings,
    lock: Lock | None,
) -> tuple[Manifest, str, int]:
    writer = ArtifactWriter(spooled)
    entries: list[FileEntry] = []
    left = MAX_TOTAL_BYTES
    for file in files:
        executable, chunks = _open(file, kept.get(file.path))
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
    return manifest, digest.hexdigest(), size


def _open(file: ProjectFile, held: bytes | None) -> tuple[bool, Iterator[bytes]]:
    """Whether the file is executable, and its content; `held`: that content, when it was read before."""
    try:
        descriptor = open_regular(file.disk_path, file.path)
    except OSError as error:
        raise UnreadableFile(file.path, error.strerror or str(error)) from None
    # The owner's bit alone: those of group and others follow the umask of a checkout.
    executable = bool(os.fstat(descriptor).st_mode & 0o100)
    if held is None:
        return executable, _chunks(descriptor, file.path)
    os.close(descriptor)
    return executable, iter([held])


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
