"""Code that runs before any step asks for it is confined as well: preloaded modules, and .pth files at the start."""

import pytest


@pytest.fixture
def reported(tmp_path):
    """A directory that code of a project may write to, and a file that it may not."""
    out = tmp_path / "out"
    out.mkdir()
    return out, tmp_path / "victim"


TRY = """
try:
    open({victim!r}, "w")
    told = "wrote"
except OSError:
    told = "refused"
open({out!r} + "/{name}", "w").write(told)
"""


def test_a_preloaded_module_is_confined(attack_with, reported):
    out, victim = reported
    attack = attack_with(f'writable = ["{out}"]', TRY.format(victim=str(victim), out=str(out), name="preload"))
    attack.supervisor.warm(attack.hash, ["attacks.where"])  # no step: the zygote imports it
    assert (out / "preload").read_text() == "refused"
    assert not victim.exists()


def test_a_pth_file_of_the_environment_is_confined(attack_with, cache, reported):
    out, victim = reported
    attack = attack_with(f'writable = ["{out}"]')
    with cache.lease(attack.hash) as environment:
        [site] = environment.root.glob("lib/python*/site-packages")
        code = TRY.format(victim=str(victim), out=str(out), name="pth")
        (site / "early.pth").write_text(f"import sys; exec({code!r})\n")
        assert attack("where").status == "completed"
    assert (out / "pth").read_text() == "refused"
    assert not victim.exists()
