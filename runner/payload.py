"""Opaque values: pickled bytes with a plain header. Nothing on this side ever unpickles one.

A payload at rest (the ledger's `result` column) is a frame of `runner.wire` with two parts, the body and the JSON
view, so the same strict decoder guards a database as guards a pipe. What is large is left out of the frame, which
then only has its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

from runner import wire
from runner.body import Body, Memory, item_at
from runner.errors import ProtocolError, UsageError

CODEC = "pickle5"

# As in the child program.
MIN_BUFFER_BYTES = 16 * 1024
MAX_BUFFERS = 1000

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


@dataclass(frozen=True)
class Payload:
    """A value of a step, as bytes. `python` is the version that pickled it, "3.12.1"."""

    body: Body
    python: str
    codec: str = CODEC
    json_text: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the pickled value, its buffers included."""
        return self.body.size

    @cached_property
    def sha256(self) -> str:
        """The digest of the body, in hex. Taken when it is first asked for; large bodies cannot change before."""
        return hashlib.sha256(self.body.view()).hexdigest()

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
        return f"Payload({self.size} bytes, python {self.python})"

    def to_bytes(self, max_bytes: int | None = None, keep: Callable[[str, memoryview], None] | None = None) -> bytes:
        """The payload at rest. What is over `max_bytes` is given to `keep` with its digest instead of being in it."""
        parts: list[bytes | memoryview] = []
        header: dict[str, Any] = {
            "type": "payload",
            "codec": self.codec,
            "python": self.python,
            "segments": self.body.segments,
            "has_json": self.has_json,
        }
        view = b"" if self.json_text is None else self.json_text.encode()
        for name, content in (("body", self.body.view()), ("view", memoryview(view))):
            digest = self.sha256 if name == "body" else hashlib.sha256(content).hexdigest()
            header[name] = {"sha256": digest, "size": len(content), "outside": False}
            if keep is not None and max_bytes is not None and len(content) > max_bytes:
                keep(digest, content)
                header[name]["outside"] = True
            parts.append(b"" if header[name]["outside"] else content)
        return wire.encode(header, parts)

    @classmethod
    def from_bytes(cls, stored: bytes, fetch: Callable[[str, int], Memory | bytes] | None = None) -> Payload:
        """The inverse of `to_bytes`. Raises `ProtocolError` when a byte of the value has changed at rest.

        `fetch` gets what was left out, verified, by its digest and size.
        """
        message = wire.decode(stored)
        header = message.header
        _check_codec(header)
        if len(message.parts) != 2:
            raise ProtocolError("a payload at rest does not have its two parts")
        body = _at_rest(header.get("body"), message.parts[0], fetch)
        view = _at_rest(header.get("view"), message.parts[1], fetch)
        text = _checked_json(view) if header.get("has_json") is True else None
        return cls(Body.checked(header.get("segments"), body), _python_of(header), json_text=text)

    @classmethod
    def from_message(cls, message: wire.Message, memories: Sequence[Memory] = ()) -> Payload:
        """A payload out of a frame with a "body", and the index of the part that is its "json" view, if it has one."""
        _check_codec(message.header)
        body = Body.unpack(message.header.get("body"), message.parts, memories)
        index = message.header.get("json")
        text = None if index is None else _checked_json(item_at(message.parts, index))
        return cls(body, _python_of(message.header), json_text=text)


def view_at_rest(stored: bytes, fetch: Callable[[str, int], Memory | bytes] | None = None) -> str | None:
    """The JSON view of a payload at rest, or None; its body is not touched. Raises like `Payload.from_bytes`."""
    message = wire.decode(stored)
    if message.header.get("has_json") is not True or len(message.parts) != 2:
        return None
    return _checked_json(_at_rest(message.header.get("view"), message.parts[1], fetch))


def _check_codec(header: dict[str, Any]) -> None:
    if header.get("codec") != CODEC:
        raise ProtocolError(f"a payload of codec {header.get('codec')!r} is not one we know ({CODEC})")


def _python_of(header: dict[str, Any]) -> str:
    return str(header.get("python", ""))[:32].encode("ascii", "replace").decode()


def _at_rest(said: Any, part: memoryview, fetch: Callable[[str, int], Memory | bytes] | None) -> Memory | bytes:
    """The content of one part of a payload at rest, checked against its digest."""
    if not isinstance(said, dict):
        raise ProtocolError("a payload at rest has no digest")
    claimed = str(said.get("sha256"))
    if said.get("outside") is True:
        if fetch is None:
            raise ProtocolError(f"the value {claimed[:12]} rests outside, and nobody said where")
        return fetch(claimed, int(said["size"]))
    digest = hashlib.sha256(part).hexdigest()
    if digest != claimed:
        raise ProtocolError(f"a payload's bytes hash to {digest[:12]}, but its header says {claimed[:12]}")
    return bytes(part)


def _checked_json(view: bytes | memoryview | Memory) -> str:
    """The JSON view as text, after reading it once: what is stored and shown must parse."""
    try:
        text = bytes(view.view() if isinstance(view, Memory) else view).decode()
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a payload's JSON view does not parse: {type(error).__name__}") from None
    return text


def pickle_arguments(args: object, kwargs: object) -> tuple[Body, list[Payload]]:
    """Pickle a caller's arguments for a child; payloads nested in them are referred to by their index.

    Returns the pickled `(args, kwargs)` and the payloads in the order of the indices. The child's unpickler
    puts the values back. Raises `UsageError` when an argument cannot be pickled.
    """
    payloads: list[Payload] = []
    buffers: list[pickle.PickleBuffer] = []
    try:
        if _is_plain((args, kwargs)):
            return Body.of([pickle.dumps((args, kwargs), protocol=5)]), payloads
        buffer = io.BytesIO()

        def keep(found: pickle.PickleBuffer) -> bool:
            """Whether it goes into the pickle; small ones do, and very many, whose sizes no header holds."""
            if len(found.raw()) < MIN_BUFFER_BYTES or len(buffers) >= MAX_BUFFERS:
                return True
            buffers.append(found)
            return False

        _pickler()(buffer, payloads, keep).dump((args, kwargs))
        segments = [buffer.getbuffer(), *(found.raw() for found in buffers)]
    except Exception as error:
        raise UsageError(f"an argument cannot be sent to a step: {type(error).__name__}: {error}") from error
    return Body.of(segments), payloads


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
        def __init__(
            self, file: io.BytesIO, payloads: list[Payload], buffer_callback: Callable[[pickle.PickleBuffer], bool]
        ) -> None:
            super().__init__(file, protocol=5, buffer_callback=buffer_callback)
            self._payloads = payloads

        def persistent_id(self, value: object) -> int | None:
            if not isinstance(value, Payload):
                return None
            self._payloads.append(value)
            return len(self._payloads) - 1

    return Pickler
