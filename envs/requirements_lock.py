"""The dependency lock of a project: every requirement pinned, every file of it known by its hash.

Anything less would give one `code_version_hash` two meanings: what the index served then, and what it serves
now.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from envs.errors import UnlockedRequirements
from envs.manifest import Lock
from envs.pylock import check_pylock, is_pylock
from envs.uv_lock import INSTEAD, check_uv_lock, is_uv_lock

COMPILE_PYPROJECT = "uv pip compile --generate-hashes pyproject.toml -o requirements.txt"
COMPILE_PYLOCK = "uv pip compile pyproject.toml -o pylock.toml"

COMPILE_UV_LOCK = "uv lock"

# Lock files of other tools, and how to turn them into the one format that all of them can write.
_FOREIGN_LOCKS = {
    "poetry.lock": "poetry export -f requirements.txt -o requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
}

# Formats that are a whole document, told by their names, with what writes them.
_WHOLE_FORMATS = ((is_pylock, check_pylock, COMPILE_PYLOCK), (is_uv_lock, check_uv_lock, COMPILE_UV_LOCK))

# They name indexes and kinds of files, which the hashes make harmless. Everything else would read other
# files.
_HARMLESS_OPTIONS = (
    "-i", "--index-url", "--extra-index-url", "--no-index", "--no-binary", "--only-binary", "--prefer-binary",
    "--pre", "--trusted-host", "--require-hashes",
)  # fmt: skip
# As `uv export` and `pip freeze` write it. Its code is on the path of its steps anyway.
_PROJECT_ITSELF = re.compile(r"((-e|--editable)[ =]?)?\s*(file:)?\./?(\[[\w, .-]*\])?")
_PATH = re.compile(r"(\.{0,2}/|~|file:).*|[^@ ]*\.(whl|zip|tar\.\w+)")
_HASH = re.compile(r"\s--hash[=\s]\s*(\S+)")
_GOOD_HASH = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")


def lock_text(data: bytes) -> str:
    """The text of a lock file, the same on every checkout: LF, no byte order mark. Raises ValueError."""
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def read_lock(path: str, data: bytes) -> Lock | None:
    """The lock in the file `path` of a project; None if it requires nothing. Raises UnlockedRequirements."""
    command = _command(path)
    try:
        text = lock_text(data)
    except ValueError:
        raise UnlockedRequirements(path, "is not UTF-8 text", command) from None
    for is_such, check, compile_it in _WHOLE_FORMATS:
        if is_such(path):
            packages, problem = check(text)
            if problem:
                raise UnlockedRequirements(path, problem, compile_it)
            return Lock(path, hashlib.sha256(text.encode()).hexdigest()) if packages else None
    required = False
    for number, line in _logical_lines(text):
        if _PROJECT_ITSELF.fullmatch(line):
            continue
        if line.startswith("-"):
            problem = _option_problem(line)
        else:
            required = True
            problem = _requirement_problem(line)
        if problem:
            raise UnlockedRequirements(f"{path} line {number}", problem, command)
    return Lock(path, hashlib.sha256(text.encode()).hexdigest()) if required else None


def without_project(text: str) -> str:
    """Requirements that `read_lock` takes, without the line that is the project itself."""
    return "\n".join(line for line in text.split("\n") if not _PROJECT_ITSELF.fullmatch(_uncommented(line).strip()))


def refuse_missing_lock(pyproject: dict[str, Any], has_file: dict[str, bool]) -> None:
    """For a project without a lock file: raises UnlockedRequirements when it says that it needs packages.

    `has_file`: for each of FOREIGN_LOCKS, whether the project has it.
    """
    foreign = next((name for name in _FOREIGN_LOCKS if has_file.get(name)), None)
    command = _FOREIGN_LOCKS[foreign] if foreign else COMPILE_PYPROJECT
    project = pyproject.get("project")
    tool = pyproject.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    if isinstance(project, dict):
        # The declaration beats a lock file beside it, which may list only what is needed to develop it.
        needs = project.get("dependencies")
        if not needs and "dependencies" not in (project.get("dynamic") or ()):
            return
        raise UnlockedRequirements("pyproject.toml", "declares dependencies, and no file locks them", command)
    if isinstance(poetry, dict) and not foreign:
        needs = poetry.get("dependencies")
        if isinstance(needs, dict) and needs.keys() - {"python"}:
            raise UnlockedRequirements(
                "pyproject.toml", "declares dependencies, and no file locks them",
                "poetry lock && " + _FOREIGN_LOCKS["poetry.lock"],
            )  # fmt: skip
    if foreign:
        raise UnlockedRequirements(foreign, "cannot be installed by hash from this format", command)


FOREIGN_LOCKS = tuple(_FOREIGN_LOCKS)


def _command(path: str) -> str:
    stem = path.rpartition(".")[0] or path
    source = f"{stem}.in"
    move = f"mv {path} {source} && " if path.endswith(".txt") else ""
    return f"{move}uv pip compile --generate-hashes {source} -o {path}"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, continuations joined, with the number of the first; empty ones left out."""
    start, joined = 1, ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        stripped = _uncommented(line)
        if not joined:
            start = number
        if line.endswith("\\") and stripped == line:
            joined += line[:-1] + " "
            continue
        joined += stripped
        if joined.strip():
            yield start, joined.strip()
        joined = ""


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line) if "#" in line else line


def _option_problem(line: str) -> str | None:
    option = re.split(r"[=\s]", line, maxsplit=1)[0]
    if option in _HARMLESS_OPTIONS:
        return None
    if option in ("-r", "-c", "-e", "--requirement", "--constraint", "--editable") or re.match(r"-[rce]", line):
        return f"`{_shortened(line)}` refers to something outside the lock"
    return f"`{_shortened(line)}` is an option that a lock cannot have"


def _requirement_problem(line: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    hashes = _HASH.findall(line)
    text = _HASH.split(line, maxsplit=1)[0].strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        if _PATH.fullmatch(text):
            return f"`{_shortened(text)}` is a path, and not in the lock: {INSTEAD}"
        return f"`{_shortened(text)}` cannot be read as a requirement"
    pins = [s for s in requirement.specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    if requirement.url is None and not pins:
        return f"`{_shortened(text)}` is not pinned to one version"
    if requirement.url and re.match(r"(git|hg|svn|bzr)\+", requirement.url):
        return f"`{_shortened(text)}` is from a repository, which no hash fixes: {INSTEAD}"
    if requirement.url and requirement.url.startswith("file:"):
        return f"`{_shortened(text)}` is a file outside the lock: {INSTEAD}"
    if requirement.url and not hashes:
        hashes = re.findall(r"[#&](sha\d+)=([0-9a-f]+)", requirement.url)
        hashes = [":".join(pair) for pair in hashes]
    if not hashes:
        return f"`{_shortened(text)}` has no --hash"
    if bad := next((h for h in hashes if not _GOOD_HASH.fullmatch(h)), None):
        return f"`{_shortened(text)}` has the hash {_shortened(bad)}, which is not SHA-256, SHA-384 or SHA-512"
    return None


def _shortened(text: str) -> str:
    limit = 80  # a line of a lock may hold dozens of hashes
    return text if len(text) <= limit else text[: limit - 1] + "…"
