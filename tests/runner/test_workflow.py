"""Highway definitions: what is read, what is refused, and what comes next in a run."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from highway_dsl import WorkflowBuilder

from runner.definition import Definition, DefinitionInvalid, Retry, Task, Wait, load_definition
from runner.workflow import Completed, Failed, Ready, Recorded, Waiting, plan

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def task(name, *dependencies, **more):
    return {
        "task_id": name,
        "operator_type": "task",
        "function": "tools.python.run",
        "args": [f"steps.{name}"],
        "dependencies": list(dependencies),
        **more,
    }


def wait(name, *dependencies, wait_for="PT1H"):
    return {"task_id": name, "operator_type": "wait", "wait_for": wait_for, "dependencies": list(dependencies)}


def document(*tasks, **more):
    return {"name": "demo", "version": "1", "tasks": {node["task_id"]: node for node in tasks}, **more}


def load(*tasks, **more):
    return load_definition(json.dumps(document(*tasks, **more)), source_name="demo.json")


# --- reading ---


def built():
    return (
        WorkflowBuilder("invoices", version="2.0.0")
        .task("price", "tools.python.run", args=["steps.price", "{{inputs.amount}}"], result_key="priced")
        .retry(max_retries=3, delay=timedelta(seconds=2), backoff_factor=3.0)
        .timeout(timedelta(seconds=30))
        .wait("hold", timedelta(minutes=5))
        .task("charge", "tools.python.run", args=["steps.charge", "{{priced}}"])
        .build()
    )


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_highways_own_builder_writes_is_read(form):
    text = built().to_yaml() if form == "yaml" else built().to_json()
    definition = load_definition(text, source_name="invoices")
    price, hold, charge = (definition.tasks[name] for name in ("price", "hold", "charge"))
    assert (definition.name, definition.version) == ("invoices", "2.0.0")
    assert price == Task(
        "price",
        "steps.price",
        ("{{inputs.amount}}",),
        {},
        None,
        (),
        "priced",
        Retry(3, 2.0, 3.0),
        30.0,
    )
    assert hold == Wait("hold", timedelta(minutes=5), ("price",))
    assert charge.dependencies == ("hold",)


def test_the_stored_form_gives_the_same_definition_and_hash():
    definition = load(task("z"), wait("b", "z", wait_for="2026-12-01T09:00:00+00:00"))
    again = Definition.from_json(definition.to_json())
    assert again == definition
    assert again.hash == definition.hash
    assert list(again.tasks) == ["z", "b"]


def test_the_hash_ignores_layout_and_order_of_keys_only():
    one = load_definition(f"version: '1'\nname: demo\ntasks: {{a: {json.dumps(task('a'))}}}", source_name="x")
    two = load_definition(json.dumps({"tasks": {"a": task("a")}, "version": "1", "name": "demo"}), source_name="y")
    assert one.hash == two.hash
    assert load(task("a"), version="2").hash != one.hash


def test_an_artifact_id_pins_one_task_and_is_no_argument():
    node = load(task("a", kwargs={"artifact_id": "ab" * 32, "currency": "EUR"})).tasks["a"]
    assert (node.pin, node.kwargs) == ("ab" * 32, {"currency": "EUR"})


def test_the_workflows_default_retry_policy_holds_for_tasks_without_one():
    policy = {"max_retries": 2, "delay": "PT3S", "backoff_factor": 1.0}
    definition = load(task("a"), task("b", retry_policy={**policy, "max_retries": 0}), default_retry_policy=policy)
    assert definition.tasks["a"].retry == Retry(2, 3.0, 1.0)
    assert definition.tasks["b"].retry == Retry(0, 3.0, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no workflow"),
        ("[1, 2]", "holds no workflow"),
        ("{: :", "neither YAML nor JSON"),
        ("\x00", "neither YAML nor JSON"),
        ("[" * 5000, "neither YAML nor JSON"),
        ("&a [*a]", "neither YAML nor JSON"),
        ("!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
        ("name: demo\ntasks: {}\n", "this one has none"),
        ("name: demo\n", "this one has none"),
        ("name: demo\ntasks: [a]\n", "this one has none"),
        ("name: demo\ntasks: {a: 5}\n", "task 'a' must be a mapping"),
        ("name: demo\nversion: 1.0\ntasks: {}\n", 'version must be text: write version: "1.0"'),
        ("name: [demo]\ntasks: {}\n", "name must be text"),
        ('{"name": "\\ud800"}', "neither YAML nor JSON"),
        ("name: demo\nvariables: {x: .nan}\n", "'nan', which JSON cannot say"),
        ("name: demo\nvariables: {x: !!binary aGVsbG8=}\n", "which JSON cannot say"),
    ],
)
def test_what_is_no_workflow_is_refused_in_one_line(text, said):
    with pytest.raises(DefinitionInvalid, match=said) as refusal:
        load_definition(text, source_name="demo.yaml")
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("demo.yaml")


@pytest.mark.parametrize(
    "operator",
    [
        *("activity", "condition", "parallel", "join", "foreach", "while", "emit_event", "wait_for_event", "switch"),
        *("reflexive", "multi_choice", "terminate", "child_workflow", "nonsense", None, ["task"]),
    ],
)
def test_an_operator_that_is_not_supported_is_refused_by_name(operator):
    with pytest.raises(DefinitionInvalid, match="of task 'odd' is not supported yet") as refusal:
        load(task("a"), {"task_id": "odd", "operator_type": operator, "dependencies": []})
    assert f"operator {operator!r}" in str(refusal.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"function": "tools.http.request"}, "tool 'tools.http.request' of task 'a' is not supported yet"),
        ({"trigger_rule": "one_failed"}, "trigger_rule of task 'a'"),
        ({"circuit_breaker_policy": {"failure_threshold": 3}}, "circuit_breaker_policy of task 'a'"),
        ({"on_failure_task_id": "b"}, "on_failure_task_id of task 'a'"),
        ({"depends_on": ["b"]}, "task 'a' has 'depends_on', which Highway does not know"),
        ({"retry_polcy": {}}, "did you mean 'retry_policy'"),
        ({"args": []}, "must name its function"),
        ({"args": None}, "task 'a': args: Input should be a valid list"),
        ({"args": ["{{inputs.function}}"]}, "must name its function"),
        ({"kwargs": {"artifact_id": 7}}, "task 'a': artifact_id must be the 64"),
        ({"timeout_policy": {"timeout": "PT0S"}}, "task 'a': a timeout"),
        ({"timeout_policy": {"timeout": "PT9S", "kill_on_timeout": False}}, "task 'a': kill_on_timeout"),
        ({"timeout_policy": {"timeout": "soon"}}, "task 'a': timeout_policy.timeout"),
        ({"retry_policy": {"max_retries": -1}}, "task 'a': the numbers of retry_policy"),
        ({"retry_policy": {"delay": "-PT5S"}}, "task 'a': the numbers of retry_policy"),
        ({"retry_policy": {"backoff_factor": "nan"}}, "task 'a': the numbers of retry_policy"),
        ({"dependencies": "b"}, "task 'a': dependencies"),
        ({"result_key": 5}, "task 'a': result_key"),
    ],
)
def test_what_a_task_cannot_have_is_refused_by_name(more, said):
    with pytest.raises(DefinitionInvalid, match=said):
        load(task("a", **more))


def test_a_task_has_one_name():
    with pytest.raises(DefinitionInvalid, match="task 'a' calls itself 'b'"):
        load_definition(json.dumps({"name": "demo", "tasks": {"a": task("b")}}), source_name="x")


def test_anchors_may_be_kept_under_keys_that_begin_with_x():
    text = """
    name: demo
    x-common: &common {operator_type: task, function: tools.python.run, dependencies: []}
    tasks:
      a: {<<: *common, args: [steps.a]}
    """
    assert load_definition(text, source_name="x").tasks["a"].function == "steps.a"


@pytest.mark.parametrize("wait_for", ["soon", "-PT5S", -5, "P99999D", None])
def test_a_wait_that_is_no_time_is_refused(wait_for):
    with pytest.raises(DefinitionInvalid, match="task 'w': wait_for"):
        load(wait("w", wait_for=wait_for))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"schedule": "* * * * *"}, "schedule is not supported yet"),
        ({"deadline_seconds": 5}, "deadline_seconds is not supported yet"),
        ({"start_task": "z"}, "start_task 'z' is not one of a"),
        ({"vars": {}}, "the workflow has 'vars'"),
        ({"variables": [1]}, "variables: Input should be a valid dictionary"),
    ],
)
def test_what_a_workflow_cannot_have_is_refused_by_name(more, said):
    with pytest.raises(DefinitionInvalid, match=said):
        load(task("a"), **more)


def test_an_unknown_dependency_names_what_comes_near():
    with pytest.raises(DefinitionInvalid, match=r"'b' depends on unknown task 'prise'; did you mean 'price'\?"):
        load(task("price"), task("b", "prise"))


def test_a_cycle_is_shown():
    with pytest.raises(DefinitionInvalid, match=r"cycle: (b -> c -> b|c -> b -> c)"):
        load(task("a"), task("b", "a", "c"), task("c", "b"), task("d", "c"))
    with pytest.raises(DefinitionInvalid, match="cycle: a -> a"):
        load(task("a", "a"))


def test_two_tasks_cannot_write_one_result_key():
    with pytest.raises(DefinitionInvalid, match="'a' and 'b' both write result_key 'x'"):
        load(task("a", result_key="x"), task("b", result_key="x"))


# --- what comes next ---


def chain(**more):
    return load(task("a", **more), wait("hold", "a"), task("b", "hold"))


def done(name, attempt=1, **more):
    return Recorded(name, attempt, "completed", finished_at=NOW, **more)


def failed(name, attempt=1, *, ago=0, **more):
    return Recorded(name, attempt, "failed", finished_at=NOW - timedelta(seconds=ago), **more)


def ready(*pairs):
    def same(move):
        return isinstance(move, Ready) and [(node.task_id, attempt) for node, attempt in move.steps] == list(pairs)

    return same


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([], ready(("a", 1))),
        ([Recorded("a", 1, "running")], ready(("a", 1))),
        ([done("a")], ready(("hold", 1))),
        (
            [done("a"), Recorded("hold", 1, "waiting", wake_at=NOW + timedelta(seconds=9))],
            Waiting(NOW + timedelta(seconds=9)).__eq__,
        ),
        ([done("a"), Recorded("hold", 1, "waiting", wake_at=NOW)], ready(("hold", 1))),
        ([done("a"), done("hold")], ready(("b", 1))),
        ([done("a"), done("hold"), done("b")], Completed().__eq__),
        ([failed("a")], Failed("a", 1).__eq__),
        ([failed("a", forgiven=True)], ready(("a", 2))),
        ([Recorded("a", 1, "cancelled", finished_at=NOW, forgiven=True)], ready(("a", 2))),
        ([failed("a", 1, forgiven=True), failed("a", 2)], Failed("a", 2).__eq__),
        ([failed("a", 1), done("a", 2)], ready(("hold", 1))),
    ],
)
def test_what_comes_next(recorded, expected):
    assert expected(plan(chain(), recorded, NOW))


RETRIED = {"retry_policy": {"max_retries": 2, "delay": "PT10S", "backoff_factor": 2.0}}


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ([failed("a", ago=3)], Waiting(NOW + timedelta(seconds=7)).__eq__),
        ([failed("a", ago=10)], ready(("a", 2))),
        ([failed("a", 1, ago=40), failed("a", 2, ago=15)], Waiting(NOW + timedelta(seconds=5)).__eq__),
        ([failed("a", 1, ago=40), failed("a", 2, ago=20)], ready(("a", 3))),
        ([failed("a", 1), failed("a", 2), failed("a", 3)], Failed("a", 3).__eq__),
        ([failed("a", n, forgiven=True) for n in (1, 2, 3)], ready(("a", 4))),
        (
            [*(failed("a", n, forgiven=True) for n in (1, 2, 3)), failed("a", 4, ago=3)],
            Waiting(NOW + timedelta(seconds=7)).__eq__,
        ),
    ],
)
def test_retries_back_off_and_end(recorded, expected):
    assert expected(plan(chain(**RETRIED), recorded, NOW))


@pytest.mark.parametrize("status", ["failed", "timed_out", "crashed", "out_of_memory"])
def test_every_bad_ending_is_tried_again(status):
    recorded = [Recorded("a", 1, status, finished_at=NOW - timedelta(minutes=1))]
    assert ready(("a", 2))(plan(chain(**RETRIED), recorded, NOW))


def test_independent_steps_are_ready_together_and_joined_after():
    definition = load(task("a"), task("b"), task("c", "a", "b"))
    assert ready(("a", 1), ("b", 1))(plan(definition, [], NOW))
    assert ready(("b", 1))(plan(definition, [done("a")], NOW))
    assert ready(("c", 1))(plan(definition, [done("b"), done("a")], NOW))


def test_a_timer_does_not_hold_up_what_does_not_depend_on_it():
    definition = load(wait("w"), task("a"))
    waiting = Recorded("w", 1, "waiting", wake_at=NOW + timedelta(hours=1))
    assert ready(("a", 1))(plan(definition, [waiting], NOW))


def test_the_delay_of_a_retry_stays_finite():
    policy = {"max_retries": 5000, "delay": "PT1S", "backoff_factor": 10.0}
    recorded = [failed("a", attempt) for attempt in range(1, 2000)]
    move = plan(load(task("a", retry_policy=policy)), recorded, NOW)
    assert isinstance(move, Waiting)
    assert move.until > NOW + timedelta(days=300)


def waiting(wait_for):
    text = yaml.safe_dump({"name": "demo", "tasks": {"a": {"operator_type": "wait", "wait_for": "X"}}})
    return load_definition(text.replace("X", wait_for), source_name="demo.yaml").tasks["a"].wait_for


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0.5S", 0.5), ("PT90S", 90), ("P1DT2H", 93_600), ("P1W", 604_800), ("PT1H30M", 5_400), ("90", 90),
        ("0.5", 0.5), ("PT0S", 0),
    ],
)  # fmt: skip
def test_durations_are_read_as_iso_8601_or_seconds(text, seconds):
    assert waiting(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "PT90", "PT5s", "PT1D", "PT1e3S", "PT1H30", "PT1H junk", "PT5S10M", "12:30", "1:30:00", "true", "-PT5S",
        "PT-5S", "P20Y", "soon", "[]", "-1", ".inf", ".nan", "1e300", "'9999-12-31T23:59:59-12:00'",
        "'0001-01-01T00:00:00+12:00'", "P",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(DefinitionInvalid, match=r"wait_for|JSON cannot say"):
        waiting(text)


def test_a_task_that_stands_twice_is_refused():
    with pytest.raises(DefinitionInvalid, match="'charge' stands twice, line 4"):
        load_definition("name: demo\ntasks:\n  charge: {}\n  charge: {}\n", source_name="demo.yaml")
    with pytest.raises(DefinitionInvalid, match="'name' stands twice"):
        load_definition('{"name": "a", "name": "b"}', source_name="demo.json")
