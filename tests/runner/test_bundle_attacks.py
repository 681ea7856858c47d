"""A bundle that somebody made to do harm is refused, or what it lies about is: with an error of ours, and at once."""

import hashlib
import json
import warnings
import zipfile
from pathlib import Path

import pytest

from envs import ArtifactCorrupt
from runner import wire
from runner.bundle import Bundle, BundleUnusable
from runner.errors import ProtocolError

WHOLE = Path(__file__).parents[1] / "corpus" / "format-2" / "completed-3.11.hwe"


def taken_apart():
    with zipfile.ZipFile(WHOLE) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    return json.loads(entries.pop("bundle.json")), entries


def put_together(path, index, entries, *, compression=zipfile.ZIP_STORED, twice=None):
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there already
        for name, data in [*entries.items(), *([(twice, entries[twice])] if twice else []), ("bundle.json", text)]:
            archive.writestr(name, data)
    return path


def added(index, entries, name, data=b"x"):
    entries[name] = data
    index["entries"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def the_artifact(index):
    return next(name for name in index["entries"] if name.startswith("artifacts/"))


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/tmp/evil", "files/../evil", "files/wheels/..", "files//x", "values/../x", "artifacts/x", "evil"),
        *("files/a\\b", "files/.hidden", "values/" + "A" * 64, "files/" + "x" * 256, "bundle.json/x", "files/"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    index, entries = taken_apart()
    added(index, entries, name)
    with pytest.raises(BundleUnusable):
        Bundle(put_together(tmp_path / "run.hwe", index, entries))


def test_what_is_compressed_is_refused_before_it_is_unpacked(tmp_path):
    index, entries = taken_apart()
    added(index, entries, "values/" + "0" * 64, bytes(50 * 1024**2))
    path = put_together(tmp_path / "run.hwe", index, entries, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(BundleUnusable, match="its index is not one of ours"):
        Bundle(path)


def test_entries_that_are_there_twice_are_refused(tmp_path):
    index, entries = taken_apart()
    for name in entries:
        with pytest.raises(BundleUnusable, match="not those that it lists"):
            Bundle(put_together(tmp_path / "run.hwe", index, entries, twice=name))


def test_links_are_files_like_others(tmp_path):
    """Nothing is extracted by what the archive says of a file's kind."""
    index, entries = taken_apart()
    path = tmp_path / "run.hwe"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**entries, "bundle.json": json.dumps(index).encode()}.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, data)
    with Bundle(path) as bundle, bundle.artifact(bundle.hashes[0]) as stored:
        stored.verify()


def test_wherever_it_is_cut_off_it_is_refused(tmp_path):
    whole = WHOLE.read_bytes()
    for length in {*range(0, len(whole), 997), *range(len(whole) - 30, len(whole))}:
        (tmp_path / "run.hwe").write_bytes(whole[:length])
        with pytest.raises(BundleUnusable, match="is no bundle"):
            Bundle(tmp_path / "run.hwe")


def of_run(**changes):
    return lambda index: index["run"].update(changes)


def of_steps(**changes):
    return lambda index: [step.update(changes) for step in index["steps"]]


def nested(depth):
    error = {"type": "E", "message": "m"}
    for _ in range(depth):
        error = {"type": "E", "message": "m", "cause": error}
    return error


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(format=10**100),
        lambda index: index.update(format=2.0),
        lambda index: index.update(format=True),
        lambda index: index.update(redacted="steps.charge"),
        lambda index: index.update(redacted=[1]),
        lambda index: index.update(entries=list(index["entries"])),
        lambda index: index.update(parts=[{"step_key": "a", "name": "b", "attempt": 1, "result": ["x"]}]),
        lambda index: index["entries"][the_artifact(index)].pop("artifact_id"),
        lambda index: index["entries"][the_artifact(index)].update(artifact_id=["x"]),
        lambda index: index["entries"][the_artifact(index)].update(size="1"),
        of_run(definition="[" * 100_000),
        of_run(epoch=10**300),
        of_run(created_at="9999-12-31T23:59:59-14:00"),
        of_steps(attempt=-(2**63)),
        of_steps(max_rss_bytes=10**400),
        of_steps(wall_seconds=1e300),
        of_steps(wall_seconds=float("inf")),
        of_steps(cpu_seconds=float("nan")),
        of_steps(started_at="0001-01-01T00:00:00+14:00"),
        of_steps(input={"args": 5}),
        of_steps(input={"args": [], "kwargs": [1]}),
        of_steps(error={"type": "E", "exceptions": [5]}),
        of_steps(error={"type": "E", "cause": "x"}),
        of_steps(error={"type": "E", "exceptions": "abc"}),
        of_steps(error=nested(500)),
        of_steps(result=5),
        of_steps(result=["x"]),
    ],
)
def test_what_nobody_recorded_is_refused(tmp_path, change):
    index, entries = taken_apart()
    change(index)
    with pytest.raises(BundleUnusable):
        Bundle(put_together(tmp_path / "run.hwe", index, entries))


@pytest.mark.parametrize(
    "text",
    [
        b'{"format":2,"run":' + b"[" * 100_000,
        b'{"format":2,"run":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"format":' + b"9" * 5000 + b"}",
        *(b"[]", b"", b"\xff", b"null"),
    ],
    ids=range(7),
)
def test_an_index_that_is_none_is_refused(tmp_path, text):
    _, entries = taken_apart()
    with pytest.raises(BundleUnusable):
        Bundle(put_together(tmp_path / "run.hwe", text, entries))


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(codec="pickle6"),
        lambda header: header.update(segments=[1]),
        lambda header: header.update(segments=[10**30]),
        lambda header: header.update(segments="x"),
        lambda header: header.update(body=None),
        lambda header: header["body"].update(sha256="0" * 64),
        lambda header: header["body"].update(outside=True),
    ],
)
def test_a_value_whose_header_lies_is_refused_when_it_is_read(tmp_path, change):
    """The bundle's own digests are right: it is the payload that says of itself what is not so."""
    index, entries = taken_apart()
    step = next(step for step in index["steps"] if step["result"])
    message = wire.decode(entries[step["result"]])
    header = {name: value for name, value in message.header.items() if name != "parts"}
    change(header)
    data = wire.encode(header, [bytes(part) for part in message.parts])
    step["result"] = f"values/{hashlib.sha256(data).hexdigest()}"
    added(index, entries, step["result"], data)
    with Bundle(put_together(tmp_path / "run.hwe", index, entries)) as bundle, pytest.raises(ProtocolError):
        bundle.payload(step["result"].encode())


def test_an_artifact_of_another_version_is_never_taken_for_it(tmp_path):
    index, entries = taken_apart()
    name, other = the_artifact(index), "artifacts/" + "ab" * 32
    entries[other] = entries.pop(name)
    index["entries"][other] = index["entries"].pop(name)
    path = put_together(tmp_path / "run.hwe", index, entries)
    with Bundle(path) as bundle, bundle.artifact("ab" * 32) as stored, pytest.raises(ArtifactCorrupt):
        stored.verify()
