"""Artifacts beside a DataShard table, which says what there is. Needs the extra `datashard`.

<root>/artifacts/<aa>/<artifact_id>.zip   as in a directory; whole or absent
<root>/table/                             (code_version_hash, artifact_id, size_bytes, stored_at), after the artifact
<root>/table.lock                         whoever appends holds it

The bytes are beside the table, not in it: each commit of DataShard copies what is known of all files, so that a
thousand artifacts in rows are hundreds of megabytes of metadata. A table knows no uniqueness: of several rows of one
version the last one counts.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from envs.errors import StoreNotSupported, StoreUnusable
from envs.locks import exclusive
from envs.manifest import canonical_json
from envs.stores.directory import FORMAT, DirectoryStore

SCHEME = "datashard"

# Without this, metadata grows with the square of the appends. What a reader may still be looking at stays for an hour.
CLEAN_UP_EVERY = 50
SNAPSHOTS_KEPT = 5

_FIELDS = {"code_version_hash": "string", "artifact_id": "string", "size_bytes": "long", "stored_at": "long"}
_PROBLEM_CHARS = 300


class DataShardStore(DirectoryStore):
    """See ArtifactStore. `address`: datashard:///absolute/path, a directory of its own, which may be shared."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        try:
            import datashard
        except ImportError:
            raise StoreNotSupported(address, SCHEME, "install it with: pip install 'hwe-runner[datashard]'") from None
        if parts.netloc or not parts.path.startswith("/") or parts.query:
            raise StoreUnusable(
                address, "an address has three slashes and an absolute path: datashard:///var/lib/hwe/x"
            )
        # Or it tells of each commit on stderr, and warns of a table that somebody is making right now.
        logging.getLogger("datashard").setLevel(logging.ERROR)
        self._datashard: Any = datashard  # typed or not, as it is installed or not
        super().__init__(unquote(parts.path))

    @property
    def location(self) -> str:
        return f"{SCHEME}://{self._root}"

    def __repr__(self) -> str:
        return f"DataShardStore({self.location!r})"

    def _pointer(self, code_version_hash: str) -> bytes | None:
        return _pointer_in(self._rows(code_version_hash))

    def _point(self, code_version_hash: str, pointer: bytes) -> None:
        if self._pointer(code_version_hash) == pointer:
            return
        said = json.loads(pointer)
        with exclusive(os.path.join(self._root, "table.lock")), self._table_errors():
            rows = self._rows(code_version_hash)
            if _pointer_in(rows) == pointer:
                return  # somebody was faster
            table = self._datashard.create_table(self._table_path, self._schema())
            after = max((row["stored_at"] for row in rows), default=0)
            row = {
                "code_version_hash": code_version_hash,
                "artifact_id": said["artifact_id"],
                "size_bytes": said["size_bytes"],
                "stored_at": max(time.time_ns(), after + 1),  # clocks go backwards
            }
            table.append_records([row])
            if len(table.snapshots()) >= CLEAN_UP_EVERY:
                table.expire_snapshots(retain_last=SNAPSHOTS_KEPT)
                table.garbage_collect()

    def _hashes(self, prefix: str) -> Sequence[str]:
        names = {row["code_version_hash"] for row in self._rows(columns=["code_version_hash"])}
        return sorted(name for name in names if name.startswith(prefix))

    def _rows(
        self, code_version_hash: str | None = None, columns: Sequence[str] | None = None
    ) -> Sequence[dict[str, Any]]:
        wanted = {"code_version_hash": code_version_hash} if code_version_hash else None
        with self._table_errors():
            try:
                table = self._datashard.load_table(self._table_path)
            except ValueError:  # there is none, or somebody is making it right now
                return ()
            _check_whole(table)
            return tuple(table.scan(columns, wanted, verify_checksums="page"))

    @property
    def _table_path(self) -> str:
        return os.path.join(self._root, "table")

    def _schema(self) -> Any:
        fields = [
            {"id": number, "name": name, "type": kind, "required": True}
            for number, (name, kind) in enumerate(_FIELDS.items(), 1)
        ]
        return self._datashard.Schema(schema_id=1, fields=fields)

    @contextlib.contextmanager
    def _table_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, StoreUnusable):
            raise
        except Exception as error:  # DataShard's have no root of their own
            said = " ".join(f"{type(error).__name__}: {error}".split())[:_PROBLEM_CHARS]
            advice = "its table is damaged or not one of ours; restore it, or copy the artifacts into a new store"
            raise StoreUnusable(self.location, f"{said}; {advice}") from error


def _check_whole(table: Any) -> None:
    """Read every file of a table, and compare it with the digest that its metadata has. Raises `ValueError`.

    A scan could do that itself. It would then give pyarrow a Python object to read from, and that ends one process in
    five with SIGABRT if it exits right after (apache/arrow#34314); without it pyarrow aborts at some damaged files.
    """
    for file in table._get_data_files_from_manifest():  # noqa: SLF001 - "retained for callers", and no other tells
        with table.storage.open_file(file.file_path.lstrip("/")) as stream:
            if file.checksum and hashlib.file_digest(stream, "sha256").hexdigest() != file.checksum:
                raise ValueError(f"{file.file_path} is not what was written")


def _pointer_in(rows: Sequence[dict[str, Any]]) -> bytes | None:
    """The last of the rows in the form in which a directory keeps it."""
    if not rows:
        return None
    last = max(rows, key=lambda row: (row["stored_at"], row["artifact_id"]))
    return canonical_json({"artifact_id": last["artifact_id"], "format": FORMAT, "size_bytes": last["size_bytes"]})
