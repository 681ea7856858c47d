"""A package whose build takes as long as a test wants: a source distribution that waits for a file to appear."""

import hashlib
import io
import tarfile
import time
from pathlib import Path

_BACKEND = """
import base64, hashlib, os, time, zipfile
from pathlib import Path

def build_wheel(folder, config_settings=None, metadata_directory=None):
    here = Path(GATE)
    (here / f"builder-{os.getpid()}").touch()
    while not (here / "open").exists():
        time.sleep(0.01)
    about = {
        "slow.py": "",
        "slow-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n",
        "slow-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    name = "slow-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for path, text in about.items():
            wheel.writestr(path, text)
        wheel.writestr("slow-1.0.dist-info/RECORD", "".join(f"{path},,\\n" for path in about))
    return name
"""
_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "slow"
version = "1.0"
"""


class SlowPackage:
    """`lock` requires it. `environment`: with it uv finds it, and keeps what it builds away from other tests."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"
        packages = folder / "packages"
        self._gate.mkdir(parents=True)
        packages.mkdir()
        path = packages / "slow-1.0.tar.gz"
        files = {
            "PKG-INFO": "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n",
            "pyproject.toml": _PYPROJECT,
            "backend.py": _BACKEND.replace("GATE", repr(str(self._gate))),
        }
        with tarfile.open(path, "w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(f"slow-1.0/{name}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        self.lock = f"slow==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        self.environment = {
            "UV_FIND_LINKS": str(packages),
            "UV_NO_INDEX": "1",
            "UV_CACHE_DIR": str(folder / "uv-cache"),
        }

    def builders(self) -> list[int]:
        """The processes that have begun to build it and live."""
        pids = [int(path.name.partition("-")[2]) for path in self._gate.glob("builder-*")]
        return [pid for pid in pids if _lives(pid)]

    def wait_for_builder(self) -> int:
        """The process that builds it, once there is one."""
        deadline = time.monotonic() + 60
        while not (found := self.builders()):
            assert time.monotonic() < deadline, "nobody builds it"
            time.sleep(0.01)
        return found[0]

    def wait_for_no_builder(self) -> None:
        """Return once nothing that builds it lives."""
        deadline = time.monotonic() + 60
        while self.builders():
            assert time.monotonic() < deadline, "it is still built"
            time.sleep(0.01)

    def open(self) -> None:
        """Let whoever builds it go on."""
        (self._gate / "open").touch()


def _lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def parent_of(pid: int) -> int:
    """The process that started it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
