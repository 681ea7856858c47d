"""What `hwe show` tells people."""

WORKFLOW = """
name: broken
version: "1"
tasks:
  divide:
    operator_type: task
    function: tools.python.run
    args: [steps.divide, "{{inputs.by}}"]
"""


def test_a_failed_run_shows_where_its_step_failed(site):
    (site.project / "workflow.yaml").write_text(WORKFLOW)
    (site.project / "steps.py").write_text("def divide(by):\n    return 1 / by\n")
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--input", '{"by": 0}')
    assert done.returncode == 1
    told = site.told("show", "run-1")
    assert "ZeroDivisionError: division by zero" in told
    assert 'steps.py", line 2, in divide' in told
    site.told("run", "workflow.yaml", "--run-id", "run-2", "--input", '{"by": 2}')
    assert "Traceback" not in site.told("show", "run-2")
