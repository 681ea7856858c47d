"""Whether values occur in other ones, in any of the forms in which those are kept. Pure: nothing is unpickled.

What a step computes is its own affair, so what was redacted may be in what other steps made of it. Nobody can say
where; but whether the very same texts and numbers still occur can be looked up.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from runner.body import ALIGNMENT
from runner.payload import Payload

# Shorter ones occur everywhere.
MIN_CHARS = 6
MIN_DIGITS = 6

# Each is searched for by itself, at about 5 GB/s; the longest say the most.
MAX_VALUES = 1_000
# Of one pickle: a second's worth of reading.
MAX_PICKLE_OPERATIONS = 1_000_000

_MARK = object()
# Operations whose argument is a name.
_NO_LITERALS = frozenset({"GLOBAL", "PERSID", "EXT1", "EXT2", "EXT4"})


class Traces:
    """Texts and numbers to be looked for."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._forms: set[bytes] = set()

    def add(self, value: Any) -> None:
        """A JSON value; its keys are names, and not looked for."""
        for leaf in _leaves(value):
            self._add(leaf)

    def add_payload(self, payload: Payload) -> None:
        """A value of which there may be no more than a pickle, whose literals are read."""
        if payload.json_text is not None:
            self.add(payload.json())
            return
        pickled, *buffers = _segments(payload)
        for leaf in _literals(pickled):
            self._add(leaf)
        self._forms.update(buffer for buffer in buffers if len(buffer) >= MIN_CHARS)

    def _add(self, leaf: Any) -> None:
        if isinstance(leaf, bytes | bytearray) and len(leaf) >= MIN_CHARS:
            self._forms.add(bytes(leaf))
        elif isinstance(leaf, str) and len(leaf) >= MIN_CHARS and "{{" not in leaf and "${" not in leaf:
            self._texts.add(leaf)
            self._forms.add(_encoded(leaf))
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            text = repr(leaf)
            if sum(char.isdigit() for char in text) >= MIN_DIGITS:
                self._texts.add(text)
                # As text, and without the pickle's beginning and end.
                self._forms.update((text.encode(), pickle.dumps(leaf, 2)[2:-1]))

    def limit(self) -> int:
        """Forget all but `MAX_VALUES`; returns how many that were."""
        forms = sorted(self._forms, key=lambda form: (-len(form), form))
        texts = sorted(self._texts, key=lambda text: (-len(text), text))
        self._forms, self._texts = set(forms[:MAX_VALUES]), set(texts[:MAX_VALUES])
        return max(len(forms), len(texts), MAX_VALUES) - MAX_VALUES

    def __bool__(self) -> bool:
        return bool(self._forms)

    def in_json(self, value: Any) -> bool:
        """Whether one of them occurs in a JSON value, keys included."""
        text = "\0".join(leaf if isinstance(leaf, str) else repr(leaf) for leaf in _leaves(value, keys=True))
        return any(wanted in text for wanted in self._texts)

    def in_bytes(self, data: bytes) -> bool:
        """Whether one of them occurs in the bytes of a file, a pickle or a buffer."""
        return any(form in data for form in self._forms)

    def in_payload(self, payload: Payload) -> bool:
        """Whether one of them occurs in a recorded value."""
        return (payload.json_text is not None and self.in_json(payload.json())) or any(
            self.in_bytes(segment) for segment in _segments(payload)
        )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _leaves(value: Any, *, keys: bool = False) -> Iterator[Any]:
    waiting = [value]  # no recursion: a value may be nested as deep as JSON can be read
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
            if keys:
                yield from one
        elif isinstance(one, list | tuple):
            waiting += one
        else:
            yield one


def _segments(payload: Payload) -> list[bytes]:
    """The pickle, then the buffers that lie outside of it."""
    view, found, position = payload.body.view(), list[bytes](), 0
    for size in payload.body.segments:
        position += -position % ALIGNMENT
        found.append(bytes(view[position : position + size]))
        position += size
    return found


def _literals(pickled: bytes) -> list[Any]:
    """The texts, bytes and numbers in a pickle that are values: not the names of classes, attributes and keys.

    Found by following what the pickle would do with its stack. A pickle that makes no sense has those read so far.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    found: list[Any] = []
    with contextlib.suppress(ValueError, IndexError, KeyError):
        for operation, argument, _ in islice(pickletools.genops(pickled), MAX_PICKLE_OPERATIONS):
            name, before, after = operation.name, operation.stack_before, operation.stack_after
            if name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
                memo[argument] = stack[-1]
            elif name in {"GET", "BINGET", "LONG_BINGET"}:
                stack.append(memo[argument])
            elif name == "MARK":
                stack.append(_MARK)
            else:
                found += [one for one in _values(name, _taken(stack, before)) if one is not None]
                is_literal = not before and name not in _NO_LITERALS
                stack += [argument if is_literal else None] * len(after)
    return found


def _taken(stack: list[Any], before: Sequence[pickletools.StackObject]) -> list[Any]:
    """What an operation takes off the stack; of one that takes all down to a mark, only that."""
    if pickletools.markobject not in before:
        return [stack.pop() for _ in before][::-1]
    place = len(stack) - stack[::-1].index(_MARK) - 1
    taken = stack[place + 1 :]
    del stack[place - before.index(pickletools.markobject) :]
    return taken


def _values(operation: str, taken: list[Any]) -> list[Any]:
    """Without the names among what an operation takes."""
    match operation:
        case "STACK_GLOBAL":
            return []
        case "SETITEM":
            return taken[2:]
        case "SETITEMS" | "DICT":
            return taken[1::2]
    return taken
