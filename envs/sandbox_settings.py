"""`[tool.hwe.sandbox]` of a project: what its steps may do beyond the rule, and what they may use up."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class StepLimits:
    """What one function may use up. None: as the project's other steps.

    memory_bytes, cpu_seconds, file_size_bytes, open_files: for each process of the step. processes: how many more its
    user may have. network: whether it may make sockets. Files, their sizes and the network can only be less than what
    the project has, memory and processor time also more.
    """

    network: bool = True
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class SandboxSettings(StepLimits):
    """What a project asks for its steps; None: the default of the level.

    readable, writable: absolute paths besides the usual ones. environment: names of variables passed on from the
    worker; its own, HWE_*, never are. steps: by function, as workflows name it.
    """

    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    steps: Mapping[str, StepLimits] = field(default_factory=dict)


def read_sandbox_table(table: dict[str, Any]) -> SandboxSettings:
    """The settings in a parsed table; ValueError says in one line what is wrong with it."""
    # The level is the installation's: how much to enforce is not the project's choice.
    return SandboxSettings(**_read(SandboxSettings, {key: value for key, value in table.items() if key != "level"}))


def _read(kind: type[StepLimits], table: dict[str, Any]) -> dict[str, Any]:
    known = sorted(field.name for field in fields(kind))
    for key in table:
        if key not in known:
            raise ValueError(f"has no setting `{key}`; known are {', '.join(known)}")
    return {key: _checked(key, value) for key, value in table.items()}


def _steps(tables: Any) -> dict[str, StepLimits]:
    if not (isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values())):
        raise ValueError('steps must hold tables, as in [tool.hwe.sandbox.steps."package.module.function"]')
    limits = {}
    for function, table in tables.items():
        try:
            limits[function] = StepLimits(**_read(StepLimits, table))
        except ValueError as error:
            raise ValueError(f"steps.{function} {error}") from None
    return limits


def _checked(key: str, value: Any) -> Any:
    if key == "steps":
        return _steps(value)
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
