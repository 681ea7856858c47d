"""Promise: an artifact is verified before a byte of it is extracted."""

import hashlib
import io
import random
import stat
import struct
import zipfile

import pytest

import envs
from envs import ArtifactCorrupt, capture
from envs.artifact import ArtifactWriter, extract, verify
from envs.manifest import FileEntry, Manifest, ManifestInvalid, canonical_json


def bytes_of(version):
    with version.open_artifact() as file:
        return file.read()


def refuse(data, hash_, artifact_id=None):
    with pytest.raises(ArtifactCorrupt) as caught:
        verify(io.BytesIO(data), hash_, artifact_id or hashlib.sha256(data).hexdigest())
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_artifact_is_a_zip_that_others_can_read(project):
    version = capture(project)
    with zipfile.ZipFile(io.BytesIO(bytes_of(version))) as archive:
        assert archive.testzip() is None
        infos = {info.filename: info for info in archive.infolist()}
        assert list(infos) == sorted(infos, key=str.encode)
        assert archive.read("manifest.json") == version.manifest.to_bytes()
        assert archive.read("files/data/größe.txt") == b"42\n"
        assert infos["files/bin/tool"].external_attr >> 16 == stat.S_IFREG | 0o755
        assert {i.compress_type for i in infos.values()} == {zipfile.ZIP_STORED}
        assert {i.date_time for i in infos.values()} == {(1980, 1, 1, 0, 0, 0)}


def test_extraction_restores_the_project(project, tmp_path):
    version = capture(project)
    target = tmp_path / "out"
    with version.open_artifact() as file:
        extract(file, verify(file, version.hash, version.artifact_id), target)
    assert capture(target).hash == version.hash
    assert stat.S_IMODE((target / "bin/tool").stat().st_mode) == 0o555
    assert stat.S_IMODE((target / "orders/steps.py").stat().st_mode) == 0o444
    with version.open_artifact() as file, pytest.raises(FileExistsError):
        extract(file, version.manifest, target)


def test_a_flipped_byte_anywhere_is_refused(project):
    version = capture(project)
    data = bytes_of(version)
    for position in [*random.Random(1).sample(range(len(data)), 200), 0, len(data) - 1]:
        broken = bytearray(data)
        broken[position] ^= 1
        refuse(broken, version.hash, version.artifact_id)
        # Also when whoever changed it could name the new digest: only the code version hash is trusted.
        refuse(broken, version.hash)


def test_what_is_cut_or_added_is_refused(project):
    version = capture(project)
    data = bytes_of(version)
    for broken in (b"", data[:-1], data[: len(data) // 2], data + b"\0", b"\0" + data, data + data):
        refuse(broken, version.hash)
    refuse(data, "0" * 64, version.artifact_id)


def test_extraction_notices_a_change_since_verification(project, tmp_path):
    version = capture(project)
    data = bytearray(bytes_of(version))
    data[data.index(b"return n * 2")] ^= 1
    with pytest.raises(ArtifactCorrupt):
        extract(io.BytesIO(data), version.manifest, tmp_path / "out")


def hostile(entries, manifest_bytes):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
        archive.writestr("manifest.json", manifest_bytes)
    return out.getvalue()


def manifest_of(path, content=b"x", **changes):
    raw = {"files": [[path, hashlib.sha256(content).hexdigest(), len(content), False]], "lock": None}
    return canonical_json(raw | {"python": None, "schema": 1} | changes)


@pytest.mark.parametrize(
    "path",
    [
        "../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "a\\b", "a\nb", "", "e\u0301", "a" * 300,
        "__pycache__/m.cpython-312.pyc", "a/__PyCache__/m.cpython-312.pyc",  # would be shared as that of its source
    ],
)  # fmt: skip
def test_a_manifest_with_a_path_that_leads_elsewhere_is_refused(path):
    data = manifest_of(path)
    with pytest.raises(ManifestInvalid):
        Manifest.from_bytes(data)
    refuse(hostile([("files/" + path, "x")], data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    "data",
    [
        b"[]", b"{", b"[" * 100_000, b'{"a":1}',
        manifest_of("a", schema=2), manifest_of("a", python="3.12; rm"),
        manifest_of("a", lock={"path": "b", "sha256": "0" * 64}), manifest_of("a") + b" ",
        manifest_of("a", files=[["a", "0" * 64, True, False]]),
        manifest_of("a", files=[["a", "0" * 64, -1, False]]),
        manifest_of("a", files=[["a", "0" * 64, 2**40, False]]),
        manifest_of("a", files=[["b", "0" * 64, 0, False], ["a", "0" * 64, 0, False]]),
        manifest_of("a", files=[["a", "0" * 64, 0, False]] * 2),
        manifest_of("a", files=[["A", "0" * 64, 0, False], ["a", "0" * 64, 0, False]]),
        manifest_of("a", files=[["a", "0" * 64, 0, False], ["a/b", "0" * 64, 0, False]]),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_canonical_is_refused(data):
    with pytest.raises(ManifestInvalid):
        Manifest.from_bytes(data)


def test_an_archive_by_another_program_is_refused_even_with_the_right_contents(project):
    version = capture(project)
    with zipfile.ZipFile(io.BytesIO(bytes_of(version))) as archive:
        entries = [(i, archive.read(i)) for i in archive.namelist() if i != "manifest.json"]
    assert "canonical" in str(refuse(hostile(entries, version.manifest.to_bytes()), version.hash))


@pytest.mark.parametrize("entry", ["files/extra", "../evil", "files/a"])
def test_an_entry_that_the_manifest_does_not_list_is_refused(entry):
    out = io.BytesIO()
    manifest = Manifest((FileEntry("a", hashlib.sha256(b"x").hexdigest(), 1, False),))
    writer = ArtifactWriter(out)
    writer.add("a", False, iter([b"x"]))
    writer._add(entry.encode(), False, iter([b"evil"]))
    writer.finish(manifest)
    refuse(out.getvalue(), manifest.code_version_hash)


def test_a_directory_that_contradicts_the_headers_is_refused(project):
    version = capture(project)
    data = bytes_of(version)
    name = b"files/orders/steps.py"
    central = data.rindex(name)
    renamed = data[:central] + b"files/../../steps.py\0" + data[central + len(name) :]
    refuse(renamed, version.hash)
    link = bytearray(data)
    struct.pack_into("<I", link, central - 46 + 38, (stat.S_IFLNK | 0o777) << 16)
    refuse(bytes(link), version.hash)


def test_numbers_that_lie_cost_no_memory(project):
    version = capture(project)
    data = bytes_of(version)
    end = len(data) - 22
    for offset, form, value in [
        (10, "<H", 0xFFFF),
        (12, "<I", 2**32 - 1),
        (16, "<I", 2**32 - 1),
        (20, "<H", 65535),
    ]:
        broken = bytearray(data)
        struct.pack_into(form, broken, end + offset, value)
        refuse(bytes(broken), version.hash)
    central = data.rindex(b"manifest.json") - 46
    for offset in (20, 24, 42):
        broken = bytearray(data)
        struct.pack_into("<I", broken, central + offset, 2**32 - 1)
        refuse(bytes(broken), version.hash)


def test_more_entries_than_a_plain_zip_can_count():
    out = io.BytesIO()
    writer = ArtifactWriter(out)
    files = []
    empty = hashlib.sha256(b"").hexdigest()
    for number in range(65_600):
        path = f"f{number:06}"
        writer.add(path, False, iter(()))
        files.append(FileEntry(path, empty, 0, False))
    manifest = Manifest(tuple(files))
    writer.finish(manifest)
    with zipfile.ZipFile(out) as archive:
        assert len(archive.namelist()) == 65_601
    assert verify(out, manifest.code_version_hash, hashlib.sha256(out.getvalue()).hexdigest()) == manifest


def test_messages_say_what_to_do(project):
    error = refuse(b"junk" * 100, capture(project).hash)
    assert "put the code version again" in str(error)
    assert isinstance(error, envs.EnvsError)
    assert error.fault == "store"
