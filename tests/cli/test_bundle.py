"""`hwe export` and `hwe replay FILE`: a run that travels in one file."""

import contextlib
import hashlib
import json
import shutil
import sys
import zipfile

import pytest

from runner import bundle as bundles

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, site_at):
    """A run with retries, variables, parts that are done once, and large and opaque values."""
    site = site_at(tmp_path_factory.mktemp("recorded"))
    site.deploy("context")
    marks = site.root / "marks"
    marks.mkdir()
    (site.project / "pyproject.toml").write_text(
        f'[tool.hwe]\npython = "{HERE}"\n[tool.hwe.sandbox]\nwritable = ["{marks}"]\n'
    )
    (site.root / "open").touch()
    run_input = json.dumps({"mark": str(marks / "mark"), "gate": str(site.root / "open"), "secret": {"card": "4711"}})
    done = site.hwe("run", "workflow.yaml", "--run-id", "run-1", "--policy", "artifact", "--input", run_input)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def elsewhere(tmp_path, site_at):
    """Another installation, with neither the ledger nor the store of the first."""
    return site_at(tmp_path)


def export(recorded, target, *arguments):
    done = recorded.hwe("export", "run-1", target, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def replay(site, bundle, *arguments):
    done = site.hwe("replay", bundle, "--json", *arguments)
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    return done.returncode, document, {step["step_key"]: step for step in document["steps"]}


def test_a_bundle_replays_without_database_store_and_project(recorded, elsewhere, tmp_path):
    told = export(recorded, tmp_path / "run.hwe")
    assert told["sha256"] == hashlib.sha256((tmp_path / "run.hwe").read_bytes()).hexdigest()
    code, document, steps = replay(elsewhere, tmp_path / "run.hwe")
    assert (code, document["verdict"]) == (0, "same")
    assert {step["verdict"] for step in steps.values()} == {"same"}
    assert document["run_id"] == "run-1"
    assert not (elsewhere.home / "hwe.sqlite").exists()


def test_the_same_run_gives_the_same_bytes(recorded, tmp_path):
    digests = {export(recorded, tmp_path / name)["sha256"] for name in ("one", "two")}
    assert len(digests) == 1


def test_what_is_there_is_not_overwritten_and_nothing_is_left_half(recorded, tmp_path):
    (tmp_path / "run.hwe").write_text("mine")
    done = recorded.hwe("export", "run-1", tmp_path / "run.hwe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is there already" in done.stderr
    shutil.move(recorded.home / "artifacts", recorded.home / "away")
    try:
        assert recorded.hwe("export", "run-1", tmp_path / "other.hwe").returncode == 3
    finally:
        shutil.rmtree(recorded.home / "artifacts", ignore_errors=True)
        shutil.move(recorded.home / "away", recorded.home / "artifacts")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["run.hwe"]
    done = recorded.hwe("export", "run-1", tmp_path / "no" / "such" / "place")
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["x" * 300, "run.hwe/run.hwe"])
def test_a_place_where_nothing_can_be_written_is_said(recorded, tmp_path, name):
    (tmp_path / "run.hwe").write_text("mine")
    done = recorded.hwe("export", "run-1", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "cannot be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["run.hwe"]


@pytest.mark.parametrize(
    ("most_bytes", "code", "told"), [(9_000_000, 2, "cannot be written"), (1_000_000, 3, "large results cannot be")]
)
def test_on_a_disk_that_is_full_nothing_half_written_remains(recorded, tmp_path, most_bytes, code, told):
    """A limit on the size of files, which the kernel enforces as it does the end of a disk, and that of memory."""
    done = recorded.hwe("export", "run-1", tmp_path / "run.hwe", prefix=("prlimit", f"--fsize={most_bytes}"))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("**/*run.hwe*")) == []


def rewritten(path, change):
    """The bundle with its index changed, and all else as it was."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    index = json.loads(entries.pop("bundle.json"))
    change(index, entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**entries, "bundle.json": json.dumps(index).encode()}.items():
            archive.writestr(name, data)


def swap(index, entries):
    name = next(name for name in entries if name.startswith("values/"))
    entries[name] = entries[name][:-1] + bytes([entries[name][-1] ^ 1])


def add(index, entries):
    entries["../evil"] = b"x"


def lose(index, entries):
    del entries[next(name for name in entries if name.startswith("values/"))]


def newer(index, entries):
    index["format"] = bundles.FORMAT + 1


def of_no_format(index, entries):
    index["format"] = 0


def no_definition(index, entries):
    index["run"]["definition"] = "{"


def no_number(index, entries):
    index["steps"][0]["attempt"] = "1"


def no_key(index, entries):
    del index["steps"][0]["step_key"]


def no_error(index, entries):
    index["steps"][0]["error"] = "it failed"


def no_time_zone(index, entries):
    index["steps"][0]["started_at"] = "2026-01-01T00:00:00"


def no_variable(index, entries):
    index["variables"].append({"name": "rate"})


@pytest.mark.parametrize(
    "change", [of_no_format, no_definition, no_number, no_key, no_error, no_time_zone, no_variable]
)
def test_a_bundle_that_nobody_wrote_so_is_refused(recorded, elsewhere, tmp_path, change):
    path = tmp_path / "run.hwe"
    export(recorded, path)
    rewritten(path, change)
    done = elsewhere.hwe("replay", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no bundle, or damaged" in done.stderr


def test_whatever_byte_of_its_directory_is_changed_it_opens_as_it_was_or_is_refused(site, tmp_path):
    (site.project / "parts.py").write_text("def one():\n    return 1\n")
    task = {"operator_type": "task", "function": "tools.python.run", "args": ["parts.one"]}
    (site.project / "workflow.yaml").write_text(json.dumps({"name": "one", "tasks": {"one": task}}))
    assert site.hwe("run", "workflow.yaml", "--run-id", "run-1").returncode == 0
    path = tmp_path / "run.hwe"
    export(site, path)
    data = bytearray(path.read_bytes())
    with bundles.Bundle(path) as bundle:
        whole = (bundle.run, bundle.steps)
    for place in range(int.from_bytes(data[-6:-2], "little"), len(data)):
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        data[place] ^= 1 << place % 8
        with contextlib.suppress(bundles.BundleUnusable), bundles.Bundle(path) as bundle:
            assert (bundle.run, bundle.steps) == whole


@pytest.mark.parametrize(
    ("change", "told"),
    [(swap, "have changed"), (add, "not those that it lists"), (lose, "not those that it lists"), (newer, "upgrade")],
)
def test_a_bundle_is_verified_before_it_is_used(recorded, elsewhere, tmp_path, change, told):
    path = tmp_path / "run.hwe"
    export(recorded, path)
    rewritten(path, change)
    done = elsewhere.hwe("replay", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(elsewhere, tmp_path, content):
    (tmp_path / "run.hwe").write_bytes(content)
    done = elsewhere.hwe("replay", tmp_path / "run.hwe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no bundle" in done.stderr


def test_an_artifact_that_was_changed_is_never_unpacked(recorded, elsewhere, tmp_path):
    path = tmp_path / "run.hwe"
    export(recorded, path)

    def forge(index, entries):
        name = next(name for name in entries if name.startswith("artifacts/"))
        entries[name] = entries[name].replace(b"return", b"raise ", 1)
        index["entries"][name] |= {"sha256": hashlib.sha256(entries[name]).hexdigest(), "artifact_id": "0" * 64}

    rewritten(path, forge)
    code, _, steps = replay(elsewhere, path)
    assert code == 3
    assert {step["verdict"] for step in steps.values()} == {"could not"}
    assert "ArtifactCorrupt" in steps["charge"]["detail"]


def test_a_format_without_later_fields_opens(recorded, elsewhere, tmp_path):
    path = tmp_path / "run.hwe"
    export(recorded, path)

    def older(index, entries):
        index["format"] = 1
        for step in index["steps"]:
            for name in ("wall_seconds", "cpu_seconds", "max_rss_bytes", "wake_at", "stdout", "stderr"):
                del step[name]
        del index["run"]["policy_source"]
        index["run"]["a_later_field"] = 1

    rewritten(path, older)
    _, document, steps = replay(elsewhere, path)
    assert document["verdict"] == "same"
    assert {step["logs"] for step in steps.values()} == {"not recorded"}
