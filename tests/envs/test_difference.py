"""What differs between two versions, told in a line."""

import pytest

from envs import FileEntry, Lock, Manifest, difference, requirement_changes


def manifest(files, lock=None, python="3.12"):
    return Manifest(
        tuple(FileEntry(path, content * 64, 1, False) for path, content in sorted(files.items())),
        Lock("requirements.txt", lock * 64) if lock else None,
        python,
    )


def test_nothing_differs():
    assert difference(manifest({"a": "0"}), manifest({"a": "0"})).summary() == "nothing"


def test_three_files_are_named_and_the_others_counted():
    old = manifest({"a": "0", "b": "0", "c": "0", "gone": "0"})
    new = manifest({"a": "1", "b": "1", "c": "0", "new": "0"})
    found = difference(old, new)
    assert (found.changed, found.added, found.removed) == (("a", "b"), ("new",), ("gone",))
    assert found.summary() == "a changed, b changed, new added and 1 more"


def test_two_requirements_are_named_and_the_python():
    old = manifest({"a": "0"}, lock="0", python="3.11")
    new = manifest({"a": "0"}, lock="1")
    before = "# pinned\nsix==1.16.0 \\\n    --hash=sha256:00\nattrs==1.0\nIdna[x]==3.0 ; python_version > '3'\n"
    after = "--index-url x==y\nsix==1.17.0 \\\n    --hash=sha256:00\nZope.Interface==2\nidna==3.0\n"
    found = difference(old, new, old_lock=before, new_lock=after)
    assert found.requirements == ("attrs removed", "six 1.16.0 → 1.17.0", "zope-interface 2 added")
    assert found.summary() == "attrs removed, six 1.16.0 → 1.17.0 and 1 more; Python 3.11 → 3.12"


HASH = f" --hash=sha256:{'0' * 64}\n"
FORKED = "a==1 ; python_version < '3.10'{0}a=={1} ; python_version >= '3.10'{0}"
PYLOCK = """lock-version = "1.0"
[[packages]]
name = "a"
{}
wheels = [{{url = "https://x/a-1-py3-none-any.whl", hashes = {{sha256 = "{}"}}}}]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (FORKED.format(HASH, 2), FORKED.format(HASH, 3), ["a 1 or 2 → 1 or 3"]),
        (FORKED.format(HASH, 2), FORKED.format(HASH, 1), ["a 1 or 2 → 1"]),
        (f"a @ https://x/a-1.whl{HASH}", f"a @ https://x/a-2.whl{HASH}", ["a https://x/a-1.whl → https://x/a-2.whl"]),
        (f"a==1{HASH}", f"a[x] @ https://x/a-2.whl{HASH}", ["a 1 → https://x/a-2.whl"]),
        (f"a===1{HASH}", f"  a == 1 \\\n  {HASH}# b==2\n", []),
        (PYLOCK.format('version = "1"', "0" * 64), PYLOCK.format('version = "2"', "0" * 64), ["a 1 → 2"]),
        (PYLOCK.format("", "0" * 64), f"a==1{HASH}", ["a https://x/a-1-py3-none-any.whl → 1"]),
    ],
)
def test_every_pin_of_a_package_is_compared(old, new, told):
    assert [str(change) for change in requirement_changes(old, new)] == told


def test_without_the_texts_of_the_locks_it_is_not_guessed():
    found = difference(manifest({"a": "0"}, lock="0"), manifest({"a": "0"}, lock="1"), old_lock="six==1\n")
    assert found.requirements is None
    assert found.summary() == "other requirements"
    assert difference(manifest({}, lock="0"), manifest({}), old_lock="six==1\n").summary() == "six removed"
