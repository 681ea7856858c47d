"""Opaque values: pickled bytes with a plain header. Nothing on this side ever unpickles one.

A payload at rest (the ledger's `result` column) is a frame of `runner.wire` with two parts, the pickled
bytes and the JSON view, so the same strict decoder guards a database as guards a pipe.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from runner import wire
from runner.errors import ProtocolError, UsageError

CODEC = "pickle5"

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


@dataclass(frozen=True)
class Payload:
    """A value of a step, as bytes. `python` is the version that pickled it, "3.12.1"."""

    data: bytes
    sha256: str
    python: str
    codec: str = CODEC
    json_text: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the pickled value."""
        return len(self.data)

    @property
    def has_json(self) -> bool:
        """Whether the value also is plain JSON."""
        return self.json_text is not None

    def json(self) -> Any:
        """The JSON view, parsed. Only when `has_json`."""
        if self.json_text is None:
            raise ValueError("this payload has no JSON view")
        return json.loads(self.json_text)

    def __repr__(self) -> str:
        return f"Payload({self.size} bytes, python {self.python}, sha256 {self.sha256[:12]})"

    def to_bytes(self) -> bytes:
        """The payload at rest: a header and the opaque bytes."""
        header = {"type": "payload", "codec": self.codec, "python": self.python, "sha256": self.sha256}
        view = b"" if self.json_text is None else self.json_text.encode()
        return wire.encode({**header, "has_json": self.has_json}, (self.data, view))

    @classmethod
    def from_bytes(cls, stored: bytes) -> Payload:
        """The inverse of `to_bytes`. Raises `ProtocolError` when a byte of the value has changed at rest."""
        return cls.from_message(wire.decode(stored))

    @classmethod
    def from_message(cls, message: wire.Message) -> Payload:
        """A payload out of a frame whose first two parts are the pickled bytes and the JSON view.

        The digest is taken here, from the bytes that arrived: what a child says of them is only compared.
        """
        header = message.header
        if len(message.parts) < 2 or header.get("codec") != CODEC:
            raise ProtocolError(f"a payload of codec {header.get('codec')!r} is not one we know ({CODEC})")
        data, view = bytes(message.parts[0]), bytes(message.parts[1])
        digest = hashlib.sha256(data).hexdigest()
        claimed = header.get("sha256")
        if claimed is not None and claimed != digest:
            raise ProtocolError(f"a payload's bytes hash to {digest[:12]}, but its header says {str(claimed)[:12]}")
        text = _checked_json(view) if header.get("has_json") is True else None
        return cls(data=data, sha256=digest, python=str(header.get("python", ""))[:32], json_text=text)


def _checked_json(view: bytes) -> str:
    """The JSON view as text, after reading it once: what is stored and shown must parse."""
    try:
        text = view.decode()
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a payload's JSON view does not parse: {type(error).__name__}") from None
    return text


def pickle_arguments(args: object, kwargs: object) -> tuple[bytes, list[Payload]]:
    """Pickle a caller's arguments for a child; payloads nested in them are referred to by their index.

    Returns the pickled `(args, kwargs)` and the payloads in the order of the indices. The child's unpickler
    puts the values back. Raises `UsageError` when an argument cannot be pickled.
    """
    payloads: list[Payload] = []
    try:
        if _is_plain((args, kwargs)):
            return pickle.dumps((args, kwargs), protocol=5), payloads
        buffer = io.BytesIO()
        _pickler()(buffer, payloads).dump((args, kwargs))
    except Exception as error:
        raise UsageError(f"an argument cannot be sent to a step: {type(error).__name__}: {error}") from error
    return buffer.getvalue(), payloads


def _is_plain(value: object, depth: int = 0) -> bool:
    """Whether a pickler of the standard library does, which knows neither lambdas nor payloads, but is faster."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth > 3:
        return False
    if kind is dict:
        return all(
            type(key) is str and _is_plain(item, depth + 1) for key, item in cast("dict[str, object]", value).items()
        )
    return kind in (list, tuple) and all(_is_plain(item, depth + 1) for item in cast("list[object]", value))


@cache
def _pickler() -> Any:
    # Late: 35 ms, and a worker that only moves recorded payloads around never needs it.
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped base
        def __init__(self, file: io.BytesIO, payloads: list[Payload]) -> None:
            super().__init__(file, protocol=5)
            self._payloads = payloads

        def persistent_id(self, value: object) -> int | None:
            if not isinstance(value, Payload):
                return None
            self._payloads.append(value)
            return len(self._payloads) - 1

    return Pickler
