"""What every file in a directory was when it was finished, so that it can be told later whether it still is.

    {"files":[["<path>","<sha256>",<size>,<executable>],…]}     the form of a manifest, sorted by path

Also how to look at one file of thousands without reading the whole list.
"""

import errno
import hashlib
import json
import os
import random
import stat
from collections.abc import Iterator

from envs.manifest import FileEntry, canonical_json

# An entry begins after this. It cannot be inside of a string, where the quote would have a backslash before it.
_BETWEEN = b'],["'
_FIRST = b'"files":[["'
_WINDOW_BYTES = 16 * 1024

# Said of the file itself, by a bad disk or after somebody's chmod; what else goes wrong with reading passes.
UNREADABLE = (errno.EIO, errno.EACCES, errno.EPERM)

# Beyond this a look at one file would cost a step more than a millisecond: then its size has to do.
SAMPLED_BYTES = 1024**2


def seal(root: str) -> bytes:
    """Take the right to write from all files in `root`, and give the list of them. Links are left alone."""
    entries = []
    for path, status in files_below(root):
        if not stat.S_ISREG(status.st_mode):
            continue
        with open(os.path.join(root, path), "rb") as file:
            # One that is linked elsewhere is not ours to change.
            if status.st_mode & 0o222 and status.st_nlink == 1:
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) & ~0o222)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entries.append([path, digest, status.st_size, bool(status.st_mode & stat.S_IXUSR)])
    entries.sort()
    return canonical_json({"files": entries})


def read_file_list(data: bytes) -> dict[str, FileEntry]:
    """By path. Raises ValueError."""
    try:
        return {entry[0]: FileEntry(*entry) for entry in json.loads(data)["files"]}
    except (KeyError, TypeError, IndexError, RecursionError):
        raise ValueError("not a list of files") from None


def files_below(root: str, *, without: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Everything but real directories, by relative path with slashes; not what is in directories named `without`."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != without]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path = os.path.join(folder, name)
            yield os.path.relpath(path, root).replace(os.sep, "/"), os.lstat(path)


def file_problem(path: str, file: FileEntry, status: os.stat_result) -> str | None:
    """What is not as it was, as the rest of a sentence. Raises OSError when that cannot be told now."""
    if not stat.S_ISREG(status.st_mode):
        return "is no longer a file"
    if status.st_size != file.size:
        return f"has {status.st_size} bytes instead of {file.size}"
    if bool(status.st_mode & stat.S_IXUSR) != file.executable:
        return "is executable" if not file.executable else "is not executable"
    try:
        with open(path, "rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.sha256:
                return "has another content"
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return f"cannot be read ({error.strerror})"
    return None


def sampled_problem(root: str, list_path: str) -> str | None:
    """What is wrong with one file, picked at random from the list at `list_path`; None also when there is no list."""
    try:
        entry = _any_entry(list_path)
    except OSError:
        return None
    if entry is None:
        return None
    path = os.path.join(root, entry.path)
    try:
        status = os.lstat(path)
        if status.st_size > SAMPLED_BYTES and status.st_size == entry.size:
            return None
        problem = file_problem(path, entry, status)
    except OSError as error:
        problem = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return problem and f"{entry.path} {problem}"


def _any_entry(list_path: str) -> FileEntry | None:
    descriptor = os.open(list_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        # Before the beginning too, or the first entry would never be looked at.
        start = random.randrange(-_WINDOW_BYTES // 2, max(1, size))  # noqa: S311 - nobody has to be kept from guessing
        window = os.pread(descriptor, _WINDOW_BYTES, max(0, start))
    finally:
        os.close(descriptor)
    mark = _FIRST if start <= 0 else _BETWEEN
    found = window.find(mark)
    if found < 0:
        return None
    text = window[found + len(mark) - 2 :].decode("utf-8", "ignore")
    try:
        entry, _ = json.JSONDecoder().raw_decode(text)
        return FileEntry(*entry)
    except (ValueError, TypeError):
        return None  # longer than the window, or damaged: `hwe cache verify` reads the whole
