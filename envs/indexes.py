"""The package indexes that a project and its lock name. Asked are those of this machine's user, if they name any.

Hashes say what is installed, so where it comes from is no part of a code version or a layer.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# Whoever sets one of them has said where packages are to be had on this machine: a mirror, or nowhere.
_OF_THE_USER = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")

# What uv asks anyway, or the mirror that its configuration on this machine has for it.
_USUAL = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True)
class Indexes:
    """`default`: instead of PyPI, or None. `others`: asked before it, each a URL, or "name=URL" for whose credentials
    uv looks in UV_INDEX_<NAME>_USERNAME and _PASSWORD. exact: the lock says which package is from which.
    """

    default: str | None = None
    others: tuple[str, ...] = ()
    exact: bool = False

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """For uv; none when the user of this machine has named theirs. Not as arguments: those end up in logs."""
        if self.left_to_the_user(environ):
            return {}
        found = {"UV_INDEX": " ".join(self.others)} if self.others else {}
        if self.others:
            # Nothing but what has the hashes is installed, so a package may be on any of them.
            found["UV_INDEX_STRATEGY"] = environ.get("UV_INDEX_STRATEGY", "unsafe-best-match")
        return found | ({"UV_DEFAULT_INDEX": self.default} if self.default else {})

    def left_to_the_user(self, environ: Mapping[str, str]) -> bool:
        """Whether they are not to be asked."""
        return any(environ.get(name) for name in _OF_THE_USER)

    def told(self) -> str:
        """For a log: without credentials."""
        return ", ".join(_bare(url) for url in (*self.others, *([self.default] if self.default else [])))


NONE_NAMED = Indexes()


def named_indexes(lock_text: str, pyproject: bytes | None) -> Indexes:
    """Those of [[tool.uv.index]] and of the packages of a uv.lock or pylock.toml; what cannot be read names none."""
    default, by_url = None, {}
    for index in _of_the_project(_toml(pyproject)):
        if index.get("default") is True:
            default = index["url"]
        else:
            name = index.get("name")
            by_url[_bare(index["url"])] = f"{name}={index['url']}" if isinstance(name, str) else index["url"]
    from_lock = list(_of_the_lock(_toml(lock_text.encode())))
    for url in from_lock:
        if _bare(url) not in (_USUAL, _bare(default or "")):
            by_url.setdefault(_bare(url), url)
    return Indexes(default, tuple(by_url.values()), exact=any(_bare(url) != _USUAL for url in from_lock))


def _of_the_project(document: Any) -> Iterator[dict[str, Any]]:
    tool = document.get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    indexes = settings.get("index") if isinstance(settings, dict) else None
    for index in indexes if isinstance(indexes, list) else ():
        if isinstance(index, dict) and isinstance(url := index.get("url"), str) and _is_remote(url):
            yield index


def _of_the_lock(document: Any) -> Iterator[str]:
    for package in (*_tables(document.get("package")), *_tables(document.get("packages"))):
        source = package.get("source")
        for url in (source.get("registry") if isinstance(source, dict) else None, package.get("index")):
            if isinstance(url, str) and _is_remote(url):
                yield url


def _tables(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_remote(url: str) -> bool:
    return url.startswith(("https://", "http://")) and not set(url) & {" ", "\n", "\t"}


def _toml(data: bytes | None) -> Any:
    try:
        return tomllib.loads((data or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError):  # of another format
        return {}


def _bare(url: str) -> str:
    """Without credentials, its name and a slash at its end."""
    if not url.startswith("http"):
        url = url.partition("=")[2]
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
