"""The artifact: a ZIP of which every byte follows from the manifest and the contents of the files.

    files/<path> …   in the order of the manifest
    manifest.json    last, since it is known only when all files have been read
    central directory, end record

STORED only: zlib's output differs between its builds, and what is not compressed cannot be a bomb. All times
are 1980-01-01, all modes 0644 or 0755, there are no extra fields and no comments. Any unzip program opens it,
but we do not read it as a ZIP: `verify` follows the manifest and demands, byte for byte, the archive that
this module would have written. Whatever a hostile archive does with headers that contradict each other, it is
not those bytes.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from envs.errors import ArtifactCorrupt
from envs.manifest import (
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    MAX_PATH_BYTES,
    MAX_TOTAL_BYTES,
    Manifest,
    ManifestInvalid,
)

MANIFEST_NAME = b"manifest.json"
FILES_PREFIX = b"files/"

CHUNK_BYTES = 1024**2  # large enough that hashing dominates, small enough to be no memory to speak of

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_LOCATOR = struct.Struct("<4sIQI")

_VERSION_NEEDED = 20  # 2.0, for folders; what every ZIP program understands
_VERSION_NEEDED_64 = 45  # 4.5, for the ZIP64 end record
_MADE_BY = 3 << 8 | _VERSION_NEEDED  # 3: Unix, so that the modes count
_UTF8_NAMES = 0x800
_DOS_DATE = 1 << 5 | 1  # 1980-01-01, the first day a ZIP can express
_COUNT_LIMIT = 0xFFFF  # from here on the number of entries needs the ZIP64 end record

# Every header around every file at its longest, and the records at the end.
MAX_ARTIFACT_BYTES = (
    MAX_TOTAL_BYTES
    + MAX_MANIFEST_BYTES
    + (MAX_FILES + 1) * (_LOCAL.size + _CENTRAL.size + 2 * (MAX_PATH_BYTES + len(FILES_PREFIX)))
    + _END64.size
    + _END64_LOCATOR.size
    + _END.size
)


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    crc32: int
    size: int
    executable: bool
    offset: int

    def local_header(self) -> bytes:
        fixed = (_VERSION_NEEDED, _UTF8_NAMES, 0, 0, _DOS_DATE)
        return _LOCAL.pack(b"PK\3\4", *fixed, self.crc32, self.size, self.size, len(self.name), 0) + self.name

    def central_header(self) -> bytes:
        fixed = (_MADE_BY, _VERSION_NEEDED, _UTF8_NAMES, 0, 0, _DOS_DATE)
        content = (self.crc32, self.size, self.size, len(self.name), 0, 0, 0, 0)
        mode = 0o100755 if self.executable else 0o100644
        return _CENTRAL.pack(b"PK\1\2", *fixed, *content, mode << 16, self.offset) + self.name

    @property
    def data_offset(self) -> int:
        return self.offset + _LOCAL.size + len(self.name)


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def _write_directory(entries: list[_Entry], offset: int, target: _Writable) -> None:
    size = 0
    for entry in entries:
        size += len(header := entry.central_header())
        target.write(header)
    count = len(entries)
    if count >= _COUNT_LIMIT:
        fixed = (_END64.size - 12, _MADE_BY, _VERSION_NEEDED_64, 0, 0)
        target.write(_END64.pack(b"PK\6\6", *fixed, count, count, size, offset))
        target.write(_END64_LOCATOR.pack(b"PK\6\7", 0, offset + size, 1))
        count = _COUNT_LIMIT
    target.write(_END.pack(b"PK\5\6", 0, 0, count, count, size, offset, 0))


class ArtifactWriter:
    """Writes into a seekable binary file: `add` every file in the order of the manifest, then `finish`."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._entries: list[_Entry] = []

    def add(self, path: str, executable: bool, chunks: Iterator[bytes]) -> tuple[str, int]:
        """Copy one file. Returns the SHA-256 in hex and the size in bytes of what was really read."""
        return self._add(FILES_PREFIX + path.encode(), executable, chunks)

    def finish(self, manifest: Manifest) -> None:
        self._add(MANIFEST_NAME, False, iter([manifest.to_bytes()]))
        _write_directory(self._entries, self._target.tell(), self._target)

    def _add(self, name: bytes, executable: bool, chunks: Iterator[bytes]) -> tuple[str, int]:
        offset = self._target.tell()
        # Size and checksum are known afterwards: a file may grow while it is read, and is read once.
        self._target.write(_Entry(name, 0, 0, executable, offset).local_header())
        digest, crc32, size = hashlib.sha256(), 0, 0
        for chunk in chunks:
            digest.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            size += len(chunk)
            self._target.write(chunk)
        end = self._target.tell()
        entry = _Entry(name, crc32, size, executable, offset)
        self._target.seek(offset)
        self._target.write(entry.local_header())
        self._target.seek(end)
        self._entries.append(entry)
        return digest.hexdigest(), size


def verify(fileobj: BinaryIO, expected_hash: str, expected_artifact_id: str) -> Manifest:
    """Read all of `fileobj` (seekable); return its manifest if it is exactly this artifact of this code
    version.

    Raises ArtifactCorrupt. Memory: one manifest, whose size is capped, and one chunk.
    """
    reader = _Reader(fileobj, expected_artifact_id)
    reader.check_digest()
    manifest = reader.read_manifest()
    if manifest.code_version_hash != expected_hash:
        raise reader.corrupt(f"it holds code version {manifest.code_version_hash}, not {expected_hash}")
    reader.check_layout(manifest)
    return manifest


def extract(
    fileobj: BinaryIO,
    manifest: Manifest,
    target_dir: str | os.PathLike[str],
    artifact_id: str = "of unknown id",
) -> None:
    """Write the files of a verified artifact into `target_dir`, which must not exist.

    Contents are digested again on their way. Files become 0444 or 0555, folders 0755. Raises ArtifactCorrupt
    when the archive changed since it was verified, and OSError; what was written until then is the caller's
    to remove.
    """
    reader = _Reader(fileobj, artifact_id)
    target = os.fspath(target_dir)
    os.mkdir(target)
    os.chmod(target, 0o755)  # noqa: S103  # the cache above it is closed to others
    made = {""}
    for entry, file in zip(reader.entries(manifest), manifest.files, strict=True):
        _make_folders(target, file.path.rpartition("/")[0], made)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(os.path.join(target, file.path), flags, 0o600), "wb") as out:
            reader.copy(entry, file.sha256, out.write)
            os.fchmod(out.fileno(), 0o555 if file.executable else 0o444)


def read_file(fileobj: BinaryIO, manifest: Manifest, path: str, artifact_id: str = "of unknown id") -> bytes:
    """The content of one file of an artifact, which has the digest that `manifest` gives it, whatever else is in there.

    Raises ArtifactCorrupt, and KeyError when the manifest has no such file.
    """
    reader = _Reader(fileobj, artifact_id)
    for entry, file in zip(reader.entries(manifest), manifest.files, strict=True):
        if file.path == path:
            parts: list[bytes] = []
            reader.copy(entry, file.sha256, parts.append)
            return b"".join(parts)
    raise KeyError(path)


def _make_folders(target: str, folder: str, made: set[str]) -> None:
    if folder in made:
        return
    _make_folders(target, folder.rpartition("/")[0], made)
    path = os.path.join(target, folder)
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103  # the umask has no say; the cache above is closed
    made.add(folder)


class _Reader:
    def __init__(self, fileobj: BinaryIO, artifact_id: str) -> None:
        self._file = fileobj
        self._artifact_id = artifact_id
        self._size = fileobj.seek(0, os.SEEK_END)
        if self._size > MAX_ARTIFACT_BYTES:
            raise self.corrupt(f"it has {self._size} bytes, more than any artifact")

    def corrupt(self, problem: str) -> ArtifactCorrupt:
        return ArtifactCorrupt(self._artifact_id, problem)

    def check_digest(self) -> None:
        digest = hashlib.sha256()
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            digest.update(chunk)
        if digest.hexdigest() != self._artifact_id:
            raise self.corrupt(f"its SHA-256 is {digest.hexdigest()}")

    def read_manifest(self) -> Manifest:
        """By its entry in the central directory: the last one, hence at a fixed distance from the end."""
        central_size = _CENTRAL.size + len(MANIFEST_NAME)
        end = self._read_at(self._size - _END.size, _END.size)
        if end[:4] != b"PK\5\6":
            raise self.corrupt("it has no end record")
        position = self._size - _END.size - central_size
        if _END.unpack(end)[3] == _COUNT_LIMIT:
            position -= _END64.size + _END64_LOCATOR.size
        central = self._read_at(position, central_size)
        fields = _CENTRAL.unpack_from(central)
        size, offset = fields[9], fields[16]
        if central[_CENTRAL.size :] != MANIFEST_NAME or size > MAX_MANIFEST_BYTES:
            raise self.corrupt("it has no manifest at its end")
        data = self._read_at(offset + _LOCAL.size + len(MANIFEST_NAME), size)
        try:
            return Manifest.from_bytes(data)
        except ManifestInvalid as error:
            raise self.corrupt(str(error)) from None

    def check_layout(self, manifest: Manifest) -> None:
        """Every byte of the archive is one that `ArtifactWriter` would have written for these contents."""
        entries: list[_Entry] = []
        for entry, file in zip(self.entries(manifest), manifest.files, strict=True):
            if self.copy(entry, file.sha256, None) != entry.crc32:
                raise self.corrupt(f"the checksum of {file.path!a} does not fit its content")
            entries.append(entry)
        data = manifest.to_bytes()
        offset = entries[-1].data_offset + entries[-1].size if entries else 0
        last = _Entry(MANIFEST_NAME, zlib.crc32(data), len(data), False, offset)
        comparison = _Comparison(self, offset)
        comparison.write(last.local_header())
        comparison.write(data)
        _write_directory([*entries, last], comparison.position, comparison)
        if comparison.position != self._size:
            raise self.corrupt("there is something behind its end")

    def entries(self, manifest: Manifest) -> Iterator[_Entry]:
        """Where the manifest says they must be; of the archive itself only the checksums are taken."""
        offset = 0
        for file in manifest.files:
            name = FILES_PREFIX + file.path.encode()
            header = self._read_at(offset, _LOCAL.size + len(name))
            entry = _Entry(name, int.from_bytes(header[14:18], "little"), file.size, file.executable, offset)
            if header != entry.local_header():
                raise self.corrupt(f"the entry of {file.path!a} is not in canonical form")
            yield entry
            offset = entry.data_offset + entry.size

    def copy(self, entry: _Entry, sha256: str, write: Callable[[bytes], object] | None) -> int:
        """Read one file, giving it to `write`. Returns the CRC-32. Raises unless the digest is right."""
        digest, crc32, left = hashlib.sha256(), 0, entry.size
        self._file.seek(entry.data_offset)
        while left:
            chunk = self._file.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise self.corrupt("it is cut short")
            digest.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            left -= len(chunk)
            if write:
                write(chunk)
        if digest.hexdigest() != sha256:
            raise self.corrupt(f"the content of {entry.name.decode()!a} is not what the manifest says")
        return crc32

    def holds(self, offset: int, data: bytes) -> bool:
        return self._read_at(offset, len(data)) == data

    def _read_at(self, offset: int, size: int) -> bytes:
        if offset < 0 or offset + size > self._size:
            raise self.corrupt("it is cut short")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise self.corrupt("it is cut short")
        return data


class _Comparison:
    """Takes what would be written, and demands that it is there already."""

    def __init__(self, reader: _Reader, position: int) -> None:
        self._reader = reader
        self.position = position

    def write(self, data: bytes, /) -> None:
        if not self._reader.holds(self.position, data):
            raise self._reader.corrupt("its directory is not in canonical form")
        self.position += len(data)
