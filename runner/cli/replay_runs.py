"""Replays runs, and hands on what came of each in the order in which they were named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from envs import EnvCache, EnvsError
from runner.bundle import Bundle
from runner.bundle_store import BundleStore
from runner.cli.installation import Installation
from runner.errors import RunnerError
from runner.replay import History, LedgerHistory, Replay, Replayed
from runner.side_by_side import side_by_side
from runner.supervisor import Supervisor


@dataclass(frozen=True)
class How:
    """What is asked of a replay. `only` and `first`: keys of steps. The rest as of `Replay` and `Supervisor`."""

    only: str | None = None
    first: str | None = None
    against: str | None = None
    live: bool = False
    tolerance: float = 0.0
    ignore_logs: bool = False
    step_timeout_seconds: float | None = None
    network: bool = False
    writes: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def told(self, sandbox: str) -> dict[str, str]:
        """The same as a person would say it."""
        return {
            "sandbox": sandbox,
            "network": "allowed" if self.network else "cut off",
            "writing": "as granted" if self.writes else "to the scratch directory alone",
            "variables passed on": ", ".join(self.variables) or "none",
            "steps": f"only {self.only}" if self.only else f"from {self.first} on" if self.first else "all",
            "steps are given": "each other's new results" if self.live else "the recorded results",
            "what steps print": "not compared" if self.ignore_logs else "compared",
            "floats may differ by": f"{self.tolerance:g}, relative" if self.tolerance else "nothing",
        }


@dataclass
class RunReplayed:
    """What came of one run. `history` is None when it could not be read, and `problem` says why.

    Close it, or use `with`: until then its bundle is open, if it came in one.
    """

    name: str
    history: History | None = None
    steps: Sequence[Replayed] = ()
    remaining: Sequence[str] = ()
    problem: Exception | None = None
    holding: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def verdict(self) -> str:
        """Of all its steps together."""
        verdicts = {one.verdict for one in self.steps}
        if "different" in verdicts:
            return "different"
        return "same" if verdicts <= {"same", "not replayed"} and "same" in verdicts else "could not"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.holding.close()


class Replayer:
    """What replaying takes, for all runs together."""

    def __init__(
        self, installation: Installation, store: BundleStore, cache: EnvCache, supervisor: Supervisor, how: How
    ) -> None:
        self.how = how
        self.cache = cache
        self.supervisor = supervisor
        self._installation = installation
        self._store = store

    def replay(self, name: str) -> tuple[Replay, contextlib.ExitStack]:
        """The replay of a run or a bundle, not begun, and what holds it. Raises what reading it raises."""
        how = self.how
        with contextlib.ExitStack() as holding:
            history = holding.enter_context(self._history(name))
            replay = Replay(
                history,
                self.supervisor,
                how.against,
                how.live,
                how.tolerance,
                how.ignore_logs,
                how.step_timeout_seconds,
            )
            return replay, holding.pop_all()

    def each(self, names: Sequence[str], jobs: int, on_step: Callable[[Replayed], None]) -> Iterator[RunReplayed]:
        """Replay so many runs at the same time, or of one alone so many steps, each of which `on_step` is told.

        They come in their order. The problem of one alone is raised; that of one of several keeps no other from being
        replayed.
        """
        if len(names) == 1:
            told = self._one(names[0], jobs, on_step)
            if told.problem is not None:
                raise told.problem
            yield told
        else:
            yield from side_by_side(self._one, names, jobs, give_up=self.supervisor.close)

    def _one(self, name: str, jobs: int = 1, on_step: Callable[[Replayed], None] = lambda _: None) -> RunReplayed:
        """Replay one run. What goes wrong with reading it is a `problem`."""
        try:
            replay, holding = self.replay(name)
        except (EnvsError, RunnerError) as error:
            return RunReplayed(name, problem=error)
        with contextlib.ExitStack() as cleanup_on_fail:
            cleanup_on_fail.push(holding)
            try:
                steps = []
                for step in replay.steps(only=self.how.only, first=self.how.first, jobs=jobs):
                    steps.append(step)
                    on_step(step)
                told = RunReplayed(name, replay.history, steps, replay.remaining(), holding=holding)
            except (EnvsError, RunnerError) as error:
                return RunReplayed(name, problem=error)
            cleanup_on_fail.pop_all()
            return told

    @contextlib.contextmanager
    def _history(self, name: str) -> Iterator[History]:
        """What is recorded, in the ledger or in a bundle, from which its code then comes."""
        if Path(name).is_file():
            with Bundle(Path(name)) as bundle, self._store.holding(bundle):
                yield bundle
        else:
            yield LedgerHistory(self._installation.ledger, self._installation.values, name)


@contextlib.contextmanager
def replayer(installation: Installation, how: How, jobs: int) -> Iterator[Replayer]:
    """A replayer for the time of one command."""
    store = BundleStore(installation.store)
    cache = EnvCache(installation.settings.cache, store, retry_failed=True)
    with Supervisor(
        cache,
        installation.settings.sandbox,
        slots=jobs,
        network=how.network,
        comparing=True,
        writes=how.writes,
        project_variables=False,
        variables=how.variables,
    ) as supervisor:
        yield Replayer(installation, store, cache, supervisor, how)
