"""What differs between two versions, told in a line."""

from envs import FileEntry, Lock, Manifest, difference


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


def test_without_the_texts_of_the_locks_it_is_not_guessed():
    found = difference(manifest({"a": "0"}, lock="0"), manifest({"a": "0"}, lock="1"), old_lock="six==1\n")
    assert found.requirements is None
    assert found.summary() == "other requirements"
    assert difference(manifest({}, lock="0"), manifest({}), old_lock="six==1\n").summary() == "six removed"
