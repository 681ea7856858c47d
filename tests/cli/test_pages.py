"""`hwe replay --html` and `hwe check --html`, looked at in a real browser."""

import base64
import contextlib
import json
import shutil
import socket
import sys
from types import SimpleNamespace

import pytest

HOSTILE_LOG = "</script><script>document.title = 'broken out'</script>"
ORDER = {"number": "A-1", "lines": [{"sku": "TEA", "quantity": 4, "unit_price": 12.5}]}
IN_FLIGHT = ("run-1", "run-2", "run-3")


def deploy(site, name):
    site.deploy(name)
    (site.project / "pyproject.toml").write_text(
        f'[tool.hwe]\npython = "{sys.version_info[0]}.{sys.version_info[1]}"\n'
    )


def edit(path, *edits):
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, site_at):
    """A run of the project `pages`, whose last step fails, and a next release of it."""
    site = site_at(tmp_path_factory.mktemp("recorded"))
    deploy(site, "pages")
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--input", json.dumps({"order": ORDER}))
    assert done.returncode == 1, done.stderr
    site.next = site.root / "next"
    shutil.copytree(site.project, site.next)
    edit(
        site.next / "steps.py",
        ("rate = 0.2", "rate = 0.25"),
        ('"country": "AT"', '"country": "DE"'),
        ('KeyError("card', 'LookupError("card'),
    )
    (site.next / "rates.py").write_text("RATES = {}\n")
    (site.next / "logo.bin").write_bytes(b"\0\1\2")
    return site


@pytest.fixture(scope="module")
def replayed(recorded):
    """The page of a replay on the next release."""
    page = recorded.root / "replay.html"
    done = recorded.hwe("replay", "run-1", "--against", recorded.next, "--html", page, "--json")
    assert done.returncode == 1, done.stderr
    return SimpleNamespace(path=page, text=page.read_text(), document=json.loads(done.stdout))


@pytest.fixture(scope="module")
def checked(tmp_path_factory, site_at):
    """The page of a check that finds something, of two runs; one is left out."""
    site = site_at(tmp_path_factory.mktemp("checked"))
    deploy(site, "verdicts")
    for run_id in IN_FLIGHT:
        site.submit(run_id, number=7)
    with site.worker():
        for run_id in IN_FLIGHT:
            site.wait_for_status(run_id, "waiting")
    candidate = site.root / "candidate"
    shutil.copytree(site.project, candidate)
    edit(candidate / "steps.py", ("def charge", "def bill"))
    page = site.root / "check.html"
    done = site.hwe("check", candidate, "--limit", "2", "--html", page, "--json")
    assert done.returncode == 1, done.stderr
    return SimpleNamespace(path=page, text=page.read_text(), document=json.loads(done.stdout), site=site)


@pytest.fixture(params=["replayed", "checked"])
def page(request):
    return request.getfixturevalue(request.param)


def shown(browser, selector):
    """The texts of the elements that are to be seen."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).map(o => o.innerText)"
    )
    return browser.run(script, selector)


def test_a_page_loads_nothing_and_complains_of_nothing(browser, page):
    browser.open(page.path)
    assert browser.console() == []
    assert browser.requests() == [page.path.as_uri()]
    policy = browser.run("return document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert shown(browser, "h1")


def test_a_page_of_a_replay_tells_the_same_as_the_document(browser, replayed):
    browser.open(replayed.path)
    assert "run-1" in shown(browser, "h1")[0]
    assert "different" in shown(browser, "h1")[0]
    steps = replayed.document["steps"]
    verdicts = browser.run("return [...document.querySelectorAll('details.item')].map(one => one.dataset.verdict)")
    assert verdicts == [step["verdict"] for step in steps]
    assert len(shown(browser, ".timeline tbody tr")) == len(steps)
    found = "\n".join(shown(browser, ".differences"))
    assert "result['country']" in found
    assert "'DE'" in found
    marked = "".join(shown(browser, "mark"))
    assert '"country": "AT"' in marked
    assert '"number"' not in marked
    environment = "\n".join(shown(browser, ".version"))
    assert replayed.document["code_version_hash"] in environment
    assert f"versions/{replayed.document['against']}/bin/python" in environment
    assert "sandbox\nprocess" in "\n".join(shown(browser, "dl"))


def test_a_page_of_a_replay_shows_what_differs_in_the_code(browser, replayed):
    browser.open(replayed.path)
    [changed] = [told for told in shown(browser, ".file") if "steps.py" in told]
    assert 'return {"number": order["number"], "lines": order["lines"], "country": "DE"}' in changed
    assert "+3 −3" in changed
    assert any("logo.bin" in told and "not text, 3 B" in told for told in shown(browser, ".file"))
    assert any("rates.py" in told and "RATES = {}" in told for told in shown(browser, ".file"))


def test_what_steps_return_print_and_raise_is_only_shown(browser, replayed):
    browser.open(replayed.path)
    browser.press("e")
    assert browser.run("return document.title") == "different: run-1, replayed"
    assert browser.run("return document.querySelectorAll('img, svg, b').length") == 0
    assert browser.run("return document.querySelectorAll('h1').length") == 1
    told = "\n".join(shown(browser, "pre, .message, .detail"))
    for text in (HOSTILE_LOG, "<img src=x onerror=", "{{ 7 * 7 }} {% raw %} ${7}", "</pre></details>"):
        assert text in told
    assert "⟨U+202E⟩desrever⟨U+202C⟩" in told
    assert "⟨ESC⟩[31mred" in told
    assert not {"\u202e", "\x1b", "\x07", "\x85", "\u200f"} & set(replayed.text)


def test_large_values_are_cut_and_that_is_said(browser, replayed):
    browser.open(replayed.path)
    browser.press("e")
    assert len(replayed.text) < 400_000  # the value alone has 200,000, twice
    assert any("only the first" in note for note in shown(browser, ".note"))


def test_what_would_slip_through_does_not_run(browser, replayed, tmp_path):
    """The second wall: whatever the escaping let through, the page forbids to run or to load."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        hostile = f"<script>document.title='out'</script><img src='{address}' onerror=\"document.title='out'\">"
        hostile += f"<a id=go href=\"javascript:document.title='out'\">x</a><form action='{address}'></form>"
        hostile += f"<style>h1 {{ background: url({address}) }}</style><iframe src='{address}'></iframe>"
        broken = tmp_path / "broken.html"
        broken.write_text(replayed.text.replace("</main>", hostile + "</main>"))
        browser.open(broken)
        browser.run("document.getElementById('go').click(); document.querySelector('form').submit()")
        assert browser.run("return document.title") == "different: run-1, replayed"
        complaints = browser.console()
        assert len(complaints) >= 5
        assert all("Content Security Policy" in message for message in complaints)
        assert asked_for(server) == []


def asked_for(server):
    """What was sent to it. A browser may connect ahead of asking whether it is allowed to."""
    found = []
    server.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(TimeoutError):
                connection.settimeout(0.2)
                found.append(connection.recv(1000))
    return [request for request in found if request]


def test_light_and_dark_are_both_easy_to_read(browser, page):
    import browser as browsers

    grounds = set()
    for scheme in ("light", "dark"):
        browser.open(page.path, scheme=scheme)
        browser.press("e")
        grounds.add(browser.run("return getComputedStyle(document.body).backgroundColor"))
        contrasts = browser.run(browsers.CONTRASTS)
        assert len(contrasts) > 40
        assert [one for one in contrasts if one[0] < 4.5] == []
    assert len(grounds) == 2


def test_a_page_is_used_with_the_keyboard_alone(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page.path)
    at = "return document.activeElement.closest('details.item')?.id"
    is_open = "return document.activeElement.parentElement.open"
    for _ in range(60):
        browser.press(Keys.TAB)
        if browser.run(at):
            break
    first = browser.run(at)
    assert first
    assert browser.run("return document.activeElement.tagName") == "SUMMARY"
    was = browser.run(is_open)
    browser.press(Keys.ENTER)
    assert browser.run(is_open) is not was
    browser.press("j")
    second = browser.run(at)
    assert second != first
    browser.press("k")
    assert browser.run(at) == first
    browser.press("e")
    assert browser.run("return document.querySelectorAll('details.item:not([open])').length") == 0
    browser.press("e")
    assert browser.run("return document.querySelectorAll('details.item[open]').length") == 0


def test_a_link_of_the_timeline_opens_its_step(browser, replayed):
    browser.open(replayed.path)
    step = browser.run("return document.querySelector('details.item:not([open])').id")
    browser.run("document.querySelector(arguments[0]).click()", f"a[href='#{step}']")
    browser.run("return new Promise(done => setTimeout(done, 50))")
    assert browser.run("return document.getElementById(arguments[0]).open", step) is True


def test_only_runs_or_steps_of_one_verdict_are_shown_when_asked_for(browser, page):
    browser.open(page.path)
    verdict = browser.run("return document.querySelector('details.item').dataset.verdict")
    everything = len(shown(browser, "details.item"))
    browser.run("document.getElementById(arguments[0]).click()", "show-" + verdict.replace(" ", "-"))
    steps = page.document.get("steps") or page.document["runs"]
    assert len(shown(browser, "details.item")) == sum(step["verdict"] == verdict for step in steps)
    browser.run("document.getElementById('show-all').click()")
    assert len(shown(browser, "details.item")) == everything == len(steps)


def test_on_paper_everything_is_open(browser, page):
    browser.open(page.path)
    closed = "return document.querySelectorAll('details:not([open])').length"
    count = browser.run(closed)
    assert count
    hidden = """return [...document.querySelectorAll('details > :not(summary)')]
        .filter(one => !one.checkVisibility({contentVisibilityAuto: true})).length"""
    assert browser.run(hidden)
    browser.media("dark", "print")
    browser.run("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.run(hidden) == 0
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.media()
    pdf = base64.b64decode(browser.command("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") > 1
    assert browser.run(closed) == count  # as they were before


def test_a_narrow_window_scrolls_in_one_direction_only(browser, page):
    for width in (360, 700, 1024):
        browser.open(page.path, width=width)
        browser.run("for (const one of document.querySelectorAll('details')) { one.open = true; }")
        wide, room = browser.run("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
        assert wide == room


def test_a_page_of_a_check_tells_what_breaks_and_what_was_left_out(browser, checked):
    browser.open(checked.path)
    assert "This breaks runs in flight" in shown(browser, "h1")[0]
    [problem] = shown(browser, ".problem")
    assert "step missing" in problem
    assert "steps has no 'charge'" in problem
    assert "2 runs: run-" in problem
    assert len(shown(browser, "details.item")) == 2
    left_out = shown(browser, "section:has(> #left-out) tbody tr")
    assert [row.split()[0] for row in left_out] == ["verdicts"]
    assert "def bill" in "\n".join(shown(browser, ".file"))
    assert "What 3 runs in flight started on" in "\n".join(shown(browser, ".changes h3"))


def test_a_page_says_that_runs_go_on(browser, checked, tmp_path):
    target = tmp_path / "check.html"
    assert checked.site.hwe("check", "--html", target).returncode == 0
    browser.open(target)
    assert "The runs in flight go on" in shown(browser, "h1")[0]
    assert browser.console() == []


def test_a_page_of_a_bundle_says_what_was_redacted_and_does_not_tell_it(recorded, tmp_path):
    bundle, target = tmp_path / "run.hwe", tmp_path / "replay.html"
    recorded.told("export", "run-1", bundle, "--redact", "input.order.number", "--redact", "steps.total")
    assert recorded.hwe("replay", bundle, "--html", target).returncode == 0
    text = target.read_text()
    assert "input.order.number" in text
    assert "steps.total" in text
    assert "&lt;redacted&gt;" in text
    assert '"rate"' not in text


def test_a_page_says_what_could_not_be_told(site, browser, tmp_path):
    deploy(site, "verdicts")
    site.submit("run-1", number=7)
    with site.worker():
        site.wait_for_status("run-1", "waiting")
    shutil.rmtree(site.home / "artifacts")
    shutil.rmtree(site.home / "cache")
    target = tmp_path / "replay.html"
    assert site.hwe("replay", "run-1", "--html", target).returncode == 3
    browser.open(target)
    assert "could not" in shown(browser, "h1")[0]
    [version] = shown(browser, ".version")
    assert "not built on this machine" in version
    assert "is not in" in version
    assert browser.console() == []


def test_a_page_that_cannot_be_written_is_said_before_anything_runs(recorded, tmp_path):
    for target, reason in (
        (tmp_path / "none" / "replay.html", "there is no directory"),
        (tmp_path, "no file"),
    ):
        for command in (("replay", "run-1"), ("check", ".")):
            done = recorded.hwe(*command, "--html", target)
            assert (done.returncode, done.stdout) == (2, "")
            assert reason in done.stderr


def test_a_page_takes_the_place_of_an_older_one_at_once(recorded, tmp_path):
    target, link = tmp_path / "replay.html", tmp_path / "link.html"
    target.write_text("older")
    link.symlink_to(target)
    with open(target) as older:
        done = recorded.hwe("replay", "run-1", "--step", "load", "--html", link)
        assert older.read() == "older"  # whoever reads it has all of it
    assert done.returncode == 0, done.stderr
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "replay.html"]
    assert target.stat().st_mode & 0o777 == 0o644
