"""What a confined step may read and use besides its own environment: what programs need of any system.

An allowlist. Home directories, other versions, the ledger, the store and /var are not on it; nor is what of /etc
holds secrets.
"""

from __future__ import annotations

import os
from pathlib import Path

_SYSTEM = (
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/proc",  # what is private there is guarded as tracing is, which Landlock confines
    "/sbin",
    "/sys",
    "/usr",
    "/run/systemd/resolve",  # where /etc/resolv.conf often points to
)

_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "openssl",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def system_paths() -> list[str]:
    """Those of the system that are there, and the directories in which the worker looks for libraries."""
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if os.path.isabs(path)]
    wanted = [*_SYSTEM, *(f"/etc/{name}" for name in _ETC), *libraries]
    return [path for path in wanted if Path(path).exists()]
