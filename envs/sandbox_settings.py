"""`[tool.hwe.sandbox]` of a project: what its steps may do beyond the rule, and what they may use up."""

import os
import re
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What a project asks for its steps.

    network: whether a step may make sockets. readable, writable: absolute paths besides the usual ones. environment:
    names of variables passed on from the worker; its own, HWE_*, never are. memory_bytes, cpu_seconds,
    file_size_bytes, open_files: for each process of a step. processes: how many more its user may have. None: the
    default of the level.
    """

    network: bool = True
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None


def read_sandbox_table(table: dict[str, Any]) -> SandboxSettings:
    """The settings in a parsed table; ValueError says in one line what is wrong with it."""
    known = {field.name for field in fields(SandboxSettings)}
    given: dict[str, Any] = {}
    for key, value in table.items():
        if key == "level":  # the installation's: how much to enforce is not the project's choice
            continue
        if key not in known:
            raise ValueError(f"has no setting `{key}`; known are {', '.join(sorted(known))}")
        given[key] = _checked(key, value)
    return SandboxSettings(**given)


def _checked(key: str, value: Any) -> Any:
    if key == "network":
        if isinstance(value, bool):
            return value
        raise ValueError(f"network is {value!r}; write true or false")
    if key in {"readable", "writable", "environment"}:
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError(f"{key} must be a list of strings")
        for item in value:
            _check_item(key, item)
        return tuple(value)
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} must be a whole number above 0, not {value!r}")
    return value


def _check_item(key: str, item: str) -> None:
    if key == "environment":
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", item):
            raise ValueError(f"environment: {item!r} is not the name of a variable")
        if item.upper().startswith(("HWE_", "LD_", "PYTHON")):
            raise ValueError(f"environment: {item} cannot be passed on: it is the worker's own, or steers the child")
    elif not os.path.isabs(item) or "\0" in item or os.path.normpath(item) == "/":
        raise ValueError(f"{key}: {item!r} must be an absolute path below /")
