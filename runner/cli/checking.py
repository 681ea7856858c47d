"""`hwe check`: would the runs in flight go on on this code? For CI, before a deploy."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from envs import CodeVersion, capture
from runner.check import VERDICTS, Check, RunVerdict, sample
from runner.cli import ANSWER_IS_NO, COULD_NOT, check_reports, render, set_up_logging
from runner.cli.installation import Installation, opened
from runner.cli.pages.writing import check_target, write
from runner.cli.replaying import StepTimeoutOption, variables_of
from runner.definition import Definition, DefinitionInvalid, load_definition
from runner.errors import UsageError, ZygoteFailed
from runner.replay import LedgerHistory
from runner.settings import load_settings
from runner.supervisor import DEFAULT_SLOTS, Supervisor

logger = logging.getLogger("hwe.project")

_SHOWN_RUNS = 40
_MAX_WORKFLOW_BYTES = 1_000_000
# Looked for anywhere in a project, so not everything that has such a name is a workflow.
_WORKFLOW_SUFFIXES = (".yaml", ".yml", ".json")


def check_command(
    project: Annotated[Path, typer.Argument(help="Directory of the code that is to be deployed.")] = Path(),
    *,
    limit: Annotated[
        int, typer.Option(min=1, help="Look at most at so many runs, some of each workflow and version.")
    ] = 10_000,
    only: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN", help="Look at this run; repeatable. Ended ones too.")
    ] = None,
    replaying: Annotated[
        bool, typer.Option("--replay", help="Also run the recorded steps again, and compare their results.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="With --replay: how far floats may be apart, relative.")
    ] = 0.0,
    step_timeout: StepTimeoutOption = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="What is imported or replayed may reach the network.")
    ] = False,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME", help="Pass this environment variable on; repeatable.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a summary for a pull request.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page to look at and to pass on: what was found, run by run, and what differs in the code.",
        ),
    ] = None,
    as_json: render.JsonOption = False,
) -> None:
    """Tell, run by run, whether the unfinished runs could go on on the code of PROJECT.

    In PROJECT's own environment, the values that the remaining steps need are loaded, their functions found and the
    recorded arguments bound. Nothing of a run is called, unless with --replay, and the ledger is not written to.
    Exit codes: 0 all compatible, 1 some are not, 3 could not tell.
    """
    set_up_logging(verbose=False)
    if html:
        check_target(html)
    variables = variables_of(env or [])
    with opened(load_settings(project, captures=True)) as installation:
        version = capture(project)
        installation.keep(version)
        heads = installation.ledger.unfinished_heads()
        ids = [installation.ledger.run(name).run_id for name in only] if only else sample(heads, limit)
        cache = installation.cache(lambda *_: None, retry_failed=True)
        with Supervisor(
            cache,
            installation.settings.sandbox,
            network=allow_network,
            comparing=True,
            writes=False,
            project_variables=not replaying,  # without, nothing is run but what modules do on import
            variables=variables,
            memory_bytes=None if replaying else _share_of_memory(),  # steps have what their project gives them
        ) as supervisor:
            with contextlib.suppress(ZygoteFailed):  # told of each run, as a module that does not import
                supervisor.warm(version.hash)  # what else fails here is no run's fault
            workflows = _workflows(version, project)
            check = Check(supervisor, version.hash, workflows, replaying, tolerance, step_timeout)
            verdicts = list(_progress(_check_all(installation, check, ids), len(ids)))
        left_out = _left_out(heads, ids) if not only else {}
        document = _document(version, verdicts, len(heads), left_out)
        page = ""
        if html:
            from runner.cli.pages.check_page import check_page

            of_runs = [one.run.code_version_hash for one in verdicts] if only else [code for _, _, code in heads]
            how = {
                "sandbox": supervisor.sandbox,
                "network": "allowed" if allow_network else "cut off",
                "variables passed on": ", ".join(variables) or "none",
                "recorded steps": "run again" if replaying else "not run again: --replay does",
                "floats may differ by": f"{tolerance:g}, relative" if tolerance else "nothing",
            }
            page = check_page(document, cache=cache, versions=Counter(of_runs), how=how)
    if junit:
        _write(junit, check_reports.junit(document))
    if markdown:
        _write(markdown, check_reports.markdown(document))
    if as_json:
        render.print_json(document)
    else:
        _print(document)
    if html:
        write(html, page)
    counts = document["verdicts"]
    if document["checked"] != counts.get("compatible", 0):
        is_no = document["checked"] - counts.get("compatible", 0) - counts.get("could not", 0)
        raise typer.Exit(ANSWER_IS_NO if is_no else COULD_NOT)


def _share_of_memory() -> int:
    """Half of what the machine has, divided among those that look at runs: no import may take the machine down."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return total // 2 // DEFAULT_SLOTS


def _check_all(installation: Installation, check: Check, ids: Sequence[str]) -> Iterator[RunVerdict]:
    ledger, values = installation.ledger, installation.values
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1), thread_name_prefix="hwe-check") as pool:
        yield from pool.map(lambda run_id: check.run(LedgerHistory(ledger, values, run_id)), ids)


def _progress(verdicts: Iterator[RunVerdict], count: int) -> Iterator[RunVerdict]:
    """A bar on a terminal; nothing in a pipe."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        yield from progress.track(verdicts, total=count, description="looking at runs")


def _workflows(version: CodeVersion, project: Path) -> dict[str, Definition]:
    """The workflows in the project's files, by name. Two of one name: which is meant cannot be known, so neither."""
    found: dict[str, Definition] = {}
    twice = set()
    for entry in version.manifest.files:
        if not entry.path.endswith(_WORKFLOW_SUFFIXES) or entry.size > _MAX_WORKFLOW_BYTES:
            continue
        try:
            text = (project / entry.path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        try:
            definition = load_definition(text, source_name=entry.path)
        except DefinitionInvalid as error:
            if "tasks" in text and "operator_type" in text:  # meant to be one
                logger.warning("not compared with the runs' own workflows: %s", error)
            continue
        if definition.name in found and found[definition.name].hash != definition.hash:
            twice.add(definition.name)
        found[definition.name] = definition
    return {name: definition for name, definition in found.items() if name not in twice}


def _left_out(heads: Sequence[tuple[str, str, str]], ids: Sequence[str]) -> dict[tuple[str, str], int]:
    looked_at = set(ids)
    return Counter((workflow, version) for run_id, workflow, version in heads if run_id not in looked_at)


def _document(
    version: CodeVersion, verdicts: Sequence[RunVerdict], unfinished: int, left_out: dict[tuple[str, str], int]
) -> dict[str, Any]:
    counts = Counter(verdict.verdict for verdict in verdicts)
    return {
        "code_version_hash": version.hash,
        "project": version.project,
        "unfinished_runs": unfinished,
        "checked": len(verdicts),
        "left_out": [
            {"workflow_name": workflow, "code_version_hash": code, "runs": runs}
            for (workflow, code), runs in sorted(left_out.items())
        ],
        "verdicts": {name: counts[name] for name in VERDICTS if counts[name]},
        "ok": counts["compatible"] == len(verdicts),
        "runs": [
            {
                "run_id": one.run.run_id,
                "workflow_name": one.run.workflow_name,
                "status": one.run.status,
                "policy": one.run.policy,
                "code_version_hash": one.run.code_version_hash,
                "verdict": one.verdict,
                "remaining": list(one.remaining),
                "findings": [vars(finding) for finding in one.findings],
            }
            for one in verdicts
        ],
    }


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _print(document: dict[str, Any]) -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)
    broken = [run for run in document["runs"] if run["verdict"] != "compatible"]
    if broken:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("run", "workflow", "started on", "verdict", "step", "why"):
            table.add_column(column, overflow="fold")
        for run in broken[:_SHOWN_RUNS]:
            first = next(finding for finding in run["findings"] if finding["verdict"] == run["verdict"])
            more = f" (and {len(run['findings']) - 1} more)" if len(run["findings"]) > 1 else ""
            cells = (run["run_id"], run["workflow_name"], run["code_version_hash"][:12], run["verdict"])
            table.add_row(*map(escape, (*cells, first["step_key"], first["detail"] + more)))
        console.print(table)
        if len(broken) > _SHOWN_RUNS:
            console.print(f"and {len(broken) - _SHOWN_RUNS} more runs; --json has them", style="dim")
    console.print(check_reports.summary(document), soft_wrap=True)
