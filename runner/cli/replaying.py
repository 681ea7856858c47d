"""`hwe replay`: the recorded steps of a run once more, each with what it was given then."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from envs import capture
from runner.cli import ANSWER_IS_NO, COULD_NOT, debugging, render, replay_reports, set_up_logging
from runner.cli.installation import Installation, opened
from runner.cli.pages.writing import check_target, write
from runner.cli.replay_runs import How, Replayer, RunReplayed, replayer
from runner.errors import UsageError
from runner.settings import load_settings

# No more than the cores that this process may use: a replay computes, and each takes the memory of a step.
DEFAULT_JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

HERE = Path()

StepTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--step-timeout",
        metavar="SECONDS",
        min=0.001,
        help="End steps that are run again then, if they have no timeout; else after ten times what they took, "
        "60 s at least.",
    ),
]


def replay_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|BUNDLE...", help="Ids of runs, or files that `hwe export` wrote.", show_default=False
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every run in the ledger.")] = False,
    step: Annotated[str | None, typer.Option("--step", metavar="KEY", help="Only the attempts of this step.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="KEY", help="This step and those after it.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Steps get each other's new results instead of the recorded ones.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="HASH|PROJECT",
            help="Run all steps on this code version, or on the code of this project, instead of the recorded ones.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="How far floats may be from the recorded ones, relative.")
    ] = 0.0,
    ignore_logs: Annotated[
        bool, typer.Option("--ignore-logs", help="What steps print may differ from what is recorded.")
    ] = False,
    step_timeout: StepTimeoutOption = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Steps may reach the network, and repeat what they did there.")
    ] = False,
    allow_writes: Annotated[
        bool,
        typer.Option("--allow-writes", help="Steps may write to what their project's settings say is writable."),
    ] = False,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME", help="Pass this environment variable on; repeatable.")
    ] = None,
    pdb: Annotated[
        str | None,
        typer.Option("--pdb", metavar="STEP", help="Debug this step: stop where it raises, or at --break."),
    ] = None,
    breaks: Annotated[
        list[str] | None,
        typer.Option("--break", metavar="FILE:LINE", help="With --pdb: stop at this line; repeatable."),
    ] = None,
    shell: Annotated[
        str | None,
        typer.Option("--shell", metavar="STEP", help="A prompt with what this step was called with, in its process."),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help="Of --pdb and --shell; else the last that failed, or the last."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page to look at and to pass on: timeline, results, errors and logs beside each other, code.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, help="Replay so many runs at the same time, or, of one run, steps.")
    ] = DEFAULT_JOBS,
    as_json: render.JsonOption = False,
) -> None:
    """Run the recorded steps of RUN again, on the code they ran on, and tell where they come out otherwise.

    Each step gets its recorded input, seed and attempt, in a fresh process that reaches no network, writes to its own
    scratch directory alone, and sees none of your variables. Its result or error, and what it prints, are compared
    with what is recorded. What ctx.step recorded is not done again, and nothing is written to the ledger. Exit codes:
    0 the same, 1 something differs, 3 could not tell.
    """
    set_up_logging(verbose=False)
    variables = variables_of(env or [])
    to_debug = debugging.asked(pdb, shell, breaks or [], attempt)
    _check(names or [], to_debug, html, every=every, one_step=step is not None and first is not None, as_json=as_json)
    with opened(load_settings(HERE)) as installation:
        version = None if against is None else _version(installation, against)
        wanted = [run.run_id for run in installation.ledger.runs(limit=sys.maxsize)] if every else list(names or [])
        is_one = len(wanted) == 1
        how = How(
            step, first, version, live, tolerance, ignore_logs, step_timeout,
            network=allow_network, writes=allow_writes, variables=variables,
        )  # fmt: skip
        page: _Page | None = None
        told = replay_reports.Told(
            version, is_one=is_one, together=every or not is_one, as_json=as_json, may_write=allow_writes
        )
        with replayer(installation, how, jobs) as replaying:
            if to_debug is not None:
                _debug(replaying, wanted[0], to_debug)
                return
            if html:
                page = _Page(replaying, is_one=is_one)
            for run in replaying.each(wanted, jobs, told.step):
                with run:
                    told.run(run)
                    if page is not None:
                        page.add(run)
    told.end()
    if html and page is not None:
        write(html, page.text(told.verdict))
    if told.verdict != "same":
        raise typer.Exit(ANSWER_IS_NO if told.verdict == "different" else COULD_NOT)


def _check(
    names: Sequence[str],
    to_debug: debugging.Asked | None,
    html: Path | None,
    *,
    every: bool,
    one_step: bool,
    as_json: bool,
) -> None:
    """Refuse options that make no sense together. Raises `UsageError`."""
    if one_step:
        raise UsageError("--step is one step, and --from it and those after it: leave one of them out")
    if bool(names) == every:
        raise UsageError("name the runs to replay, or say --all")
    if to_debug is not None:
        if as_json:
            raise UsageError("--json is for programs, and a debugger for people: leave one of them out")
        if len(names) != 1:
            raise UsageError("a debugger is for one run: name that")
    if html:
        if to_debug is not None:
            raise UsageError("--html is of a replay, and a debugger for a person: leave one of them out")
        check_target(html)


def _debug(replaying: Replayer, name: str, asked: debugging.Asked) -> None:
    replay, holding = replaying.replay(name)
    with holding:
        debugging.debug(replay, replaying.cache, asked)


class _Page:
    """The page of one run, or of several."""

    def __init__(self, replaying: Replayer, *, is_one: bool) -> None:
        from runner.cli.pages.replays_page import RunsPage  # late: what makes pages takes a while to import

        self._replaying = replaying
        self._how = replaying.how.told(replaying.supervisor.sandbox)
        self._several = None if is_one else RunsPage(replaying.cache, replaying.how.against)
        self._of_one = ""

    def add(self, run: RunReplayed) -> None:
        """A run, when all of it is known and what it came from is open."""
        if self._several is not None:
            self._several.add(run)
        elif run.history is not None:
            from runner.cli.pages.replay_page import replay_page

            how = {**self._how, "not recorded yet": ", ".join(run.remaining) or "nothing"}
            against = self._replaying.how.against
            self._of_one = replay_page(
                run.history, run.steps, run.verdict, cache=self._replaying.cache, against=against, how=how
            )

    def text(self, verdict: str) -> str:
        """All of it. `verdict`: of all runs together."""
        return self._of_one if self._several is None else self._several.render(verdict, self._how)


def variables_of(names: list[str]) -> dict[str, str]:
    """The environment variables that `--env` names. Raises `UsageError`."""
    for name in names:
        if name not in os.environ:
            raise UsageError(f"--env {name}: there is no such variable here; set it, or leave it out")
    return {name: os.environ[name] for name in names}


def _version(installation: Installation, against: str) -> str:
    """The hash that `--against` means; a project's code is stored first."""
    if Path(against).is_dir():
        version = capture(Path(against))
        installation.store.put(version)
        return version.hash
    return installation.full_hash(against)
