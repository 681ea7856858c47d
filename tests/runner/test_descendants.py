"""Who is alive below a process, while others below it are reaped."""

import mmap
import struct
import subprocess
import sys

import pytest

from runner.descendants import Descendants

SECONDS = 5

# Again and again, two children of which the first ends and is reaped while the second lives, whose pid is in the file.
PARENT = """
import mmap, os, signal, struct, sys, time

with open(sys.argv[1], "r+b") as file:
    orphan = mmap.mmap(file.fileno(), 8)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    read_end, write_end = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    second = os.fork()
    if second == 0:
        os.close(write_end)
        time.sleep(60)
        os._exit(0)
    orphan[:] = struct.pack("q", second)
    os.close(read_end)
    os.close(write_end)
    os.waitpid(first, 0)
    time.sleep(0.0005)
    orphan[:] = struct.pack("q", 0)
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux lists the children of a process")
def test_an_orphan_is_seen_also_while_a_step_is_reaped(tmp_path):
    shared = tmp_path / "orphan"
    shared.write_bytes(bytes(8))
    with open(shared, "r+b") as file:
        orphan = mmap.mmap(file.fileno(), 8)
    looks = missed = 0
    with subprocess.Popen([sys.executable, "-c", PARENT, shared, str(SECONDS)]) as parent:
        descendants = Descendants(parent.pid)
        while parent.poll() is None:
            (there,) = struct.unpack("q", orphan[:])
            is_clean = descendants.has_no_orphans()
            if there and struct.unpack("q", orphan[:]) == (there,):
                looks += 1
                missed += is_clean
    assert parent.returncode == 0
    assert looks > 1000
    assert missed == 0


def test_of_a_process_that_is_gone_nothing_is_known():
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert not Descendants(gone.pid).has_no_orphans()
