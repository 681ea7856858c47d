"""`hwe export --redact`: what is redacted does not leave, nor does what came of it by way of the engine; and a replay
says of each step what it could not be given.
"""

import io
import json
import zipfile

import pytest

# Every place where something of a step is kept holds one of these.
MARK = "Geheimnis"

STEPS = """
import decimal

MARK = "Geheim" + "nis"  # so that the code does not hold it


class Card:
    def __init__(self, number):
        self.number = number


def reads(account):
    return {"account": account, "size": len(account)}


def charges(ctx, card, note, amount):
    print("charging", card)
    ctx.set_variable("receipt", MARK + "-receipt")
    ctx.set_variable("total", ctx.get_variable("total") + amount)
    part = ctx.step("part", lambda: Card(MARK + "-part"))
    if ctx.attempt == 1:
        raise ConnectionError(MARK + "-error")
    return Card(part.number + "-result")


def counts(ctx):
    ctx.set_variable("total", 1)
    return ctx.get_variable("total")


def given(value):
    return 1


def asks(ctx):
    return len(str(ctx.get_variable("receipt")))


def asks_anyway(ctx):
    try:
        return ctx.get_variable("token")
    except Exception:
        return "no"


def repeats(charged):
    return {"of": charged.number}


def echoes():
    print("the word is", MARK + "-part")
    return Card("x")
"""


def task(function, *arguments, after=(), key=None, **more):
    return {
        "operator_type": "task",
        "function": "tools.python.run",
        "args": [f"steps.{function}", *arguments],
        "dependencies": list(after),
        "result_key": key,
        **more,
    }


WORKFLOW = {
    "name": "charges",
    "variables": {"total": 2, "receipt": "", "token": f"{MARK}-token"},
    "tasks": {
        "reads": task("reads", "{{inputs.account}}", key="read"),
        "charge": task(
            "charges",
            "{{inputs.card}}",
            f"{MARK}-argument",
            after=["reads"],
            key="charged",
            kwargs={"amount": 7},
            retry_policy={"max_retries": 1, "delay": "PT0.01S"},
        ),
        "variable": task("given", "{{receipt}}", after=["charge"]),
        "result": task("given", "{{charged}}", after=["variable"]),
        "asks": task("asks", after=["result"]),
        "token": task("asks_anyway", after=["asks"]),
        "counts": task("counts", after=["token"]),
        "total": task("given", "{{total}}", after=["counts"]),
        "unrelated": task("given", "{{inputs.account}}", after=["total"]),
    },
}


def recorded_at(site, workflow, run_input, *, code=0):
    (site.project / "steps.py").write_text(STEPS)
    (site.root / "workflow.json").write_text(json.dumps(workflow))
    arguments = ("--run-id", "run-1", "--policy", "artifact", "--input", json.dumps(run_input))
    done = site.hwe("run", site.root / "workflow.json", *arguments)
    assert done.returncode == code, done.stderr
    return site


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, site_at):
    site = site_at(tmp_path_factory.mktemp("recorded"))
    return recorded_at(site, WORKFLOW, {"card": {"number": f"{MARK}-card"}, "account": "open"})


def export(site, path, *paths):
    """The document, and what was said on stderr."""
    done = site.hwe("export", "run-1", path, "--json", *(word for name in paths for word in ("--redact", name)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def replayed(site, path):
    done = site.hwe("replay", path, "--json")
    document = json.loads(done.stdout)
    return document["verdict"], {
        f"{s['step_key']}#{s['attempt']}": (s["verdict"], s["detail"]) for s in document["steps"]
    }


def contents(path):
    """Every byte that the bundle holds, artifacts unpacked too."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            yield name, data
            if name.startswith("artifacts/"):
                with zipfile.ZipFile(io.BytesIO(data)) as artifact:
                    yield from ((f"{name}/{inner}", artifact.read(inner)) for inner in artifact.namelist())


def where(path, mark=MARK):
    """The entries in which it occurs, in any encoding that may be meant."""
    forms = {mark.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-32-le", "utf-32-be")}
    return [name for name, data in contents(path) if any(form in data for form in forms)]


def test_nothing_of_a_redacted_step_and_of_what_came_from_it_leaves(recorded, tmp_path):
    path = tmp_path / "run.hwe"
    told, said = export(recorded, path, "steps.charge", "input.card", "variables.token")
    # `token` gave its variable back, which is its own doing; of that below.
    assert told["still_in"] == ["steps.token"]
    assert "is still in steps.token" in said
    told, said = export(recorded, tmp_path / "all.hwe", "steps.charge", "steps.token", "input.card", "variables.token")
    assert where(tmp_path / "all.hwe") == []
    assert told["still_in"] == []
    assert said == ""


def test_without_a_redaction_all_of_it_would_have_left(recorded, tmp_path):
    export(recorded, tmp_path / "run.hwe")
    index = dict(contents(tmp_path / "run.hwe"))["bundle.json"].decode()
    for place in ("argument", "receipt", "error", "token", "card"):
        assert f"{MARK}-{place}" in index, place
    values = [data for name, data in contents(tmp_path / "run.hwe") if name.startswith("values/")]
    for place in ("part", "part-result"):
        assert any(f"{MARK}-{place}".encode() in data for data in values), place


def test_a_replay_says_of_each_step_what_it_could_not_be_given(recorded, tmp_path):
    path = tmp_path / "run.hwe"
    export(recorded, path, "steps.charge", "variables.token")
    verdict, steps = replayed(recorded, path)
    needs = "it needs {}, which was redacted".format
    assert steps == {
        "reads#1": ("same", ""),
        "charge#1": ("not replayed", "it was redacted"),
        "charge#2": ("not replayed", "it was redacted"),
        "variable#1": ("not replayed", needs("variables.receipt")),
        "result#1": ("not replayed", needs("the result of charge")),
        "asks#1": ("not replayed", needs("variables.receipt")),  # by ctx.get_variable
        "token#1": ("not replayed", needs("variables.token")),  # also where it took the refusal for an answer
        "counts#1": ("same", ""),
        "total#1": ("same", ""),  # another step has set it since
        "unrelated#1": ("same", ""),
    }
    assert verdict == "same"


def test_what_redacted_steps_were_given_is_looked_for_in_what_gave_it(recorded, tmp_path):
    told, said = export(recorded, tmp_path / "run.hwe", "steps.charge")
    assert told["still_in"] == ["input.card"]
    assert "still in input.card" in said
    told, _ = export(recorded, tmp_path / "variable.hwe", "variables.receipt", "steps.token", "variables.token")
    assert told["still_in"] == []
    assert f"{MARK}-receipt" not in dict(contents(tmp_path / "variable.hwe"))["bundle.json"].decode()


def test_what_other_steps_made_of_it_by_themselves_is_found_and_named(site, tmp_path):
    workflow = {
        "name": "repeats",
        "variables": {"known": [f"{MARK}-part"]},
        "tasks": {
            "charge": task("charges", "x", "y", 1, key="charged", retry_policy={"max_retries": 1, "delay": "PT0.01S"}),
            "repeats": task("repeats", "{{charged}}", after=["charge"], key="repeated"),
            "echoes": task("echoes", after=["repeats"]),
            "given": task("given", f"{MARK}-part-result", after=["echoes"]),
            "innocent": task("counts", after=["given"]),
        },
    }
    workflow["variables"]["total"] = 1
    recorded_at(site, workflow, {"in": {"deep": [f"<{MARK}-part>"]}, "out": 1})
    (site.project / "notes.txt").write_text("nothing of it")
    told, said = export(site, tmp_path / "run.hwe", "steps.charge")
    places = ["input.in", "variables.known", "steps.given", "steps.echoes", "steps.repeats"]
    assert sorted(told["still_in"]) == sorted(places)
    assert all(place in said for place in places)
    assert "steps.innocent" not in said


def test_the_code_is_looked_through_too(site, tmp_path):
    (site.project / "tests.json").write_text('{"card": "4711-0815"}')
    recorded_at(site, {"name": "one", "tasks": {"one": task("given", "{{inputs.card}}")}}, {"card": "4711-0815"})
    told, _ = export(site, tmp_path / "run.hwe", "input.card")
    assert told["still_in"] == ["tests.json of the code"]


def test_of_a_run_that_failed_the_error_goes_with_its_step(site, tmp_path):
    workflow = {"name": "fails", "variables": {"total": 1}, "tasks": {"charge": task("charges", "x", "y", 1)}}
    recorded_at(site, workflow, {}, code=1)
    export(site, tmp_path / "run.hwe", "steps.charge")
    assert where(tmp_path / "run.hwe") == []
    assert replayed(site, tmp_path / "run.hwe")[1] == {"charge#1": ("not replayed", "it was redacted")}


@pytest.fixture(scope="module")
def listed(tmp_path_factory, site_at):
    """A run whose input is a list of items, and more."""
    site = site_at(tmp_path_factory.mktemp("listed"))
    tasks = {
        "first": task("given", "{{inputs.items[0].number}}"),
        "last": task("given", "{{inputs.items.-1}}", after=["first"]),
        "named": task("given", "{{inputs['my key']}}", after=["last"]),
    }
    run_input = {"items": [{"number": "4711-0"}, {"number": "4711-1"}], "my key": "4711-2", "a.b": "4711-3"}
    return recorded_at(site, {"name": "items", "tasks": tasks}, run_input)


@pytest.mark.parametrize(
    ("path", "needing", "gone"),
    [
        ("input", {"first": "items.0.number", "last": "items.-1", "named": "my.key"}, "0123"),
        ("input.items", {"first": "items.0.number", "last": "items.-1"}, "01"),
        ("input.items.0", {"first": "items.0.number", "last": "items.-1"}, "0"),
        ("input.items.1.number", {"last": "items.-1"}, "1"),
        ("input.my key", {"named": "my.key"}, "2"),
    ],
)
def test_a_part_of_the_input(listed, tmp_path, path, needing, gone):
    export(listed, tmp_path / "run.hwe", path)
    index = json.loads(dict(contents(tmp_path / "run.hwe"))["bundle.json"])
    assert [n for n in "0123" if f"4711-{n}" not in json.dumps(index)] == list(gone)
    _, steps = replayed(listed, tmp_path / "run.hwe")
    details = {key: f"it needs input.{what}, which was redacted" for key, what in needing.items()}
    assert {key: steps[f"{key}#1"][1] for key in details} == details
    assert {verdict for verdict, _ in steps.values()} <= {"same", "not replayed"}


def test_what_has_a_dot_in_its_name_goes_with_what_it_is_in(listed, tmp_path):
    assert listed.hwe("export", "run-1", tmp_path / "run.hwe", "--redact", "input.a.b").returncode == 2


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("input.nosuch", "there are input, input.card, input.account, input.card.number"),
        ("input.card.numbr", "did you mean input.card.number?"),
        ("input.card.number.0", "did you mean input.card.number?"),
        ("steps.chrge", "did you mean steps.charge?"),
        ("steps.", "steps.charge"),
        ("nothing", "variables.receipt"),
        ("variables.nosuch", "variables.token"),
        ("", "variables.total"),
    ],
)
def test_a_redaction_of_nothing_is_refused_and_says_what_there_is(recorded, tmp_path, path, hint):
    done = recorded.hwe("export", "run-1", tmp_path / "run.hwe", "--redact", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no such thing" in done.stderr
    assert hint in done.stderr
    assert not (tmp_path / "run.hwe").exists()
