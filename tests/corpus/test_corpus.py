"""Bundles of earlier releases and of this one, recorded by scripts/record_corpus.py: they replay, for as long as this
project lives. A bundle that is here is never recorded again, and never removed.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from envs import EnvCache, open_store
from runner import Supervisor
from runner.bundle import FORMAT, Bundle
from runner.bundle_store import BundleStore
from runner.replay import Replay

CORPUS = Path(__file__).parent
INDEX = json.loads((CORPUS / "index.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs on one Python share their code, and so their environment."""
    return tmp_path_factory.mktemp("corpus")


@pytest.mark.parametrize("told", INDEX, ids=[told["file"] for told in INDEX])
def test_every_bundle_replays_as_it_ever_did(told, place, need_python):
    need_python(told["python"])
    path = CORPUS / told["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == told["sha256"], "a bundle of the corpus never changes"
    with Bundle(path) as bundle:
        store = BundleStore(open_store(str(place / "artifacts")))
        cache = EnvCache(place / "cache", store)
        with (
            store.holding(bundle),
            Supervisor(cache, network=False, comparing=True, writes=False, project_variables=False) as supervisor,
        ):
            replayed = list(Replay(bundle, supervisor).steps())
    verdicts = {f"{one.step_key}#{one.attempt}": one.verdict for one in replayed}
    assert verdicts == dict.fromkeys(verdicts, "same") | told["otherwise"], [one.detail for one in replayed]
    logs = {one.logs for one in replayed if one.verdict == "same"}
    assert logs <= {"not recorded" if told["format"] == 1 else "same"}


def test_the_corpus_has_every_kind_of_run_in_every_format_and_on_every_python():
    formats = {told["format"] for told in INDEX}
    assert formats == set(range(1, FORMAT + 1))
    kinds = {told["scenario"] for told in INDEX}
    for number in formats:
        assert {told["scenario"] for told in INDEX if told["format"] == number} == kinds
        later = {"3.14"} if number > 1 else set()  # which was not to be had in the days of format 1
        pythons = {"3.9", "3.10", "3.11", "3.12", "3.13", *later}
        assert {told["python"] for told in INDEX if told["format"] == number} == pythons


def test_the_index_lists_every_bundle_with_its_format():
    assert {told["file"] for told in INDEX} == {str(path.relative_to(CORPUS)) for path in CORPUS.glob("*/*.hwe")}
    for told in INDEX:
        with zipfile.ZipFile(CORPUS / told["file"]) as archive:
            assert json.loads(archive.read("bundle.json"))["format"] == told["format"]
