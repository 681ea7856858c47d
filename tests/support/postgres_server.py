"""A PostgreSQL server of the tests' own: on a free port, under a user that is not root, gone with them."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import sqlalchemy as sa

STARTS_WITHIN_SECONDS = 60
PR_SET_PDEATHSIG = 1


def binaries():
    """The directory that holds `initdb` and `postgres`, on PATH or where Debian puts them; None without them."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "postgres").exists() and (place / "initdb").exists()), None)


def _other_user():
    """What makes a process one of a user who is not root; nothing when we are such a user ourselves."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("root may not start PostgreSQL, and there is neither a user postgres nor nobody")


class PostgresServer:
    """Started by construction; `stop` ends it and removes its files."""

    def __init__(self, bin_directory):
        self._as_user = _other_user()
        # Not below the tests' own directory, which that user may not enter.
        self._root = Path(tempfile.mkdtemp(prefix="hwe-postgres-"))
        if self._as_user:
            os.chown(self._root, self._as_user["user"], self._as_user["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        subprocess.run(
            [
                *(bin_directory / "initdb", "-D", self._root / "data", "--username=hwe", "--auth=trust"),
                *("--no-sync", "--encoding=UTF8", "--locale=C"),
            ],
            check=True,
            capture_output=True,
            cwd=self._root,
            **self._as_user,
        )
        self._bin_directory = bin_directory
        self.start()

    def start(self):
        with open(self._root / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._bin_directory / "postgres", "-D", self._root / "data", "-h", "127.0.0.1"),
                    *("-p", str(self.port), "-k", self._root, "-c", "fsync=off", "-c", "max_connections=200"),
                ],
                stdout=log,
                stderr=log,
                cwd=self._root,
                preexec_fn=_die_with_us,  # noqa: PLW1509 - before any thread of ours is started
                **self._as_user,
            )
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except sa.exc.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._root / "log").read_text()) from None
                time.sleep(0.05)

    def halt(self):
        """As after a power failure: no good-bye to anyone."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def stop(self):
        self.halt()
        shutil.rmtree(self._root)

    def url(self, database, user="hwe"):
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement, database="postgres"):
        engine = sa.create_engine(
            self.url(database).replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return result.all() if result.returns_rows else []
        finally:
            engine.dispose()

    def new_database(self):
        """The URL of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def _die_with_us():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
