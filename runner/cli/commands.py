"""The `hwe` commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import ANSWER_IS_NO, doctor, driving, render, set_up_logging
from runner.cli.cache import cache_app
from runner.cli.capturing import capture_command
from runner.cli.checking import check_command
from runner.cli.copy_artifacts import copy_command
from runner.cli.diff import diff_command
from runner.cli.exporting import export_command
from runner.cli.installation import opened, submit
from runner.cli.migrate import migrate_command
from runner.cli.progress import reporter
from runner.cli.render import JsonOption
from runner.cli.replaying import replay_command
from runner.cli.validate import validate_command
from runner.cli.warm import warm_command
from runner.errors import UsageError
from runner.settings import load_settings
from runner.supervisor import DEFAULT_SLOTS

app = typer.Typer(
    name="hwe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Durable workflows whose runs keep the code they started with.\n\n"
        "Submit a run, start a worker, deploy new code whenever you like: "
        "'hwe submit workflow.yaml --policy artifact', 'hwe worker', 'hwe show RUN'."
    ),
    epilog="Exit codes: 0 done, 1 the answer is no (a run failed), 2 wrong usage, 3 could not do it.",
)


class Policy(StrEnum):
    """The modes of strict_code_versioning."""

    disabled = "disabled"
    warn = "warn"
    strict = "strict"
    artifact = "artifact"


class SandboxName(StrEnum):
    """The levels of the sandbox."""

    none = "none"
    process = "process"
    locked_down = "locked-down"


class RunStatus(StrEnum):
    """Where a run can be."""

    pending = "pending"
    running = "running"
    waiting = "waiting"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"


ProjectOption = Annotated[
    Path,
    typer.Option("--project", help="Directory of the code. Default: the current directory.", show_default=False),
]
InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="JSON|@FILE", help="Input of the run, {{inputs}} in the workflow."),
]
RunIdOption = Annotated[str | None, typer.Option("--run-id", help="Id of the run; submitting it twice makes one run.")]
PolicyOption = Annotated[
    Policy | None,
    typer.Option("--policy", help="What to do when the worker's code differs from the run's. Default: the setting."),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]
HERE = Path()

app.command("capture")(capture_command)


@app.command("submit")
def submit_command(
    workflow: Annotated[Path, typer.Argument(help="Highway definition, YAML or JSON.")],
    project: ProjectOption = HERE,
    run_input: InputOption = None,
    run_id: RunIdOption = None,
    policy: PolicyOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check WORKFLOW, store the project's code and a new run of it, and print the run's id. A worker runs it."""
    with opened(load_settings(project, captures=True)) as installation:
        new_id = submit(
            installation,
            workflow,
            project,
            input_text=run_input,
            run_id=run_id,
            policy=policy.value if policy else None,
        )
        if as_json:
            render.print_json(render.run_head(installation.ledger.run(new_id)))
        else:
            print(new_id)


@app.command("run")
def run_command(
    workflow: Annotated[Path, typer.Argument(help="Highway definition, YAML or JSON.")],
    project: ProjectOption = HERE,
    run_input: InputOption = None,
    run_id: RunIdOption = None,
    policy: PolicyOption = None,
    *,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Submit WORKFLOW and run it here, in the foreground, until it ends."""
    set_up_logging(verbose=verbose)
    with opened(load_settings(project, captures=True)) as installation:
        run = driving.run_in_foreground(
            installation,
            workflow,
            project,
            input_text=run_input,
            run_id=run_id,
            policy=policy.value if policy else None,
        )
        run, steps = installation.run_with_steps(run.run_id)
        if as_json:
            render.print_json(render.run_document(run, steps))
        else:
            render.print_run(run, steps)
    if run.status != "completed":
        raise typer.Exit(ANSWER_IS_NO)


@app.command("worker")
def worker_command(
    project: ProjectOption = HERE,
    slots: Annotated[int, typer.Option(min=1, help="Steps to run at the same time.")] = DEFAULT_SLOTS,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="When told to stop, wait so long for steps in progress.")
    ] = 10.0,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="Exit when every run has ended.")] = False,
    verbose: VerboseOption = False,
) -> None:
    """Run submitted workflows until stopped.

    Ctrl-C or SIGTERM ends it after the steps in progress. What they do not finish within --grace is ended and done
    again by the next worker.
    """
    set_up_logging(verbose=verbose)
    with opened(load_settings(project, captures=True)) as installation:
        driving.work(installation, project, slots=slots, drain=drain, grace_seconds=grace)


@app.command("runs")
def runs_command(
    status: Annotated[RunStatus | None, typer.Option(help="Only runs in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, the newest.")] = 100,
    *,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Only runs with steps that ran on other code than the run started with.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    with opened(load_settings(HERE)) as installation:
        runs = installation.ledger.runs(status=status, mixed=mixed, limit=limit)
    if mixed and not runs and not as_json:
        print("no run has steps that ran on other code than it started with")
    elif as_json:
        render.print_json([render.run_head(run) for run in runs])
    else:
        render.print_runs(runs, status=status)


@app.command("show")
def show_command(run_id: Annotated[str, typer.Argument(metavar="RUN")], *, as_json: JsonOption = False) -> None:
    """Show one run, and for each step the code that really ran."""
    with opened(load_settings(HERE)) as installation:
        run, steps = installation.run_with_steps(run_id)
    if as_json:
        render.print_json(render.run_document(run, steps))
    else:
        render.print_run(run, steps)


@app.command("resume")
def resume_command(run_id: Annotated[str, typer.Argument(metavar="RUN")], *, as_json: JsonOption = False) -> None:
    """Let a failed or cancelled run go on from its last completed step, with fresh tries."""
    with opened(load_settings(HERE)) as installation:
        run = installation.ledger.resume(run_id)
    if as_json:
        render.print_json(render.run_head(run))
    else:
        print(f"{run.run_id} is {run.status}: a worker takes it up")


@app.command("cancel")
def cancel_command(run_id: Annotated[str, typer.Argument(metavar="RUN")], *, as_json: JsonOption = False) -> None:
    """Cancel a run; a step in progress is ended."""
    with opened(load_settings(HERE)) as installation:
        run = installation.ledger.cancel(run_id)
    if as_json:
        render.print_json(render.run_head(run))
    else:
        print(f"{run.run_id} is {run.status}")


@app.command("doctor")
def doctor_command(
    sandbox: Annotated[SandboxName | None, typer.Option(help="The level to try. Default: the setting.")] = None,
    *,
    active: Annotated[
        bool,
        typer.Option("--active", help="Also prove, without a network, that every unfinished run has its code here."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the sandbox enforces on this machine, by trying it. Exit code 1: something is absent.

    With --active, also whether each version that an unfinished run started on can be built here and now from what this
    machine and the artifact store have, by building it; what cannot is told with what is missing.
    """
    settings = load_settings(HERE)
    document = doctor.examine(settings, sandbox.value if sandbox else None)
    if active:
        with reporter() as told:
            document["active"] = doctor.examine_active(settings, told)
    if as_json:
        render.print_json(document)
    else:
        doctor.print_findings(document)
    if not doctor.is_sound(document):
        raise typer.Exit(ANSWER_IS_NO)


app.command("warm")(warm_command)
app.add_typer(cache_app, name="cache")
app.command("diff")(diff_command)
app.command("validate-code-versions")(validate_command)
app.command("copy-artifacts")(copy_command)
app.command("migrate")(migrate_command)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"hwe-runner {version('hwe-runner')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version_option: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if not HERE.absolute().is_dir():
        raise UsageError("the current directory no longer exists: change to another one")


app.command("replay")(replay_command)
app.command("check")(check_command)
app.command("export")(export_command)
