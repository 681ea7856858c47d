"""Whether what was built has surely reached the disk.

A marker can be there after a power failure, and files that were written before it not: the system writes them down when
it likes. Waiting for the disk would cost every build more than all the rest. So a note of the boot that it was built in
lies beside the marker; who finds that of another boot looks at every file once, and removes it. Where the system tells
no boots there is no note.
"""

import contextlib
import os

# A link that leads nowhere: its text takes no block of the disk, and is there whenever its name is.
NOTE = ".hwe-boot"


def _this_boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


THIS_BOOT = _this_boot()


def note_boot(root: str) -> None:
    """Before the marker: what is in `root` was written in this boot."""
    if THIS_BOOT:
        os.symlink(THIS_BOOT, os.path.join(root, NOTE))


def may_be_lost(root: str) -> bool:
    """Whether files of `root` may be missing, since the machine went down after they were written."""
    try:
        return os.readlink(os.path.join(root, NOTE)) != THIS_BOOT
    except OSError:
        return False


def settle(root: str) -> None:
    """All of it is on the disk."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(root, NOTE))
