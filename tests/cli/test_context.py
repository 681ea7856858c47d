"""What steps ask of their run through ctx, and large results, through the command line and across a kill -9."""

import signal


def start(site, run_id="run-1"):
    site.deploy("context")
    marks = site.root / "marks"  # the one place besides its scratch directory that a step may write to
    marks.mkdir()
    with open(site.project / "pyproject.toml", "a") as settings:
        settings.write(f'[tool.hwe.sandbox]\nwritable = ["{marks}"]\n')
    mark, gate = marks / "mark", site.root / "open"
    site.submit(run_id, mark=str(mark), gate=str(gate))
    return mark, gate


def test_parts_of_a_step_are_done_once_across_a_kill_and_variables_stay(site):
    mark, gate = start(site)
    with site.worker() as worker:
        with site.ledger() as ledger:
            site.wait_until(lambda: ledger.contexts.substep("run-1", "charge", "charge#2") is not None)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    gate.touch()
    with site.worker():
        run = site.wait_for_status("run-1", "completed", "failed")
    assert run["status"] == "completed", run["error"]
    assert mark.read_text() == "xx"  # by the first worker; the second was told
    output = run["output"]
    assert output["charged"] == [1, 2]
    assert output["flaky"] == [1, 3]
    assert output["total"] == 7
    assert output["seen"] == [["first", "second"], None, 7]
    assert output["large"] == [3_000_000] * 2
    assert (output["of_text"], output["of_blob"]) == (3_000_000, 5_000_000)
    # Large values are shown whole, and rest beside the database.
    assert output["text"] == site.step("run-1", "text")["value"] == "x" * 3_000_000
    assert (output["blob"], site.step("run-1", "blob")["opaque"]) == (None, True)
    assert (site.home / "hwe.sqlite").stat().st_size < 2_000_000
    assert sum(path.stat().st_size for path in (site.home / "values").rglob("*") if path.is_file()) > 10_000_000
    assert len(site.told("show", "run-1")) < 3_100_000


def test_a_large_result_that_is_lost_fails_the_step_that_needs_it_and_can_be_restored(site):
    _, gate = start(site)
    gate.touch()
    done = site.hwe(
        "run", "workflow.yaml", "--run-id", "again", "--input", f'{{"mark": "{site.root}/marks/m", "gate": "{gate}"}}'
    )
    assert done.returncode == 0, done.stderr
    biggest = max((site.home / "values").rglob("*"), key=lambda path: path.stat().st_size)
    biggest.rename(site.root / "aside")
    with site.ledger() as ledger:
        blob = next(step for step in ledger.steps("again") if step.step_key == "blob")
    assert biggest.name.encode() in blob.result
    told = site.hwe("show", "again", "--json")
    assert told.returncode == 0  # an opaque value is not read to be shown
    (site.root / "aside").rename(biggest)
