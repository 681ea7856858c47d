"""A run keeps its code when the artifacts are in an optional store, through the command line."""

import importlib.util
import sys
import uuid

import pytest
import s3_server

PROJECT = f'[tool.hwe]\npython = "{sys.version_info[0]}.{sys.version_info[1]}"\n'
WORKFLOW = """
name: release
version: "1"
tasks:
  tell:
    operator_type: task
    function: tools.python.run
    args: [steps.tell]
    result_key: told
"""


@pytest.fixture
def datashard(site, missing):
    if importlib.util.find_spec("datashard") is None:
        missing("DATASHARD STORES NOT TESTED: it is not installed: make extras")
    return {"HWE_ARTIFACT_STORE": f"datashard://{site.root}/shard"}


@pytest.fixture
def s3(missing):
    weed = s3_server.binary()
    if weed is None or importlib.util.find_spec("obstore") is None:
        missing("S3 STORES NOT TESTED: obstore or SeaweedFS is not installed: make extras")
    server = s3_server.S3Server(weed)
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    server.store(bucket)
    yield {**server.environment("writer"), "HWE_ARTIFACT_STORE": server.address(bucket)}
    server.stop()


def release(site, number):
    (site.project / "pyproject.toml").write_text(PROJECT)
    (site.project / "workflow.yaml").write_text(WORKFLOW)
    (site.project / "steps.py").write_text(f"def tell():\n    return {number}\n")


@pytest.mark.parametrize("kind", ["datashard", "s3"])
def test_a_run_keeps_the_code_it_started_with(site, request, kind):
    site.environment |= request.getfixturevalue(kind)
    release(site, 1)
    site.submit("run-1")
    release(site, 2)
    site.submit("run-2")
    site.told("worker", "--drain")
    assert [site.show(run)["output"] for run in ("run-1", "run-2")] == [{"told": 1}, {"told": 2}]
    assert not (site.home / "artifacts").exists()
    # Another machine, with nothing but the address, has it too.
    (site.home / "cache").rename(site.home / "former")
    assert site.hwe("replay", "run-1").returncode == 0
