"""What leaves the process: the pickle of a value, and its JSON view when it has one."""

import json

from .failures import safe_text
from .messages import Outgoing
from .originals import pickle_of
from .project import PYTHON, load_cloudpickle

# Buffers below this are pickled as the library does by default.
MIN_BUFFER_BYTES = 16 * 1024
MAX_BUFFERS = 1000  # their sizes stand in the header
MAX_VIEW_DEPTH = 200
MAX_VIEW_BYTES = 64 * 1024**2
MAX_VIEW_ITEMS = 5_000_000
_encode_view = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


class ResultNotPicklable(Exception):
    """What the function returned cannot leave the process."""


def pack(header, value):
    """A message that carries a value: its pickle, and its JSON view when it has one."""
    buffers = []
    try:
        data = dumps(value, buffers)
        message = Outgoing(dict(header, codec="pickle5", python=PYTHON))
        message.header["body"] = message.enclose([data, *buffers])
    except BaseException as error:  # a __reduce__ may raise whatever it likes
        raise ResultNotPicklable(
            "the result cannot be pickled: %s is a %s (%s: %s)"
            % (*culprit(value, "result"), type(error).__name__, safe_text(error))
        ) from error
    try:
        view = _encode_view(value).encode() if is_plain(value) else None
    except (ValueError, RecursionError):
        view = None  # not finite, cyclic, or too deep
    if view is not None and len(view) <= MAX_VIEW_BYTES:
        message.header["json"] = message.add(view)
    return message


def dumps(value, buffers=None):
    """Pickle with the standard library, and with cloudpickle, which is slower, what that cannot name: a lambda.

    `buffers` takes what is better not copied into the pickle.
    """

    def keep(buffer):
        raw = buffer.raw()
        if buffers is None or len(raw) < MIN_BUFFER_BYTES or len(buffers) >= MAX_BUFFERS:
            return True  # in the pickle
        buffers.append(raw)
        return False

    try:
        return pickle_of(value, protocol=5, buffer_callback=keep)
    except Exception:
        if buffers is not None:
            buffers.clear()
        return load_cloudpickle().dumps(value, protocol=5, buffer_callback=keep)


def is_plain(value):
    """Whether JSON can say all of it, and in reason: json.dumps alone would turn the keys 1 and True into text."""
    left = [MAX_VIEW_ITEMS, MAX_VIEW_BYTES]
    return is_plain_item(value, 0, left)


def is_plain_item(value, depth, left):
    kind = type(value)
    left[0] -= 1
    if left[0] < 0:
        return False
    if kind is dict or kind is list or kind is tuple:
        if depth == MAX_VIEW_DEPTH:
            return False  # readers of JSON have limits of their own
        if kind is dict:
            return all(
                type(key) is str and is_plain_item(key, depth, left) and is_plain_item(item, depth + 1, left)
                for key, item in value.items()
            )
        return all(is_plain_item(item, depth + 1, left) for item in value)
    if kind is str:
        left[1] -= len(value)
        return left[1] >= 0
    if kind is int:
        return value.bit_length() < 14_000  # 4,300 digits are as many as Python reads
    return value is None or kind is bool or kind is float


def culprit(value, path):
    """The deepest (path, type name) inside `value` that does not pickle."""
    try:
        items = items_of(value, path)
    except BaseException:
        items = []  # its __dict__, or the repr of a key, is hostile
    for inner_path, item in items:
        try:
            dumps(item)
        except BaseException as error:
            if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
                break  # all of it is too deep, not one item
            return culprit(item, inner_path)
    return path, type(value).__name__


def items_of(value, path):
    if isinstance(value, dict):
        return [("%s[%r]" % (path, key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [("%s[%d]" % (path, index), item) for index, item in enumerate(value)]
    return [("%s.%s" % (path, key), item) for key, item in vars(value).items()]
