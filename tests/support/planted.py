"""How planted changes of code are written down: a package as it was, as it is in the candidate, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

OK = "compatible"
STATE = "state will not load"
SIG = "signature"
MISSING = "step missing"
IMPORT = "candidate does not import"

# The steps of a run: one is done when the run is checked, and the other needs its result.
USE = "\ndef make(number):\n    return %s\n\ndef use(made):\n    return 1\n"


# By path in the package; text alone is that of steps.py.
Files = str | dict[str, str | None]


@dataclass(frozen=True)
class Planted:
    """`word`: what the reason says among other things. `argument`: what the step to come is given."""

    old: Files
    new: Files
    verdict: str
    word: str
    argument: str = "{{made}}"


class Table(dict[str, Planted]):
    """By name, which says what is changed."""

    def edited(self, name: str, source: str, edits: list[tuple[str, str]], verdict: str, word: str = "") -> None:
        """A change of steps.py."""
        new = source
        for before, after in edits:
            assert before in new, (name, before)
            new = new.replace(before, after)
        self.replaced(name, source, {"steps.py": new}, verdict, word)

    def kept(self, name: str, source: str, verdict: str, word: str = "") -> None:
        """No change of the code: the Python or the dependencies are others."""
        self.replaced(name, source, {}, verdict, word)

    def replaced(
        self, name: str, old: Files, new: Files, verdict: str, word: str = "", argument: str = "{{made}}"
    ) -> None:
        """A change of several files, of which `new` has those that differ; None: it is gone."""
        assert name not in self, name
        before, after = ({"steps.py": files} if isinstance(files, str) else files for files in (old, new))
        left = {path: text for path, text in {**before, **after}.items() if text is not None}
        self[name] = Planted(before, left, verdict, word, argument)
