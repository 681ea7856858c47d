"""What a step prints: line by line to logging while it runs, and the last of it in the outcome."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Mapping

logger = logging.getLogger("hwe.step")

# The end of a stream is where the reason of a failure stands; 64 KiB is some 800 lines of it.
MAX_TAIL_BYTES = 64 * 1024

# A line that never ends is logged in pieces of this size, so that it cannot grow in memory.
MAX_LINE_CHARS = 16 * 1024


def writable(text: str) -> str:
    """Text that every database takes: a NUL, and half a surrogate pair, are written out as Python writes them."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


class LineStream:
    """Collects one stream of one step. Owns no descriptor: `feed` takes what was read.

    `labels` (run, step, stream, version) are put on every log record as attributes.
    """

    def __init__(self, labels: Mapping[str, str | None]) -> None:
        self._labels = dict(labels)
        self._prefix = f"{self._labels.get('run') or '-'}/{self._labels.get('step') or '-'}"
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line = ""
        self._tail = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes as they come; complete lines are logged at once."""
        self._tail += data
        if len(self._tail) > 2 * MAX_TAIL_BYTES:
            del self._tail[:-MAX_TAIL_BYTES]
        *lines, rest = (self._line + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._log(line)
        while len(rest) > MAX_LINE_CHARS:
            self._log(rest[:MAX_LINE_CHARS])
            rest = rest[MAX_LINE_CHARS:]
        self._line = rest

    def finish(self) -> str:
        """Log an unfinished last line and return the tail, decoded."""
        if self._line:
            self._log(self._line)
            self._line = ""
        return bytes(self._tail[-MAX_TAIL_BYTES:]).decode("utf-8", "replace")

    def _log(self, line: str) -> None:
        logger.info("%s %s: %s", self._prefix, self._labels.get("stream"), line, extra=self._labels)
