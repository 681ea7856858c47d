"""Artifacts in an object store: S3 and what speaks like it, Google Cloud Storage, Azure. Needs the extra `s3`.

<prefix>/artifacts/<aa>/<artifact_id>.zip   an object appears whole or not at all
<prefix>/versions/<aa>/<code_version_hash>  {"artifact_id":…,"e_tag":…,"format":1,"size_bytes":…}, after the artifact
<prefix>/wheels/, <prefix>/wheel-lists/     see envs.wheels

The entity tag in the pointer is what the store called the artifact when it took it: a put sees from it, without
reading the artifact, whether the object is still that one.
"""

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, urlsplit

from envs.errors import AmbiguousHash, ArtifactCorrupt, CodeVersionNotFound, StoreNotSupported, StoreUnusable
from envs.manifest import canonical_json, check_hash, check_prefix, is_sha256
from envs.stores.stored import Storable, StoredArtifact

SCHEMES = ("s3", "gs", "az")
FORMAT = 1

# Up to here an artifact goes in one conditional request, out of memory; above, in parts, and the last writer wins,
# which is no harm, since all of them write the same bytes.
ONE_REQUEST_BYTES = 32 * 1024**2

# What passes by itself is over in seconds; a worker rather says that its store is away.
RETRIES = {"max_retries": 3, "retry_timeout": 30}

# A store that does not answer: connecting, and the whole of a request for an artifact of 2 GiB over a slow line.
TIMEOUTS = {"connect_timeout": "10s", "timeout": "15m"}

# A small artifact never touches the disk twice.
SPOOL_BYTES = 8 * 1024**2

_PROBLEM_CHARS = 300  # what stores say goes on with pages of XML


class ObjectStore:
    """See ArtifactStore. `address`: s3://bucket/prefix?endpoint=https://host&region=name, gs://…, az://….

    Credentials come from where the store's own tools have them: AWS_ACCESS_KEY_ID and so on, or the machine's role.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            import obstore
        except ImportError:
            raise StoreNotSupported(
                self.location, parts.scheme, "install it with: pip install 'hwe-runner[s3]'"
            ) from None
        if "@" in parts.netloc:
            problem = "credentials do not belong in an address; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise StoreUnusable(self.location, problem)
        options: dict[str, Any] = {"client_options": dict(TIMEOUTS), "retry_config": _retries()}
        for name, value in parse_qsl(parts.query):
            if name not in {"endpoint", "region"} or parts.scheme != "s3":
                raise StoreUnusable(self.location, f"an address knows no option {name!a}; for s3 endpoint and region")
            options[name] = value
            if name == "endpoint" and value.startswith("http://"):
                options["client_options"]["allow_http"] = True
        self._obstore: Any = obstore  # typed or not, as it is installed or not
        with self._errors():
            self._store = obstore.store.from_url(self.location.rstrip("/"), **options)

    def __repr__(self) -> str:
        return f"ObjectStore({self.location!r})"

    def put(self, version: Storable) -> None:
        check_hash(version.hash)
        with self._errors():
            pointer = self._read_pointer(version.hash)
            known = _parse_pointer(pointer)
            path = _artifact_path(version.artifact_id)
            there = self._head(path)
            if known and there and known == (version.artifact_id, version.size_bytes, there.get("e_tag")):
                return
            e_tag = self._put_artifact(version, path)
            self._obstore.put(
                self._store,
                _pointer_path(version.hash),
                canonical_json(
                    {
                        "artifact_id": version.artifact_id,
                        "e_tag": e_tag,
                        "format": FORMAT,
                        "size_bytes": version.size_bytes,
                    }
                ),
            )

    def has(self, code_version_hash: str) -> bool:
        check_hash(code_version_hash)
        with self._errors():
            known = _parse_pointer(self._read_pointer(code_version_hash))
            return known is not None and self._head(_artifact_path(known[0])) is not None

    def get(self, code_version_hash: str) -> StoredArtifact:
        check_hash(code_version_hash)
        with self._errors():
            pointer = self._read_pointer(code_version_hash)
            if pointer is None:
                raise CodeVersionNotFound(code_version_hash, self.location)
            known = _parse_pointer(pointer)
            if known is None:
                problem = f"its pointer for code version {code_version_hash} in {self.location} is not readable"
                raise ArtifactCorrupt("of unknown id", problem)
            artifact_id, size, _ = known
            file = self._fetched(_artifact_path(artifact_id), size, artifact_id)
            if file is None:
                raise ArtifactCorrupt(artifact_id, f"it is missing in {self.location}")
            return StoredArtifact(code_version_hash, artifact_id, size, self.location, file)

    def list(self) -> Iterator[str]:
        with self._errors():
            return iter(list(self._names("versions")))

    def resolve(self, prefix: str) -> str:
        wanted = check_prefix(prefix)
        with self._errors():
            matches = sorted(name for name in self._names(f"versions/{wanted[:2]}") if name.startswith(wanted))
        if not matches:
            raise CodeVersionNotFound(prefix, self.location)
        if len(matches) > 1:
            raise AmbiguousHash(prefix, matches)
        return matches[0]

    def put_file(self, name: str, source: BinaryIO) -> None:
        with self._errors():
            self._obstore.put(self._store, name, source)

    def open_file(self, name: str) -> BinaryIO | None:
        with self._errors():
            return self._fetched(name)

    def file_names(self, folder: str) -> Sequence[str]:
        with self._errors():
            listed = [item["path"] for chunk in self._obstore.list(self._store, prefix=folder) for item in chunk]
        return sorted(path.rpartition("/")[2] for path in listed if path.rpartition("/")[0].endswith(folder))

    def _names(self, folder: str) -> Iterator[str]:
        for chunk in self._obstore.list(self._store, prefix=folder):
            for item in chunk:
                if is_sha256(name := item["path"].rpartition("/")[2]):
                    yield name

    def _fetched(self, path: str, size: int | None = None, artifact_id: str = "") -> BinaryIO | None:
        """An object at byte 0, or None. Raises ArtifactCorrupt when it has more than `size` bytes."""
        try:
            chunks = self._obstore.get(self._store, path).stream()
        except FileNotFoundError:
            return None
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOL_BYTES))  # noqa: SIM115 - whoever asked closes it
        try:
            for chunk in chunks:
                file.write(chunk)
                if size is not None and file.tell() > size:
                    raise ArtifactCorrupt(artifact_id, f"it has more than its {size} bytes in {self.location}")
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _put_artifact(self, version: Storable, path: str) -> str | None:
        """Returns the entity tag of the object that has these bytes now."""
        with version.open_artifact() as source:
            if version.size_bytes > ONE_REQUEST_BYTES:
                return cast("str | None", self._obstore.put(self._store, path, source)["e_tag"])
            data = source.read()
        try:
            return cast("str | None", self._obstore.put(self._store, path, data, mode="create")["e_tag"])
        except self._obstore.exceptions.AlreadyExistsError:
            # Of somebody who puts the same version now, or was killed before its pointer; or damaged: look.
            found = self._obstore.get(self._store, path)
            if hashlib.sha256(found.bytes()).hexdigest() == version.artifact_id:
                return cast("str | None", found.meta["e_tag"])
            return cast("str | None", self._obstore.put(self._store, path, data)["e_tag"])

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            return dict(self._obstore.head(self._store, path))
        except FileNotFoundError:
            return None

    def _read_pointer(self, code_version_hash: str) -> bytes | None:
        try:
            return bytes(self._obstore.get(self._store, _pointer_path(code_version_hash)).bytes())
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        exceptions = self._obstore.exceptions
        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            problem = "access is denied; check the credentials (AWS_ACCESS_KEY_ID …) and what they may do"
            raise StoreUnusable(self.location, problem) from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            said = " ".join(str(error).split())[:_PROBLEM_CHARS]
            advice = "see that the store can be reached from here, and that the bucket exists"
            raise StoreUnusable(self.location, f"{said}; {advice}") from error


def _retries() -> dict[str, Any]:
    from datetime import timedelta

    return {"max_retries": RETRIES["max_retries"], "retry_timeout": timedelta(seconds=RETRIES["retry_timeout"])}


def _artifact_path(artifact_id: str) -> str:
    return f"artifacts/{artifact_id[:2]}/{artifact_id}.zip"


def _pointer_path(code_version_hash: str) -> str:
    return f"versions/{code_version_hash[:2]}/{code_version_hash}"


def _parse_pointer(data: bytes | None) -> tuple[str, int, str | None] | None:
    """Artifact id, size, entity tag; None for what is no pointer of this format."""
    try:
        document = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    match document:
        case {
            "format": 1,
            "artifact_id": str(artifact_id),
            "size_bytes": int(size),
            "e_tag": str() | None as e_tag,
        } if is_sha256(artifact_id):
            return artifact_id, size, e_tag
    return None
