"""A command at a terminal: a pseudo-terminal, and a session of its own."""

import os
import re
import select
import subprocess
import sys
import termios
import time

HANGS_AFTER_SECONDS = 60

# Its terminal is its input, as a shell starts a command.
IN_A_SESSION = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Session:
    """`expect` reads until something is said, `send` types."""

    def __init__(self, command, cwd, env):
        self.ours, self.theirs = os.openpty()
        self.found = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_A_SESSION, *map(str, command)],
            cwd=cwd,
            env=env,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
        )
        self.seen = ""
        self.read = 0

    def expect(self, pattern):
        """The match; what was said before it is not looked at again."""
        deadline = time.monotonic() + HANGS_AFTER_SECONDS
        while not (match := re.compile(pattern).search(self.seen, self.read)):
            assert time.monotonic() < deadline, f"{pattern} does not come:\n{self.seen}"
            assert self._more(0.2) or self.process.poll() is None, f"{pattern} did not come:\n{self.seen}"
        self.read = match.end()
        return match

    def send(self, text):
        os.write(self.ours, text.encode())

    def ends(self):
        """The exit code. The terminal must be as it was."""
        deadline = time.monotonic() + HANGS_AFTER_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.seen}"
            self._more(0.05)
        while self._more(0):
            pass
        assert termios.tcgetattr(self.theirs) == self.found
        return self.process.returncode

    def is_raw(self):
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON

    def _more(self, seconds):
        if not select.select([self.ours], [], [], seconds)[0]:
            return False
        self.seen += os.read(self.ours, 65536).decode(errors="replace").replace("\r", "")
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)
