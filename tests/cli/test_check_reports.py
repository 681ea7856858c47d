"""The reports of `hwe check` for programs that read them: names and messages are whatever a project makes of them."""

from xml.etree import ElementTree as ET

import pytest

from runner.cli.check_reports import junit, markdown

HASH = "ab" * 32
WHYS = [
    "TypeError: 'int | None' <b>is not</b> callable",
    "`code` *with* [links](http://x) and \\ at the end \\",
    "two\nlines\r\nand\x00\x1b[31m control\x85 characters",
    "half a pair \ud800 and a whole one \U0001f600",
    "x" * 5_000_000,
]


def document(why, name="orders"):
    finding = {"step_key": "charge", "verdict": "state will not load", "detail": why}
    run = {"run_id": f"run-{name}", "workflow_name": name, "code_version_hash": HASH, "verdict": "state will not load"}
    return {
        "ok": False,
        "project": f"/srv/{name}",
        "code_version_hash": HASH,
        "checked": 1,
        "unfinished_runs": 2,
        "verdicts": {"state will not load": 1},
        "runs": [{**run, "findings": [finding]}],
        "left_out": [{"workflow_name": name, "code_version_hash": HASH, "runs": 1}],
    }


@pytest.mark.parametrize("why", WHYS)
@pytest.mark.parametrize("name", ["orders", "a|b`c`<d>", "line\nbreak"])
def test_reports_hold_whatever_a_message_says(why, name):
    told = document(why, name)
    suite = ET.fromstring(junit(told).encode())
    assert suite.get("failures") == "1"
    assert suite.find("testcase/failure").get("message").startswith("charge: ")
    assert len(suite.find("testcase/failure").get("message")) < 3000
    assert len(suite.find("testcase/failure").text) < 3000
    text = markdown(told)
    text.encode()
    (row,) = [line for line in text.splitlines() if line.startswith("|") and "charge" in line]
    cells = row.replace("\\\\", "").replace("\\|", "").strip("|").split("|")
    assert len(cells) == 5
    assert len(row) < 10_000
    assert "<b>" not in row.replace("\\<", "")
