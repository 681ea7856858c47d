"""The document of `hwe check --json` in the forms that CI systems and pull requests show."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

_SHOWN_RUNS = 50
_MAX_WHY_CHARS = 2000  # a message may have megabytes; --json has all of it


def summary(document: dict[str, Any]) -> str:
    """One line."""
    if not document["checked"]:
        return "there is no unfinished run: nothing can break"
    counts = ", ".join(f"{count} {name}" for name, count in document["verdicts"].items())
    left_out = sum(stratum["runs"] for stratum in document["left_out"])
    of = f" of {document['unfinished_runs']} unfinished, {left_out} left out" if left_out else ""
    return f"{document['checked']} runs looked at{of}: {counts}"


def junit(document: dict[str, Any]) -> str:
    """JUnit XML: a test case for each run, a failure for each that is not compatible."""
    cases = ET.Element("testsuite", name="hwe check", tests=str(document["checked"]))
    failures = 0
    for run in document["runs"]:
        case = ET.SubElement(cases, "testcase", classname=_clean(run["workflow_name"]), name=_clean(run["run_id"]))
        if run["verdict"] != "compatible":
            failures += 1
            failure = ET.SubElement(case, "failure", type=run["verdict"], message=_clean(_why(run)))
            failure.text = _clean(
                "\n".join(_short(f"{f['step_key']}: {f['verdict']}: {f['detail']}") for f in run["findings"])
            )
    cases.set("failures", str(failures))
    return ET.tostring(cases, encoding="unicode", xml_declaration=True) + "\n"


def markdown(document: dict[str, Any]) -> str:
    """A heading that says yes or no, a table of what breaks, and what was left out."""
    lines = [
        f"### {'✅ The runs in flight go on' if document['ok'] else '❌ This breaks runs in flight'}",
        "",
        f"{_code(document['project'])} at `{document['code_version_hash'][:12]}`: {summary(document)}.",
    ]
    broken = [run for run in document["runs"] if run["verdict"] != "compatible"]
    if broken:
        lines += ["", "| run | workflow | started on | verdict | why |", "|---|---|---|---|---|"]
        for run in broken[:_SHOWN_RUNS]:
            cells = (
                _code(run["run_id"]),
                _text(run["workflow_name"]),
                _code(run["code_version_hash"][:12]),
                run["verdict"],
            )
            lines.append("| " + " | ".join((*cells, _text(_why(run)))) + " |")
        if len(broken) > _SHOWN_RUNS:
            lines.append(f"\nand {len(broken) - _SHOWN_RUNS} more")
    if document["left_out"]:
        lines += ["", "Not looked at:", ""]
        for stratum in document["left_out"]:
            code = stratum["code_version_hash"][:12]
            lines.append(f"- {stratum['runs']} runs of {_text(stratum['workflow_name'])} on `{code}`")
    return "\n".join(lines) + "\n"


def _why(run: dict[str, Any]) -> str:
    first = next(finding for finding in run["findings"] if finding["verdict"] == run["verdict"])
    return _short(f"{first['step_key']}: {first['detail']}" if first["step_key"] else str(first["detail"]))


def _short(why: str) -> str:
    return why if len(why) <= _MAX_WHY_CHARS else why[: _MAX_WHY_CHARS - 1] + "…"


def _text(text: str) -> str:
    """As Markdown that says just that, in the cell of a table too."""
    return re.sub(r"([\\`*_\[\]<>|~&@#])", r"\\\1", " ".join(_clean(text).split()))


def _code(text: str) -> str:
    # What would end the code or the cell has no escape in there that every reader knows.
    return _text(text) if set("`|\\\n") & set(text) else f"`{text}`"


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")
