"""Build the environment of one code version, from a store, into a directory that does not exist yet."""

import contextlib
import dataclasses
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from envs.artifact import extract
from envs.boots import note_boot
from envs.bytecode import Compilation
from envs.disk import disk_bytes, write_whole
from envs.errors import ArtifactCorrupt, CodeVersionNotFound, UnlockedRequirements
from envs.file_lists import files_below
from envs.indexes import named_indexes
from envs.interpreters import Interpreter, find_interpreter, probe, stamp
from envs.layers import MARKER as LAYER_MARKER
from envs.layers import Layer, Terms, has_layer, layer_in_use, layer_key
from envs.manifest import Manifest, canonical_json
from envs.requirements_lock import lock_text, read_lock
from envs.stores import ArtifactStore
from envs.virtual_environment import create_virtual_environment

MARKER = ".hwe-environment.json"
MARKER_SCHEMA = 1
PROJECT = "project"
MANIFEST = ".hwe-manifest.json"  # its SHA-256 is the code version's hash
PATH_FILE = "hwe.pth"


@dataclass(frozen=True, slots=True)
class Environment:
    """A code version, ready to run: all paths absolute.

    root: the virtual environment. python: its interpreter, to be started. interpreter: the installed Python
    behind it, and its version. project: the code. layer_root: the dependencies, or None. import_paths: what
    is of the project on sys.path. bin_directories: what belongs on PATH, in this order. built_at: where it was built:
    it holds that path.
    """

    hash: str
    root: Path
    python: Path
    project: Path
    layer_root: Path | None
    interpreter: Path
    interpreter_version: str
    import_paths: tuple[Path, ...]
    bin_directories: tuple[Path, ...]
    interpreter_stamp: tuple[int, ...] = ()
    interpreter_fingerprint: str = ""
    built_at: str = ""

    def is_outdated(self) -> bool:
        """Whether the interpreter was replaced by another build since: compiled packages may not fit it."""
        try:
            if not self.interpreter_stamp or self.interpreter_stamp == tuple(stamp(str(self.interpreter))):
                return False
        except OSError:
            return False  # that it is missing is another matter
        now = probe(str(self.interpreter))
        return now is None or now.fingerprint != self.interpreter_fingerprint

    def missing_part(self) -> str | None:
        """What an upgrade of the machine or a hand took away from under it; None when it can run.

        Of one that was moved or copied: where it was built, even if that is still there, and would be what runs.
        """
        if self.built_at and self.built_at != str(self.root):
            return self.built_at
        if not (self.root / MARKER).exists():
            return str(self.root)
        if not self.python.exists():
            return str(self.interpreter)
        if self.layer_root and not (self.layer_root / LAYER_MARKER).exists():
            return str(self.layer_root)
        return None


def read_environment(root: str, code_version_hash: str) -> Environment | None:
    """The environment in `root` when it was finished; None for whatever else is in the directory."""
    try:
        with open(os.path.join(root, MARKER), "rb") as file:
            marker = json.load(file)
        if marker["schema"] != MARKER_SCHEMA or marker["hash"] != code_version_hash:
            return None
        here = Path(root)
        layer_root = marker["layer_root"] and Path(marker["layer_root"])
        return Environment(
            hash=code_version_hash,
            root=here,
            python=here / "bin" / "python",
            project=here / PROJECT,
            layer_root=layer_root,
            interpreter=Path(marker["interpreter"]),
            interpreter_version=marker["interpreter_version"],
            import_paths=tuple(here / path for path in marker["import_paths"]),
            bin_directories=tuple(base / "bin" for base in (here, layer_root) if base),
            # Not there in one that was built by an older release.
            interpreter_stamp=tuple(marker.get("interpreter_stamp", ())),
            interpreter_fingerprint=marker.get("interpreter_fingerprint", ""),
            built_at=marker.get("root", ""),
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def materialize(
    cache_root: str,
    root: str,
    code_version_hash: str,
    store: ArtifactStore | None,
    lock_descriptor: int,
    terms: Terms,
) -> None:
    """Fetch, verify, extract, install, compile, and last of all write the marker.

    `lock_descriptor` is inherited by what is started. `terms`: see there. Raises
    CodeVersionNotFound, ArtifactCorrupt, PythonNotFound, EnvironmentBuildFailed, BuildGivenUp, CacheUnusable, OSError;
    what was made until then is the caller's to remove.
    """
    terms.begin("fetch")
    if store is None:
        raise CodeVersionNotFound(code_version_hash, f"{cache_root} (no artifact store was given)")
    with contextlib.ExitStack() as held:
        stored = held.enter_context(store.get(code_version_hash))
        terms.begin("verify")
        manifest = stored.verify()
        interpreter = find_interpreter(manifest.python)
        interpreter_stamp = stamp(interpreter.path)
        if manifest.lock and not has_layer(cache_root, manifest.lock, interpreter):
            terms.refuse_if_failing(cache_root, layer_key(cache_root, manifest.lock, interpreter))
        os.makedirs(os.path.dirname(root), mode=0o700, exist_ok=True)  # somebody may have emptied the cache
        os.mkdir(root, 0o755)
        project = os.path.join(root, PROJECT)
        compilation = held.enter_context(
            Compilation(cache_root, project, manifest.files, interpreter, lock_descriptor, terms.given_up)
        )
        extract(stored.file, manifest, project, stored.artifact_id)
        compilation.begin()
        with open(os.path.join(root, MANIFEST), "wb") as file:
            file.write(manifest.to_bytes())
        layer = held.enter_context(_layer(cache_root, root, manifest, interpreter, stored.artifact_id, terms))
        terms.begin("venv")
        site_packages = create_virtual_environment(root, interpreter, os.path.join(cache_root, "virtualenv"))
        import_paths = _import_paths(manifest)
        with open(os.path.join(site_packages, PATH_FILE), "w", encoding="utf-8") as text_file:
            text_file.write(_path_file(root, import_paths, layer))
        terms.begin("compile")
        compiled_bytes, compiled_sha256 = compilation.finish()
        marker = {
            "artifact_id": stored.artifact_id,
            "compiled_bytes": compiled_bytes,
            "compiled_sha256": compiled_sha256,
            "hash": code_version_hash,
            "import_paths": import_paths,
            "interpreter": interpreter.path,
            "interpreter_fingerprint": interpreter.fingerprint,
            "interpreter_stamp": interpreter_stamp,
            "interpreter_version": interpreter.version,
            "layer_root": layer.root if layer else None,
            "root": root,
            "schema": MARKER_SCHEMA,
            "venv_sha256": venv_digest(root),
            # Known once and for all, so that nobody has to walk ten thousand trees to list them.
            "size_bytes": disk_bytes(root),
        }
        note_boot(root)
        write_whole(os.path.join(root, MARKER), canonical_json(marker))
    terms.report("done")


def _layer(
    cache_root: str,
    root: str,
    manifest: Manifest,
    interpreter: Interpreter,
    artifact_id: str,
    terms: Terms,
) -> contextlib.AbstractContextManager[Layer | None]:
    if manifest.lock is None:
        return contextlib.nullcontext()
    terms.begin("layer")
    with open(os.path.join(root, PROJECT, manifest.lock.path), "rb") as file:
        data = file.read()
    try:
        text = lock_text(data)
        # Others share the layer by this digest: an artifact that lies about it would choose what they import.
        honest = hashlib.sha256(text.encode()).hexdigest() == manifest.lock.sha256
        is_new = not has_layer(cache_root, manifest.lock, interpreter)
        if honest and is_new:  # else it was read when that was built
            honest = read_lock(manifest.lock.path, data) is not None
    except UnlockedRequirements as error:
        raise ArtifactCorrupt(artifact_id, f"its lock is none: {error.problem}") from None
    except ValueError:
        raise ArtifactCorrupt(artifact_id, "its lock is not UTF-8 text") from None
    if not honest:
        raise ArtifactCorrupt(artifact_id, "its lock is not the one that its manifest names")
    if is_new:
        terms = dataclasses.replace(terms, indexes=named_indexes(text, _pyproject(root)))
    return layer_in_use(cache_root, manifest.lock, text, interpreter, terms)


def _pyproject(root: str) -> bytes | None:
    try:
        with open(os.path.join(root, PROJECT, "pyproject.toml"), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _import_paths(manifest: Manifest) -> list[str]:
    """Relative to the environment. A `src` that is no package holds packages."""
    in_src = [file.path for file in manifest.files if file.path.startswith("src/")]
    if in_src and "src/__init__.py" not in in_src:
        return [PROJECT, f"{PROJECT}/src"]
    return [PROJECT]


def _path_file(root: str, import_paths: list[str], layer: Layer | None) -> str:
    """The project first, as if started from its directory; then the layer, whose own .pth files count."""
    lines = [os.path.join(root, path) for path in import_paths]
    if layer:
        lines.append(f"import site; site.addsitedir({layer.site_packages!a})")
    return "\n".join(lines) + "\n"


def venv_digest(root: str) -> str:
    """Of the small virtual environment around the project."""
    digest = hashlib.sha256()
    for path, status in sorted(files_below(root, without=PROJECT)):
        if "/" not in path and path.startswith(".hwe-"):  # ours, with checks of their own
            continue
        full = os.path.join(root, path)
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(full)
        else:
            with open(full, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(canonical_json([path, content]))
    return digest.hexdigest()
