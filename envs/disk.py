"""What a directory takes on its disk, and files that appear on it whole."""

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
