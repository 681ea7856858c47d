"""What was redacted from a bundle and still is in it, since other steps made something of it."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from runner.bundle import Bundle
from runner.definition import Definition, Task
from runner.ledger import RecordedRun, StepRecord
from runner.payload import Payload
from runner.redaction import Redaction, inside
from runner.templates import expressions
from runner.traces import Traces


def redacted_values(recorded: RecordedRun, redaction: Redaction, payload: Callable[[bytes], Payload]) -> Traces:
    """What is to be looked for: the hidden values themselves, and those that hidden steps were given."""
    traces, run = Traces(), recorded.run
    definition = Definition.from_json(run.definition)
    for path in redaction.input_paths:
        traces.add(inside(run.input, path))
    for name, value in definition.variables.items():
        if redaction.hides_variable(name):
            traces.add(value)
    for given in recorded.variables:
        if redaction.hides_variable(given.name, given.step_key):
            traces.add(given.value)
    for step in recorded.steps:
        if redaction.hides_step(step.step_key):
            traces.add([step.input, (step.error or {}).get("message")])
            _add_given(traces, step, definition, recorded, payload)
            if step.result is not None:
                traces.add_payload(payload(step.result))
    for (step_key, _), (_, result) in recorded.parts.items():
        if redaction.hides_step(step_key):
            traces.add_payload(payload(result))
    return traces


def _add_given(
    traces: Traces,
    step: StepRecord,
    definition: Definition,
    recorded: RecordedRun,
    payload: Callable[[bytes], Payload],
) -> None:
    """What the templates in a step's arguments stood for."""
    values = {**definition.variables, "inputs": recorded.run.input}
    values |= {given.name: given.value for given in recorded.variables if given.set_at < step.started_at}
    keys = {task.task_id: task.result_key for task in definition.tasks.values() if isinstance(task, Task)}
    results = {keys.get(other.step_key): other.result for other in recorded.steps if other.result is not None}
    for root, *rest in filter(None, expressions(step.input)):
        with contextlib.suppress(KeyError):  # the step failed for it, or it is an attribute
            if (result := results.get(root)) is None:
                traces.add(inside(values, [root, *rest]))
            elif (whole := payload(result)).has_json:
                traces.add(inside(whole.json(), rest))
            else:
                traces.add_payload(whole)  # which part of an object that is, only its class knows


def leftovers(bundle: Bundle, traces: Traces) -> list[str]:
    """Where in a bundle they still are, as `--redact` would call it, and of the code the files."""
    if not traces:
        return []
    found = [place for place, value in _told(bundle) if traces.in_json(value)]
    found += [f"steps.{step_key}" for step_key, result in _values(bundle) if traces.in_payload(bundle.payload(result))]
    found += [f"{path} of the code" for path, content in _files(bundle) if traces.in_bytes(content)]
    return list(dict.fromkeys(found))


def _told(bundle: Bundle) -> Iterator[tuple[str, Any]]:
    run, document = bundle.run, json.loads(bundle.run.definition)
    if isinstance(run.input, dict):
        yield from ((f"input.{name}", {name: value}) for name, value in run.input.items())
    else:
        yield "input", run.input
    for name, value in (document.get("variables") or {}).items():
        yield f"variables.{name}", value
    for given in bundle.variables:
        yield f"variables.{given.name}", given.value
    for name, task in document["tasks"].items():
        yield f"steps.{name}", [task.get("args"), task.get("kwargs")]
    for step in bundle.steps:
        yield f"steps.{step.step_key}", [step.input, step.value, step.error, step.stdout, step.stderr]
    yield f"steps.{run.error['step_key']}" if run.error and "step_key" in run.error else "error", run.error
    yield "output", run.output


def _values(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    for step in bundle.steps:
        if step.result is not None:
            yield step.step_key, step.result
    yield from bundle.parts()


def _files(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    for code_version_hash in bundle.hashes:
        with bundle.artifact(code_version_hash) as stored, zipfile.ZipFile(stored.file) as archive:
            for name in archive.namelist():
                if name.startswith("files/"):
                    yield name.removeprefix("files/"), archive.read(name)
