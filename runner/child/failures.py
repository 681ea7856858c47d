"""Exceptions as plain data. Their own methods may be hostile, so every word of them is fetched with care."""

import json
import sys
import traceback

# Enough for any message worth reading; an exception that carries a data set in its text must not fill a database.
MAX_MESSAGE_CHARS = 10_000
MAX_TRACEBACK_CHARS = 64_000
# Exceptions told of one failure, causes and members of groups together: more are made by loops, not by people.
MAX_EXCEPTIONS = 30
MAX_NOTES = 30

OWN_FOLDER = sys._getframe().f_code.co_filename.rpartition("/")[0] + "/"  # not of __file__, see child_programs.py
_OURS = __name__.rpartition(".")[0] + "."

_encode_view = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def tell(error):
    """An exception as JSON, whatever it does to keep from being told."""
    try:
        return _encode_view(describe(error)).encode(errors="backslashreplace")
    except BaseException as failure:
        kind = attribute_text(type(error), "__qualname__")
        message = "<the exception cannot be told: %s>" % attribute_text(type(failure), "__qualname__")
        return _encode_view({"type": kind, "message": message}).encode(errors="backslashreplace")


def describe(error, told=None):
    """An exception as plain data. Its own methods may be hostile, so every word of it is fetched with care.

    `told`: the exceptions told already, since chains and groups may be cyclic.
    """
    first = told is None
    told = [] if first else told
    told.append(error)
    kind = type(error)
    module = attribute_text(kind, "__module__")
    ours = module.startswith(_OURS)
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    return {
        "type": attribute_text(kind, "__qualname__"),
        "module": "" if ours else module,
        "message": safe_text(error),
        "traceback": trace(error) if first and not ours else "",
        "notes": notes_of(error),
        "cause": describe(cause, told) if cause is not None and is_news(cause, told) else None,
        "exceptions": [describe(member, told) for member in members_of(error) if is_news(member, told)],
    }


def is_news(error, told):
    return len(told) < MAX_EXCEPTIONS and all(error is not other for other in told)


def notes_of(error):
    try:
        notes = error.__notes__
        return [safe_text(note) for note in notes[:MAX_NOTES]] if type(notes) is list else []
    except BaseException:
        return []


def members_of(error):
    """What an exception group holds, by whatever class: before Python 3.11 groups come from a package."""
    try:
        members = error.exceptions
        if type(members) is tuple:
            return [member for member in members if isinstance(member, BaseException)]
    except BaseException:
        pass
    return []


def attribute_text(kind, name):
    try:
        return safe_text(getattr(kind, name))
    except BaseException:  # its metaclass is hostile
        return "<unknown>"


def safe_text(value):
    try:
        text = str(value)[:MAX_MESSAGE_CHARS]
    except BaseException as failure:
        return "<the message cannot be shown: its __str__ raised %s>" % type(failure).__name__
    return text if type(text) is str else "<the message cannot be shown: it is no text>"


def trace(error):
    """The traceback with the chain of causes, without the frames of this program at its top."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(OWN_FOLDER):
            frames = frames.tb_next
        text = "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))
    except BaseException as failure:
        return "<the traceback cannot be shown: %s>" % type(failure).__name__
    return text if len(text) <= MAX_TRACEBACK_CHARS else text[:1000] + "\n...\n" + text[-MAX_TRACEBACK_CHARS + 1000 :]
