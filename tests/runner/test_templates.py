"""Templates as the supervisor sees them: which names they use, and whether something produces those."""

import json

import pytest

from runner.definition import load_definition
from runner.templates import UnknownReference, check_references, references


def workflow(*tasks, **more):
    nodes = {
        name: {
            "task_id": name,
            "operator_type": "task",
            "function": "tools.python.run",
            "args": ["steps.f", argument],
            "result_key": f"{name}_out",
            "dependencies": list(dependencies),
        }
        for name, argument, *dependencies in tasks
    }
    return load_definition(json.dumps({"name": "w", "tasks": nodes, **more}), source_name="w")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", set()),
        ("{{a}}", {"a"}),
        ("{{ a.b[0] }} and ${c}", {"a", "c"}),
        (["{{a}}", {"k": "{{b['x']}}"}], {"a", "b"}),
        ("{a} {{}} { {b} }", set()),
        (7, set()),
    ],
)
def test_the_names_that_templates_use(value, expected):
    assert references(value) == expected


@pytest.mark.parametrize("argument", ["{{inputs.x}}", "{{rate}}", "{{ENV.HOME}}", "{{workflow.run_id}}", "{{a_out}}"])
def test_what_is_there_may_be_used(argument):
    check_references(workflow(("a", 1), ("b", argument, "a"), variables={"rate": 2}))


def test_a_result_of_an_indirect_dependency_may_be_used():
    check_references(workflow(("a", 1), ("b", 1, "a"), ("c", "{{a_out}}", "b")))


def test_a_result_that_may_come_later_is_refused():
    with pytest.raises(UnknownReference, match=r"task 'b' uses \{\{a_out\}\}"):
        check_references(workflow(("a", 1), ("b", "{{a_out}}")))


def test_a_misspelt_name_gets_a_hint():
    with pytest.raises(UnknownReference, match=r"did you mean a_out"):
        check_references(workflow(("a", 1), ("b", "{{a_ot}}", "a")))
