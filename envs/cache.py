"""The environments of this machine, and who is using them.

<cache>/versions/<hash>/         environments; finished when the marker is in it
<cache>/layers/<key>/            dependency layers
<cache>/leases/<hash>.lock       held shared by who runs in an environment, exclusively by who removes it;
                                 its time is that of the last use
<cache>/locks/                   held by who builds
<cache>/trash/                   renamed away before it is removed, so that a half removed one is never found
<cache>/quarantine/              environments that were found damaged, for a person to look at
<cache>/logs/                    what the tools said
"""

import contextlib
import dataclasses
import glob
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from envs.boots import NOTE, may_be_lost, settle
from envs.cache_root import usable_root
from envs.errors import BuildGivenUp, CacheUnusable, EnvironmentBroken, EnvironmentDamaged, explain_os_error
from envs.inspection import Damage, inspect_environment, inspect_layer, sampled_damage
from envs.layers import MARKER as LAYER_MARKER
from envs.layers import Terms
from envs.layers import lease_path as layer_lease_path
from envs.locks import exclusive, exclusive_now, take_shared, take_shared_to_read
from envs.manifest import check_hash, is_sha256
from envs.materialize import MARKER, Environment, materialize, read_environment
from envs.stores import ArtifactStore
from envs.trash import discard, empty_trash

logger = logging.getLogger("envs")

Progress = Callable[[str, str], None]

# The phases that are the last of a lease: see EnvCache.
FINAL_PHASES = frozenset({"done", "ready", "failed", "given up"})

# Whoever lists or clears the cache holds a lease for a moment; so long it is no sign that somebody runs in it.
LOOK_SECONDS = 0.2

# Behind a killed build a crowd may wait, each of whom looks once: it is told apart from who stays by this.
PATIENCE_SECONDS = 2.0


class Lease:
    """The right to run in one environment: as long as it lasts, nobody removes or rebuilds it.

    Held by the kernel for this process, and dropped by it however the process ends. May be entered in one
    thread and left in another. A lease that is never left lasts as long as the process: forgetting one must
    not pull the environment away under those who run in it.
    """

    def __init__(self, cache: "EnvCache", code_version_hash: str, given_up: Callable[[], bool] = bool) -> None:
        self._cache = cache
        self._hash = code_version_hash
        self._given_up = given_up
        self._guard = threading.Lock()
        self._descriptors: tuple[int, ...] = ()
        self.environment: Environment | None = None

    def __enter__(self) -> Environment:
        if self._descriptors:
            raise RuntimeError("a lease is entered once; ask the cache for another one")
        self._descriptors, self.environment = self._cache._acquire(self._hash, self._given_up)  # noqa: SLF001  # two halves of one protocol
        return self.environment

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give it back; again is no harm."""
        with self._guard:
            descriptors, self._descriptors = self._descriptors, ()
        if descriptors:
            _note_use(descriptors[0])
        for descriptor in descriptors:
            os.close(descriptor)


def _note_use(descriptor: int) -> None:
    """The time of the lease file is that of the last use: by it, the cache is cleared."""
    with contextlib.suppress(OSError):
        os.utime(descriptor)


def _cannot_build(code_version_hash: str, environment: Environment | None, damage: Damage | None) -> str:
    missing = environment.missing_part() if environment else None
    what = f"is broken ({missing} is missing)" if missing else "is not in it"
    if damage:
        what = f"is damaged ({damage.problem})"
    return (
        f"cannot be written, and code version {code_version_hash} {what}; build it where the cache can be written "
        f"(hwe warm {code_version_hash[:12]}), or choose another place"
    )


class EnvCache:
    """Environments of code versions, built on first use and kept.

    `root` is made when it is missing, for this user alone. `read_only`: it cannot be written, so only what is built
    already can be leased. `store`: where artifacts come from; None: only
    what is built already. `on_progress(hash, phase)` is called in the leasing thread with fetch, verify,
    layer, venv, compile; "wait" while another builder is at work; and at the end "done", "ready" (the other has built
    it), "failed" or "given up". `retry_failed`: also try, once, what failed before this object was made.
    `offline`: install from what this machine has, or fail. Raises CacheUnusable.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        store: ArtifactStore | None = None,
        *,
        on_progress: Progress | None = None,
        retry_failed: bool = False,
        offline: bool = False,
    ) -> None:
        self.root, self.read_only = usable_root(os.path.abspath(os.path.expanduser(os.fspath(root))))
        self.store = store
        self._on_progress = on_progress
        self._terms = Terms(forgive_before=time.time() if retry_failed else 0.0, offline=offline, store=store)

    def lease(self, code_version_hash: str, *, given_up: Callable[[], bool] = bool) -> Lease:
        """A lease to be entered: `with cache.lease(hash) as environment`. Raises HashInvalid.

        Entering builds the environment when it is not there, or waits for whoever is building it. `given_up` is asked a
        few times a second meanwhile: when it says so, the build is ended with all that it started, nothing of it is
        left or remembered, and entering raises BuildGivenUp. Else it raises CodeVersionNotFound, ArtifactCorrupt,
        PythonNotFound, EnvironmentBuildFailed, EnvironmentBroken, EnvironmentDamaged, CacheUnusable and StoreUnusable.
        """
        return Lease(self, check_hash(code_version_hash), given_up)

    def is_ready(self, code_version_hash: str) -> bool:
        """Whether a lease would be had without building."""
        return read_environment(self._path(check_hash(code_version_hash)), code_version_hash) is not None

    def hashes(self) -> Iterator[str]:
        """The code versions whose environments are finished."""
        try:
            names = sorted(os.listdir(os.path.join(self.root, "versions")))
        except FileNotFoundError:
            return iter(())
        return iter([name for name in names if is_sha256(name) and self.is_ready(name)])

    def lease_path(self, code_version_hash: str) -> str:
        """The file whose lock is the lease of an environment."""
        return os.path.join(self.root, "leases", f"{code_version_hash}.lock")

    def _path(self, code_version_hash: str) -> str:
        return os.path.join(self.root, "versions", code_version_hash)

    def _acquire(self, code_version_hash: str, given_up: Callable[[], bool]) -> tuple[tuple[int, ...], Environment]:
        """The locks on the environment and on its layer, and the environment."""
        root = self._path(code_version_hash)
        lease_path = self.lease_path(code_version_hash)
        # What is outdated runs on as it is where it cannot be built again: on a build of the same minor version.
        stays = self.read_only
        with self._os_errors():
            while True:
                with contextlib.ExitStack() as held:
                    descriptors = [self._take_lease(lease_path, root)]
                    held.callback(os.close, descriptors[0])
                    environment = read_environment(root, code_version_hash)
                    damage = None
                    if environment and environment.layer_root:
                        layer = str(environment.layer_root)
                        descriptors.append(
                            self._take_lease(layer_lease_path(self.root, os.path.basename(layer)), layer)
                        )
                        held.callback(os.close, descriptors[1])
                    unsettled = not self.read_only and may_be_lost(root)
                    if environment and not unsettled and not environment.missing_part():
                        damage = sampled_damage(environment)
                        if damage is None and (stays or not environment.is_outdated()):
                            _note_use(descriptors[0])
                            held.pop_all()
                            return tuple(descriptors), environment
                if self.read_only:
                    raise CacheUnusable(self.root, _cannot_build(code_version_hash, environment, damage))
                if environment and unsettled and not environment.missing_part():
                    self._look_at_all_of(environment)
                    continue
                if damage:
                    self._put_aside(damage)
                # Between the end of the build and the next lock it may be removed again: then all of it once
                # more.
                report = self._reporter(code_version_hash)
                terms = dataclasses.replace(self._terms, given_up=given_up, report=report)
                try:
                    stays = self._build(code_version_hash, root, lease_path, terms)
                except BaseException as error:
                    if read_environment(root, code_version_hash) is None:
                        report("given up" if isinstance(error, BuildGivenUp) else "failed")
                    raise

    def _look_at_all_of(self, environment: Environment) -> None:
        """The machine went down since it was built."""
        logger.info("environment %s: the machine was restarted since: looking at all of it", environment.hash)
        self._inspect(environment.hash)
        if layer := environment.layer_root:
            self._inspect(environment.hash, layer.name)
            settle(str(layer))
        settle(str(environment.root))

    def settle(self) -> None:
        """Have all that is finished by now written to the disk: no lease after a restart has to look at all of it."""
        noted = [
            root
            for folder, marker in (("versions", MARKER), ("layers", LAYER_MARKER))
            for root in glob.glob(os.path.join(glob.escape(self.root), folder, "*"))
            if os.path.lexists(os.path.join(root, NOTE)) and os.path.exists(os.path.join(root, marker))
        ]
        if noted and not self.read_only:
            os.sync()
        for root in noted:
            settle(root)

    def _put_aside(self, damage: Damage) -> None:
        logger.warning("environment %s: %s: looking at all of it", damage.code_version_hash, damage.problem)
        self._inspect(damage.code_version_hash, damage.layer_key)

    def _inspect(self, code_version_hash: str, layer_key: str | None = None) -> None:
        if layer_key:
            inspected = inspect_layer(self.root, layer_key)
        else:
            inspected = inspect_environment(self.root, code_version_hash, self.store)
        if inspected and inspected.verdict == "damaged":
            raise EnvironmentDamaged(code_version_hash, inspected.problems)
        if inspected and inspected.moved_to:
            logger.warning(
                "environment %s: moved to %s, and built again: %s",
                code_version_hash, inspected.moved_to, "; ".join(inspected.problems),
            )  # fmt: skip

    def _take_lease(self, lease_path: str, leased: str) -> int:
        return take_shared_to_read(lease_path, leased) if self.read_only else take_shared(lease_path)

    def _build(self, code_version_hash: str, root: str, lease_path: str, terms: Terms) -> bool:
        """Build it, unless somebody else has. Returns whether it stays outdated, since somebody runs in it."""
        os.makedirs(os.path.dirname(root), mode=0o700, exist_ok=True)
        with exclusive(
            os.path.join(self.root, "locks", f"version-{code_version_hash}.lock"), terms.wait
        ) as lock_descriptor:
            environment = read_environment(root, code_version_hash)
            if environment:
                missing = environment.missing_part()
                if not missing and not environment.is_outdated():
                    terms.report("ready")
                    return False
                with exclusive_now(lease_path, patience_seconds=LOOK_SECONDS) as alone:
                    if not alone and missing:
                        raise EnvironmentBroken(code_version_hash, missing)
                    if not alone:
                        return True
                    discard(self.root, root)
            elif os.path.lexists(root):
                # A killed build; or of another release, or its marker was damaged or lost, and steps may run in it.
                with exclusive_now(lease_path, patience_seconds=PATIENCE_SECONDS) as alone:
                    if not alone:
                        raise EnvironmentDamaged(code_version_hash, [f"{MARKER} cannot be read by this release"])
                    discard(self.root, root)
            empty_trash(self.root)
            try:
                materialize(self.root, root, code_version_hash, self.store, lock_descriptor, terms)
            except BaseException:
                # Nobody runs in one without a marker; one with it is finished, whatever went wrong
                # afterwards.
                if read_environment(root, code_version_hash) is None:
                    discard(self.root, root)
                    empty_trash(self.root)
                raise
        return False

    def _reporter(self, code_version_hash: str) -> Callable[[str], None]:
        """Tells each phase once, and how it ended if anything was told."""
        last = ""

        def report(phase: str) -> None:
            nonlocal last
            if self._on_progress and phase != last and (last or phase not in FINAL_PHASES):
                last = phase
                self._on_progress(code_version_hash, phase)

        return report

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheUnusable(self.root, explain_os_error(error)) from error
