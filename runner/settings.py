"""Settings of an installation: environment beats `hwe.toml` beats `[tool.hwe]` of the project's pyproject.toml."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from runner.errors import UsageError

# Names that a capture passes over wherever they stand.
_NEVER_CAPTURED = frozenset({".hwe", ".venv", ".git"})


class SettingsInvalid(UsageError):
    """A setting cannot be read. Names where it stands and what it may be."""


class Settings(BaseSettings):
    """Where things live and how strict to be. Every field is also an environment variable: HWE_ and its name."""

    model_config = SettingsConfigDict(env_prefix="HWE_", env_ignore_empty=True, extra="forbid", frozen=True)

    home: Path = Field(default_factory=lambda: platformdirs.user_data_path("hwe"))
    database_url: str = ""
    artifact_store: str = ""
    cache_dir: Path | None = None
    values_dir: Path | None = None
    strict_code_versioning: Literal["disabled", "warn", "strict", "artifact"] = "warn"
    sandbox: Literal["none", "process", "locked-down"] = "process"

    _policy_source: str = PrivateAttr("the default")

    @property
    def policy_source(self) -> str:
        """Where `strict_code_versioning` was set: a variable, a file, or "the default"."""
        return self._policy_source

    @property
    def database(self) -> str:
        """The ledger's SQLAlchemy URL; SQLite below `home` unless one is set."""
        return self.database_url or sqlite_url(self.home.absolute() / "hwe.sqlite")

    @property
    def store(self) -> str:
        """The artifact store's URL or directory."""
        return self.artifact_store or str(self.home.absolute() / "artifacts")

    @property
    def artifact_copies(self) -> Path:
        """The directory of verified copies of what a remote artifact store holds."""
        return self.home.absolute() / "artifact-copies"

    @property
    def cache(self) -> Path:
        """The directory of materialized environments."""
        return (self.cache_dir or self.home / "cache").absolute()

    @property
    def values(self) -> Path:
        """The directory of large results."""
        return (self.values_dir or self.home / "values").absolute()


def sqlite_url(path: Path) -> str:
    """The URL of a database file, whatever characters its path has."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string()


def load_settings(project: Path | None = None, *, captures: bool = False) -> Settings:
    """The settings in force here. `hwe.toml` is looked for in the current directory, then in the project.

    `captures`: for a command that captures the project, in which nothing of the installation may then be kept.
    Raises `SettingsInvalid` naming the file or the variable at fault.
    """
    installation = _installation_file(project)
    from_installation = _read_toml(installation) if installation else {}
    from_project = _of_project(project) if project else {}

    class _Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the parameters are pydantic's
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                env_settings,
                InitSettingsSource(settings_cls, from_installation),
                InitSettingsSource(settings_cls, from_project),
            )

    try:
        settings = _Sources()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        where = f"HWE_{name.upper()}, {installation or 'hwe.toml'} or [tool.hwe]"
        told = f"setting {name!r} is {first['input']!r}: {first['msg']} (it may stand in {where})"
        raise SettingsInvalid(told) from None
    if project is not None and captures:
        _check_places(settings, project)
    name = "strict_code_versioning"
    variable = f"HWE_{name.upper()}"
    if os.environ.get(variable):
        settings._policy_source = variable  # noqa: SLF001 - a model's private attribute, set by who makes the model
    elif name in from_installation:
        settings._policy_source = str(installation)  # noqa: SLF001
    elif project is not None and name in from_project:
        settings._policy_source = f"[tool.hwe] in {project.absolute() / 'pyproject.toml'}"  # noqa: SLF001
    return settings


def _installation_file(project: Path | None) -> Path | None:
    places = [Path.cwd(), *([project] if project else [])]
    return next((place / "hwe.toml" for place in places if (place / "hwe.toml").is_file()), None)


def _of_project(project: Path) -> dict[str, Any]:
    """The installation's settings in a project's pyproject.toml; its own keys (python, include …) are not ours."""
    path = project / "pyproject.toml"
    table: Any = _read_toml(path) if path.is_file() else {}
    for name in ("tool", "hwe"):
        table = table.get(name, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise SettingsInvalid(f"{path}: tool.hwe is not a table; write [tool.hwe]")
    return {key: value for key, value in table.items() if key in Settings.model_fields and key != "sandbox"} | (
        {"sandbox": table["sandbox"]} if isinstance(table.get("sandbox"), str) else {}
    )


def _check_places(settings: Settings, project: Path) -> None:
    """Refuse to keep anything inside the project: it would be captured, and every run would change the version."""
    root = project.resolve()
    places = {"home": settings.home, "cache_dir": settings.cache, "values_dir": settings.values}
    if "://" not in settings.store:
        places["artifact_store"] = Path(settings.store)
    for name, place in places.items():
        inside = place.absolute().resolve()
        if inside.is_relative_to(root) and not _NEVER_CAPTURED.intersection(inside.relative_to(root).parts):
            raise SettingsInvalid(
                f"setting {name!r} is {place}, inside the project {root}, where it would count as code: choose a "
                f"place outside, or {root / '.hwe'}"
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
