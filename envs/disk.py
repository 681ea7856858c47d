"""What a directory takes on its disk, and files that appear on it whole."""

import hashlib
import os

# What st_blocks counts in, on every system, whatever the file system's own blocks are.
BLOCK_BYTES = 512


def disk_bytes(path: str) -> int:
    """The bytes that removing `path` would give back. What vanishes meanwhile counts for nothing."""
    try:
        total = os.lstat(path).st_blocks * BLOCK_BYTES
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += disk_bytes(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink == 1:  # of others a link is left elsewhere, and with it the file
                    total += status.st_blocks * BLOCK_BYTES
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return total


def write_whole(path: str, data: bytes) -> None:
    """Make a file appear whole or not at all. For use under a lock: the temporary name is fixed."""
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def write_checked(path: str, data: bytes) -> None:
    """`write_whole`, with the SHA-256 of the data before it, and a line break."""
    write_whole(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def read_checked(path: str) -> bytes | None:
    """What `write_checked` wrote; None when that is not what is there. Raises OSError."""
    try:
        with open(path, "rb") as file:
            digest = file.readline().strip()
            data = file.read()
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest().encode() == digest else None
