"""`hwe diff`: files, requirements and Python that make two hashes differ."""

import json
import stat

SIX = "six=={} \\\n    --hash=sha256:" + "0" * 64 + "\n"


def write(site, files):
    for path, content in files.items():
        target = site.project / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())


FIRST = {
    "pyproject.toml": '[tool.hwe]\npython = "3.12"\n',
    "orders/steps.py": "def price(n):\n    return n\n",
    "orders/gone.py": "X = 1\n",
    "orders/windows.py": "A = 1\nB = 2\n",
    "orders/tool": "#!/bin/sh\n",
    "requirements.txt": SIX.format("1.16.0"),
}


def test_a_project_and_a_stored_hash_are_compared(site):
    write(site, FIRST)
    old = site.told("capture")
    assert site.hwe("diff", ".", old).returncode == 0
    assert "the same" in site.told("diff", old[:8], old.upper())
    (site.project / "orders/gone.py").unlink()
    tool = site.project / "orders/tool"
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    write(
        site,
        {
            "pyproject.toml": '[tool.hwe]\npython = "3.13"\n',
            "orders/steps.py": "def price(n):\n    return n * 2\n",
            "orders/new.py": "Y = 1\n",
            "orders/windows.py": b"A = 1\r\nB = 2\r\n",
            "requirements.txt": SIX.format("1.17.0") + SIX.replace("six", "attrs").format("1.0"),
        },
    )
    done = site.hwe("diff", old[:8], site.project, "--json")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["same"] is False
    assert told["old"]["code_version_hash"] == old
    assert told["new"]["code_version_hash"] == site.told("capture")
    files = {one["path"]: (one["kind"], one["old_bytes"], one["new_bytes"]) for one in told["files"]}
    assert files == {
        "orders/gone.py": ("removed", 6, None),
        "orders/new.py": ("added", None, 6),
        "orders/steps.py": ("changed", 27, 31),
        "orders/tool": ("mode", 10, 10),
        "orders/windows.py": ("changed", 12, 14),
        "pyproject.toml": ("changed", 27, 27),
        "requirements.txt": ("changed", 97, 193),
    }
    assert [one["path"] for one in told["files"] if one["line_ends_only"]] == ["orders/windows.py"]
    assert told["requirements"] == [
        {"name": "attrs", "old": None, "new": "1.0"},
        {"name": "six", "old": "1.16.0", "new": "1.17.0"},
    ]
    assert told["python"] == {"old": "3.12", "new": "3.13"}

    text = site.hwe("diff", old[:8], site.project).stdout
    assert (
        "~ orders/windows.py  12 → 14 bytes  line ends only" in " ".join(text.split("  ")) or "line ends only" in text
    )
    assert "six 1.16.0 → 1.17.0" in text
    assert "Python 3.12 → 3.13" in text
    assert "execute bit" in text
    turned = json.loads(site.hwe("diff", site.project, old, "--json").stdout)
    assert turned["requirements"][0] == {"name": "attrs", "old": "1.0", "new": None}


def test_a_lock_whose_versions_are_the_same_says_what_else_it_is(site):
    write(site, FIRST)
    old = site.told("capture")
    write(site, {"requirements.txt": "# from elsewhere\n" + SIX.format("1.16.0")})
    done = site.hwe("diff", old, ".")
    assert done.returncode == 1
    assert "the same versions, but other hashes, options or comments" in done.stdout


def test_what_names_nothing_is_refused_in_one_line(site):
    write(site, FIRST)
    for given, reason in (("1234567", "8 hexadecimal digits"), ("0" * 8, "no stored version"), ("xyz", "8 hex")):
        done = site.hwe("diff", ".", given)
        assert done.returncode == 2
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (site.home / "artifacts").exists()  # nothing is stored
