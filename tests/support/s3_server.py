"""An S3-compatible server of the tests' own, on free ports, gone with them."""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

STARTS_WITHIN_SECONDS = 60
PR_SET_PDEATHSIG = 1

# Name → access key, secret, what it may do.
USERS = {
    "writer": ("writer", "writer-secret", ["Admin", "Read", "Write", "List"]),
    "reader": ("reader", "reader-secret", ["Read", "List"]),
}


def binary():
    """SeaweedFS as its wheel brings it, beside the interpreter; None without it."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


class S3Server:
    """Started by construction; `stop` ends it and removes its files."""

    def __init__(self, weed):
        self._root = Path(tempfile.mkdtemp(prefix="hwe-s3-"))
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, (key, secret, actions) in USERS.items()
        ]
        (self._root / "s3.json").write_text(json.dumps({"identities": identities}))
        names = ("master.port", "volume.port", "filer.port", "s3.port", "master.port.grpc", "volume.port.grpc")
        ports = _free_ports((*names, "filer.port.grpc", "s3.port.grpc"))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        with open(self._root / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(weed, "server", f"-dir={self._root}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *("-filer", "-s3", f"-s3.config={self._root}/s3.json"),
                    *("-master.volumeSizeLimitMB=64", "-volume.max=1000"),
                    *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={self._root}/s3.sock"),
                    *(f"-{name}={port}" for name, port in ports.items()),
                ],
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_us,  # noqa: PLW1509 - before any thread of ours is started
            )
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._root / "log").read_text()[-4000:])
            time.sleep(0.1)

    def _answers(self):
        import obstore

        try:
            urllib.request.urlopen(self.endpoint, timeout=1)
        except urllib.error.HTTPError:
            pass
        except OSError:
            return False
        try:
            obstore.put(self.store("ready"), "ready", b"")
        except Exception:
            return False
        return True

    def store(self, bucket):
        """A client that may do everything, for tests that look behind the store's back."""
        from obstore.store import S3Store

        key, secret, _ = USERS["writer"]
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def environment(self, user="writer"):
        key, secret, _ = USERS[user]
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    def address(self, bucket):
        return f"s3://{bucket}/artifacts?endpoint={self.endpoint}&region=us-east-1"

    def stop(self):
        self._process.kill()  # told to end, it takes minutes over it
        self._process.wait()
        shutil.rmtree(self._root)


def _free_ports(names):
    sockets = [socket.socket() for _ in names]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return dict(zip(names, ports, strict=True))


def _die_with_us():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
