"""Optional and heavy parts are imported when they are asked for, not before; all else works without them."""

import subprocess
import sys

OPTIONAL = ("obstore", "datashard", "pyarrow", "grimp", "psycopg", "alembic", "dbos")

PROGRAM = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import envs, runner, runner.cli.commands, runner.ledger, runner.advance, runner.validation
import runner.engines.highway
"""


def python(program, *arguments):
    return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)


def test_nothing_optional_or_heavy_is_imported_before_it_is_asked_for():
    done = python(PROGRAM)
    assert done.returncode == 0, done.stderr


def test_a_store_whose_part_is_not_installed_says_what_to_install():
    done = python(PROGRAM + "envs.open_store('s3://bucket/x')")
    assert "pip install 'hwe-runner[s3]'" in done.stderr.splitlines()[-1]
