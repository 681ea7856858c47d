"""`hwe replay RUN… --html`: several runs on one page, looked at in a real browser."""

import json
import re
from types import SimpleNamespace

import pytest

STEPS = """
def draw(number):
    print("drawing", number)
    return {"number": number, "text": "<script>alert(1)</script>"}
"""
IN_ORDER = ["run-2", "run-1", "nosuch", "run-3"]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory, site_at):
    """The page of four runs, of which one differs on other code, and one is not there."""
    site = site_at(tmp_path_factory.mktemp("recorded"))
    (site.project / "steps.py").write_text(STEPS)
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["steps.draw", "{{inputs}}"]}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "draw", "tasks": {"draw": task}}))
    for number in (1, 2, 3):
        site.told(
            "submit", "workflow.yaml", "--run-id", f"run-{number}", "--policy", "artifact", "--input", str(number)
        )
    site.told("worker", "--drain")
    other = site.root / "other"
    other.mkdir()
    (other / "steps.py").write_text(STEPS.replace('"number": number', '"number": min(number, 2)'))
    path = site.root / "runs.html"
    done = site.hwe("replay", *IN_ORDER, "--against", other, "--html", path, "--json")
    assert done.returncode == 1, done.stderr
    return SimpleNamespace(site=site, path=path, document=json.loads(done.stdout), text=path.read_text())


def shown(browser, selector):
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).map(one => one.id)",
        selector,
    )


def test_the_overview_has_each_run_with_its_verdict_and_leads_to_it(browser, replayed):
    browser.open(replayed.path)
    rows = browser.run("""return [...document.querySelectorAll("table.overview tbody tr")].map(
        row => [row.querySelector("a").textContent, row.dataset.verdict])""")
    assert rows == [[run["run_id"], run["verdict"]] for run in replayed.document["runs"]]
    assert [name for name, _ in rows] == IN_ORDER
    browser.run("document.querySelectorAll('table.overview a')[3].click()")
    browser.run("return new Promise(done => setTimeout(done, 50))")
    assert shown(browser, "details.item") == ["run-1", "run-2", "run-3", "run-4", "step-4-1"]
    whole = browser.run("return document.getElementById('step-4-1').textContent")
    assert "drawing" in whole
    assert "<script>alert(1)</script>" in whole
    assert browser.console() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []


def test_the_keyboard_filters_and_goes_from_run_to_run(browser, replayed):
    browser.open(replayed.path)
    at = "return document.activeElement.closest('details.item')?.id"
    seen = []
    for _ in range(4):
        browser.press("f")
        seen.append(shown(browser, "details.item"))
    assert seen == [["run-4"], ["run-3"], ["run-1", "run-2"], ["run-1", "run-2", "run-3", "run-4"]]
    for wanted in ("run-1", "run-2", "run-3"):
        browser.press("j")
        assert browser.run(at) == wanted
    browser.press("k")
    assert browser.run(at) == "run-2"
    browser.press("f")
    browser.press("e")
    assert browser.run("return document.getElementById('run-4').open") is True
    assert browser.run("return document.getElementById('run-1').open") is False


def test_the_page_says_what_all_of_them_ran_in(replayed):
    assert replayed.text.count('id="environment"') == 1
    assert "what all were replayed on" in replayed.text
    assert "interpreter for an editor" in replayed.text
    assert re.search(r"network</dt><dd>cut off", replayed.text)
    ids = re.findall(r' id="([^"]+)"', replayed.text)
    assert len(ids) == len(set(ids))


def test_all_of_a_ledger_and_none(replayed, tmp_path, site):
    assert replayed.site.hwe("replay", "--all", "--html", tmp_path / "all.html").returncode == 0
    assert (tmp_path / "all.html").read_text().count('<details class="item card" id="run-') == 3
    assert site.hwe("replay", "--all", "--html", tmp_path / "none.html").returncode == 3
    assert "0 runs" in (tmp_path / "none.html").read_text()
    done = site.hwe("replay", "--all", "--html", tmp_path / "no" / "page.html")
    assert (done.returncode, "there is no directory" in done.stderr) == (2, True)
