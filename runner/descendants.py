"""Who is alive below a zygote, as /proc tells it."""

from __future__ import annotations

# How often the list of children is read before somebody else is asked, who reaps them and so can be sure.
_LOOKS = 5


class Descendants:
    """The processes below a zygote: its step processes, which make themselves known, and what these left behind.

    `root`: its pid. None when it is in a namespace of its own, where the first step process tells it.
    """

    def __init__(self, root: int | None = None) -> None:
        self._root = root
        self._steps: set[int] = set()  # sets of ints are safe to share under the GIL

    def know(self, pid: int) -> None:
        """`pid`, as it is here, is a step process."""
        self._steps.add(pid)
        if self._root is None:
            self._root = _parent_of(pid)

    def forget(self, pid: int) -> None:
        """The step process `pid` is dead, or soon will be."""
        self._steps.discard(pid)

    def has_no_orphans(self) -> bool:
        """Whether nothing below the zygote is alive but step processes.

        Orphans of a dead step are children of the zygote, its subreaper. False also when one is just being forked.
        """
        children = _children_of(self._root)
        return children is not None and all(_is_dead(child) for child in children - self._steps)


def _children_of(pid: int | None) -> set[int] | None:
    """None when nobody can tell: there is no Linux, the process is gone, or its children come and go all the time."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as listing:
            before = None
            for _ in range(_LOOKS):
                listing.seek(0)
                found = listing.read()
                # When one that is listed is reaped meanwhile, as the dead step is, the next may be left out. Whoever
                # was reaped is not in the next list, so two that are the same were not disturbed.
                if found == before:
                    return {int(child) for child in found.split()}
                before = found
    except OSError:
        pass
    return None


def _is_dead(pid: int) -> bool:
    """Whether a process is gone, or a zombie that waits to be reaped."""
    state = _state_of(pid)
    return state is None or state[0] in b"ZX"


def _parent_of(pid: int) -> int | None:
    state = _state_of(pid)
    return None if state is None else int(state[1])


def _state_of(pid: int) -> list[bytes] | None:
    """State, parent and more, as /proc tells them; None of a process that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split(maxsplit=2)  # a process may be called anything
    except OSError:
        return None
