"""`hwe replay`: the recorded steps of a run once more, each with what it was given then."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from envs import EnvCache, EnvsError, capture
from runner.bundle import Bundle
from runner.bundle_store import BundleStore
from runner.cli import ANSWER_IS_NO, COULD_NOT, complain, debugging, render, replay_reports, set_up_logging
from runner.cli.installation import Installation, opened
from runner.cli.pages.writing import check_target, write
from runner.errors import RunnerError, UsageError
from runner.replay import History, LedgerHistory, Replay, Replayed
from runner.settings import load_settings
from runner.supervisor import Supervisor

HERE = Path()


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
    step_timeout: Annotated[
        float | None,
        typer.Option(
            "--step-timeout",
            metavar="SECONDS",
            min=0.001,
            help="End steps that have no timeout after that; else after ten times what they took, 60 s at least.",
        ),
    ] = None,
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
    if step is not None and first is not None:
        raise UsageError("--step is one step, and --from it and those after it: leave one of them out")
    if to_debug is not None and as_json:
        raise UsageError("--json is for programs, and a debugger for people: leave one of them out")
    if bool(names) == every:
        raise UsageError("name the runs to replay, or say --all")
    if to_debug is not None and len(names or []) != 1:
        raise UsageError("a debugger is for one run: name that")
    if html:
        if to_debug is not None or len(names or []) != 1:
            raise UsageError("--html is for the replay of one run: name that, and debug it without")
        check_target(html)
    with opened(load_settings(HERE)) as installation, contextlib.ExitStack() as holding:
        store = BundleStore(None, installation.store)
        version = None if against is None else _version(installation, against)
        supervisor = holding.enter_context(
            Supervisor(
                cache := EnvCache(installation.settings.cache, store, retry_failed=True),
                installation.settings.sandbox,
                slots=1,
                network=allow_network,
                comparing=True,
                writes=allow_writes,
                project_variables=False,
                variables=variables,
            )
        )
        wanted = [run.run_id for run in installation.ledger.runs(limit=sys.maxsize)] if every else list(names or [])
        documents: list[dict[str, Any]] = []
        page = ""
        for name in wanted:
            with _several(name, documents, is_one=len(wanted) == 1), _history(installation, name, store) as history:
                replay = Replay(history, supervisor, version, live, tolerance, ignore_logs, step_timeout)
                if to_debug is not None:
                    debugging.debug(replay, cache, to_debug)
                    return
                replayed = []
                for one in replay.steps(only=step, first=first):
                    replayed.append(one)
                    if not as_json and (len(wanted) == 1 or one.verdict in {"different", "could not"}):
                        replay_reports.print_step(one)
                verdict, remaining = _verdict(replayed), replay.remaining()
                documents.append(
                    {**replay_reports.document(history.run, replayed, verdict, version), "remaining": remaining}
                )
                if html:
                    from runner.cli.pages.replay_page import replay_page

                    how = {
                        "sandbox": supervisor.sandbox,
                        "network": "allowed" if allow_network else "cut off",
                        "writing": "as granted" if allow_writes else "to the scratch directory alone",
                        "variables passed on": ", ".join(variables) or "none",
                        "steps": f"only {step}" if step else f"from {first} on" if first else "all",
                        "steps are given": "each other's new results" if live else "the recorded results",
                        "what steps print": "not compared" if ignore_logs else "compared",
                        "floats may differ by": f"{tolerance:g}, relative" if tolerance else "nothing",
                        "not recorded yet": ", ".join(remaining) or "nothing",
                    }
                    page = replay_page(history, replayed, verdict, cache=cache, against=version, how=how)
                if not as_json:
                    if len(wanted) == 1:
                        replay_reports.print_costs(replayed)
                    replay_reports.print_verdict(history.run, replayed, verdict, version)
                    if len(wanted) == 1:
                        replay_reports.print_how_far(replayed, remaining, may_write=allow_writes)
    counts = Counter(str(document["verdict"]) for document in documents)
    overall = "different" if counts["different"] else "same" if set(counts) == {"same"} else "could not"
    if as_json:
        together = {"verdict": overall, "verdicts": dict(counts), "runs": documents}
        render.print_json(documents[0] if len(wanted) == 1 and not every else together)
    elif len(wanted) != 1:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "there are none"
        replay_reports.console().print(f"{len(wanted)} runs: [bold]{overall}[/] ({told})")
    if html:
        write(html, page)
    if overall != "same":
        raise typer.Exit(ANSWER_IS_NO if overall == "different" else COULD_NOT)


@contextlib.contextmanager
def _several(name: str, documents: list[dict[str, Any]], *, is_one: bool) -> Iterator[None]:
    """One of several runs that cannot be read does not keep the others from being replayed."""
    try:
        yield
    except (EnvsError, RunnerError) as error:
        if is_one:
            raise
        complain(f"{name}: {error}")
        documents.append({"run_id": name, "verdict": "could not", "detail": str(error), "steps": []})


@contextlib.contextmanager
def _history(installation: Installation, name: str, store: BundleStore) -> Iterator[History]:
    """What is recorded, in the ledger or in a bundle, from which its code then comes."""
    if Path(name).is_file():
        with Bundle(Path(name)) as bundle:
            store.bundle = bundle
            yield bundle
    else:
        store.bundle = None
        yield LedgerHistory(installation.ledger, installation.values, name)


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


def _verdict(replayed: list[Replayed]) -> str:
    verdicts = {one.verdict for one in replayed}
    if "different" in verdicts:
        return "different"
    return "same" if verdicts <= {"same", "not replayed"} and "same" in verdicts else "could not"
