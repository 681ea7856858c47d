"""What can go wrong between a project directory and an environment, and whose fault it is.

Every message is one line that ends with what to do next; the same facts are in the fields.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

Fault = Literal["project", "machine", "store", "ours"]


class EnvsError(Exception):
    """The root of all errors of this package.

    `fault` says who can do something about it: the author of the project, whoever runs this machine, whoever
    keeps the artifact store, or we.
    """

    fault: ClassVar[Fault] = "ours"

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take fields, not the message: the default would call __init__ with the wrong arguments.
        return _restore, (type(self), self.args, dict(self.__dict__))


def _restore(kind: type[EnvsError], args: tuple[Any, ...], fields: dict[str, Any]) -> EnvsError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


def _one_line(text: str) -> str:
    return " ".join(text.split())


# ── the project ──


class ProjectError(EnvsError):
    """The project has to be changed."""

    fault = "project"


class ProjectNotFound(ProjectError):
    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is not a directory: give the directory that holds the project's code")


class ProjectSettingsInvalid(ProjectError):
    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(_one_line(f"{path}: {problem}"))


class ProjectChanged(ProjectError):
    """It was edited between the moment when its hash was taken and the moment when its files were wanted."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{_one_line(path)} was changed while it was captured; try again")


class UnlockedRequirements(ProjectError):
    """The project needs packages, but nothing says exactly which files."""

    def __init__(self, path: str, problem: str, command: str) -> None:
        self.path, self.problem, self.command = path, problem, command
        super().__init__(_one_line(f"{path}: {problem}; lock it with: {command}"))


class SymlinkEscapes(ProjectError):
    def __init__(self, path: str, target: str, problem: str = "points outside the project") -> None:
        self.path, self.target = path, target
        super().__init__(
            f"{path} is a symbolic link to {target}, which {problem}: replace it by a copy, or exclude it "
            f"under [tool.hwe] exclude"
        )


class SymlinkToDirectory(ProjectError):
    def __init__(self, path: str, target: str) -> None:
        self.path, self.target = path, target
        super().__init__(
            f"{path} is a symbolic link to the directory {target}: replace it by a copy, or exclude it under "
            f"[tool.hwe] exclude"
        )


class CaseCollision(ProjectError):
    """Two names that are one on a file system that ignores case or Unicode form."""

    def __init__(self, first: str, second: str) -> None:
        self.first, self.second = first, second
        super().__init__(
            f"{first} and {second} differ only by case or Unicode form, and are one file on some machines: "
            f"rename one of them"
        )


class UnusableName(ProjectError):
    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path!a} {problem}: rename it, or exclude it under [tool.hwe] exclude")


class UnreadableFile(ProjectError):
    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} cannot be read ({reason}): make it readable, or exclude it under [tool.hwe] exclude")


class UnsupportedFile(ProjectError):
    def __init__(self, path: str, kind: str) -> None:
        self.path, self.kind = path, kind
        super().__init__(f"{path} is a {kind}, not a file: remove it, or exclude it under [tool.hwe] exclude")


class ProjectTooLarge(ProjectError):
    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path} {problem}: exclude what is not code under [tool.hwe] exclude")


class PythonUnsupported(ProjectError):
    def __init__(self, wanted: str, supported: str) -> None:
        self.wanted = wanted
        super().__init__(f"Python {wanted} is not supported: give one of {supported} under [tool.hwe] python")


# ── the machine ──


class PythonNotFound(EnvsError):
    """wanted: a version, or the path of the Python that runs this. found: the versions that are there."""

    fault = "machine"

    def __init__(self, wanted: str, found: Iterable[str]) -> None:
        self.wanted, self.found = wanted, tuple(found)
        have = ", ".join(self.found) or "none"
        super().__init__(
            f"the Python that runs this, {wanted}, is gone or does not start any more (found: {have}): put it back, or "
            f"start this with another one"
            if "/" in wanted
            else f"CPython {wanted} is not on this machine (found: {have}): install it with "
            f"`uv python install {wanted}` or `pyenv install {wanted}`"
        )


class CacheUnusable(EnvsError):
    fault = "machine"

    def __init__(self, path: str, problem: str, what: str = "environment cache") -> None:
        self.path, self.problem = path, problem
        super().__init__(_one_line(f"{what} {path}: {problem}"))


class EnvironmentBroken(EnvsError):
    """What an environment stands on (its interpreter, its layer) is gone while somebody runs in it."""

    fault = "machine"

    def __init__(self, code_version_hash: str, missing: str) -> None:
        self.code_version_hash, self.missing = code_version_hash, missing
        super().__init__(
            f"environment {code_version_hash} needs {missing}, which is gone, and is in use, "
            f"so it is not rebuilt: put that back, or try again when nothing runs in it"
        )


class EnvironmentDamaged(EnvsError):
    """Files of an environment, or of its layer, are not what was built, and somebody runs in it."""

    fault = "machine"

    def __init__(self, code_version_hash: str, problems: Sequence[str]) -> None:
        self.code_version_hash, self.problems = code_version_hash, tuple(problems)
        super().__init__(
            _one_line(
                f"environment {code_version_hash} is damaged ({'; '.join(problems)}) and in use, so it is not rebuilt: "
                f"try again when nothing runs in it"
            )
        )


class EnvironmentBuildFailed(EnvsError):
    """`log_tail`: the last meaningful lines of the tool that failed. `log_path`: all of it, or None.

    since, tries: when it failed first, and how often since. retry_at: set when this was not another try but the memory
    of the last one; until then nobody tries but `hwe warm`.
    """

    fault: ClassVar[Fault] = "project"

    def __init__(
        self,
        what: str,
        log_tail: str,
        log_path: str | None,
        *,
        since: datetime | None = None,
        tries: int = 1,
        retry_at: datetime | None = None,
    ) -> None:
        self.what, self.log_tail, self.log_path = what, _one_line(log_tail), log_path
        self.since, self.tries, self.retry_at = since, tries, retry_at
        where = f"; all of it is in {log_path}" if log_path else ""
        when = ""
        if since and (tries > 1 or retry_at):
            when = f"; so since {since:%Y-%m-%d %H:%M:%S} UTC, after {tries} {'tries' if tries > 1 else 'try'}"
        if retry_at:
            when += f"; not tried again before {retry_at:%H:%M:%S} UTC, but by `hwe warm`"
        super().__init__(f"{what} failed: {self.log_tail or 'it said nothing'}{where}{when}")


class IndexUnreachable(EnvironmentBuildFailed):
    """The package index did not answer, so nothing is known against the lock: the same may succeed later."""

    fault = "machine"


class BuildGivenUp(EnvsError):
    """Nobody wants what was being built any more: that is no failure, and nothing of it is left."""

    def __init__(self) -> None:
        super().__init__("the build was given up; it is begun again when it is wanted")


class WheelsUnusable(EnvsError):
    """Wheels in a store are missing, damaged or not those of the lock; `problem` says which."""

    fault: ClassVar[Fault] = "store"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the stored wheels cannot be used: {problem}")


# Of uv, when no answer came, or half of one, or none of the index itself, or that it has too much to do.
_UNREACHABLE = (
    "error sending request", "client error (Connect)", "operation timed out", "error reading a body from connection",
    "HTTP status server error (5", "HTTP status client error (408", "HTTP status client error (429",
)  # fmt: skip


def build_failed(
    what: str,
    log_tail: str,
    log_path: str | None,
    *,
    since: datetime | None = None,
    tries: int = 1,
    retry_at: datetime | None = None,
) -> EnvironmentBuildFailed:
    """The error for what a tool said, which tells whether it was the network's fault."""
    kind = IndexUnreachable if any(words in log_tail for words in _UNREACHABLE) else EnvironmentBuildFailed
    return kind(what, log_tail, log_path, since=since, tries=tries, retry_at=retry_at)


# ── the store ──


class StoreError(EnvsError):
    fault = "store"


class HashInvalid(StoreError):
    """Not a code_version_hash, or too short a part of one."""

    def __init__(self, text: str, problem: str = "is not a code version hash of 64 hexadecimal digits") -> None:
        self.text = text
        super().__init__(f"{text!a} {problem}: `hwe capture` prints the hash of a project")


class CodeVersionNotFound(StoreError):
    """Nobody stored this code version; `location` is where it was looked for."""

    def __init__(self, code_version_hash: str, location: str) -> None:
        self.code_version_hash, self.location = code_version_hash, location
        super().__init__(
            f"code version {code_version_hash} is not in {location}: capture and put it from a checkout of that code"
        )


class AmbiguousHash(StoreError):
    def __init__(self, prefix: str, matches: Iterable[str]) -> None:
        self.prefix, self.matches = prefix, tuple(matches)
        shown = ", ".join(match[: len(prefix) + 8] for match in self.matches[:5])
        super().__init__(f"{prefix} fits {len(self.matches)} code versions ({shown}): give more digits")


class ArtifactCorrupt(StoreError):
    def __init__(self, artifact_id: str, problem: str) -> None:
        self.artifact_id, self.problem = artifact_id, problem
        super().__init__(
            _one_line(
                f"artifact {artifact_id} is not what was stored ({problem}): nothing of it was used; "
                f"put the code version again from a checkout to repair it"
            )
        )


class StoreUnusable(StoreError):
    def __init__(self, location: str, problem: str) -> None:
        self.location, self.problem = location, problem
        super().__init__(_one_line(f"artifact store {location}: {problem}"))


class StoreNotSupported(EnvsError):
    fault = "machine"

    def __init__(self, location: str, scheme: str, advice: str = "use file:///absolute/path") -> None:
        self.location, self.scheme = location, scheme
        super().__init__(f"artifact store {location}: this build has no {scheme}:// store; {advice}")


def explain_os_error(error: OSError) -> str:
    """The problem and what to do about it, in a few words, for a message about a cache or a store."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on its disk; free some, or move it to a larger one, and try again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.strerror}: {error.filename}; let this user read and write there, or choose another place"
    if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        # flock: two builders could not be kept apart, nor an environment from being removed under a step.
        return f"its file system keeps no locks ({error.strerror}); put it on a local disk"
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}; see to that, and try again"
