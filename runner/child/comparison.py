"""Compares a value with the one that was recorded, inside the child, where the types exist. Loaded ahead for a replay.

Run by Python 3.9 to 3.14, standard library only, like bootstrap.py. Two values are the same when pickle keeps
the same of both, down to which of their parts are one and the same object.
"""

import itertools
import math
import reprlib

from . import arrays
from .decomposition import (
    ATOMS,
    fingerprint,
    fingerprint_of_atom,
    hashes_by_value,
    is_whole,
    name_of,
    parts_of,
    plainly_same,
)

MAX_DIFFERENCES = 50
MAX_SHOWN_CHARS = 200
MAX_PATH_CHARS = 1000
SHOWN_BEFORE_CHARS = 40  # of a long text, before the place where it differs
MAX_TRIED = 200  # with a tolerance, so many members of two sets are tried with each other


class Comparison:
    """The differences between two values, as {path, recorded, replayed, how}, the first few of them.

    `tolerance`: how far floats may be apart, relative to the larger and, near zero, absolute.
    """

    def __init__(self, tolerance=0.0):
        self.tolerance = tolerance
        self.differences = []
        self.left = []  # pairs to compare, the next one last: values may nest deeper than Python recurses
        self.seen = {}  # the ids of a pair: the pair, kept alive so that no other object gets its ids
        self.partners = {}  # (side, id): the id of its partner, and the path where they met

    def compare(self, old, new):
        self.left.append((old, new, Path("result")))
        return self.compare_what_is_left()

    def compare_what_is_left(self):
        while self.left and len(self.differences) < MAX_DIFFERENCES:
            old, new, path = self.left.pop()
            try:
                self.compare_pair(old, new, path)
            except Exception as error:  # methods of the user's own
                self.differ(path, old, new, "cannot be compared: %s" % type(error).__name__)
        return self.differences

    def compare_pair(self, old, new, path):
        if old is new or (id(old), id(new)) in self.seen:
            return
        if old is ABSENT or new is ABSENT:
            self.differ(path, old, new)
        elif type(old) in ATOMS or type(new) in ATOMS:
            if type(old) is not type(new) or not self.same_atoms(old, new):
                self.differ(path, old, new)
        else:
            self.seen[id(old), id(new)] = old, new
            before, now = parts_of(old), parts_of(new)
            if not self.same_kinds(before.kind, now.kind, path):
                self.differ(path, old, new)
            elif hashes_by_value(type(old)) or self.are_partners(old, new, path):
                if is_whole(old, before):
                    self.compare_wholes(old, new, before, now, path)
                else:
                    self.compare_parts(before, now, path)

    def same_kinds(self, before, now, path):
        if type(before) is tuple or type(now) is tuple:
            return type(before) is type(now) and before == now
        if before is not now and name_of(before) == name_of(now):
            self.left.append((before, now, Path("type(%s)", path)))  # two copies of one that travels as its code
            return True
        return before is now

    def compare_wholes(self, old, new, before, now, path):
        inner = Comparison(self.tolerance)
        inner.compare_parts(before, now, path)
        if inner.compare_what_is_left():
            self.differ(path, old, new)

    def compare_parts(self, before, now, path):
        pairs = [
            (before.named.get(label, ABSENT), now.named.get(label, ABSENT), Path("%s" + label.replace("%", "%%"), path))
            for label in sorted({**before.named, **now.named})
        ]
        if before.listed or now.listed:
            pairs += self.pairs_of_lists(before.listed or (), now.listed or (), path)
        if before.pairs or now.pairs:
            pairs += self.pairs_of_mappings(before.pairs or (), now.pairs or (), path)
        if before.members or now.members:
            pairs += self.pairs_of_sets(before.members or (), now.members or (), path)
        if before.array is not None:
            pairs += self.pairs_of_arrays(before.array, now.array, path)
        self.left.extend(reversed(pairs))

    def pairs_of_lists(self, old, new, path):
        if len(old) != len(new):
            self.differ(Path("len(%s)", path), len(old), len(new))
        return [
            (left, right, Path("%s[%s]", path, index))
            for index, (left, right) in enumerate(zip(old, new))
            if not plainly_same(left, right)
        ]

    def pairs_of_mappings(self, old, new, path):
        keys, new_keys = [key for key, _ in old], [key for key, _ in new]
        matched, gone, added = self.match(keys, new_keys)
        for place in gone:
            self.differ(Path("%s[%s]", path, keys[place]), old[place][1], ABSENT)
        for place in added:
            self.differ(Path("%s[%s]", path, new_keys[place]), ABSENT, new[place][1])
        if any(one[1] > next_one[1] for one, next_one in zip(matched, matched[1:])):
            self.differ(path, keys, new_keys, "the keys come in another order")
        pairs = []
        for place, other in matched:
            (key, item), (new_key, new_item) = old[place], new[other]
            if not plainly_same(key, new_key):
                pairs.append((key, new_key, Path("the key of %s[%s]", path, key)))
            if not plainly_same(item, new_item):
                pairs.append((item, new_item, Path("%s[%s]", path, key)))
        return pairs

    def pairs_of_sets(self, old, new, path):
        matched, gone, added = self.match(old, new)
        for place in sorted(gone, key=lambda place: show(old[place])):
            self.differ(Path("%s{%s}", path, old[place]), old[place], ABSENT)
        for place in sorted(added, key=lambda place: show(new[place])):
            self.differ(Path("%s{%s}", path, new[place]), ABSENT, new[place])
        return [
            (old[place], new[other], Path("%s{%s}", path, old[place]))
            for place, other in matched
            if not plainly_same(old[place], new[other])
        ]

    def pairs_of_arrays(self, old, new, path):
        found = arrays.differences(old, new, self.tolerance)
        if old.dtype.kind == "O":
            return ((left, right, Path("%s" + label, path)) for label, left, right in found)
        for label, left, right in itertools.islice(found, MAX_DIFFERENCES):
            self.differ(Path("%s" + label.replace("%", "%%"), path), left, right)
        return ()

    def match(self, old, new):
        """Which place in `old` is which in `new`; those without a partner in `old`, and in `new`."""
        if len(old) == len(new) and all(map(plainly_same, old, new)):
            return [(place, place) for place in range(len(old))], [], []
        places = {}
        for place in reversed(range(len(new))):
            places.setdefault(fingerprint(new[place]), []).append(place)
        matched, gone = [], []
        for place, item in enumerate(old):
            found = places.get(fingerprint(item))
            if found:
                matched.append((place, found.pop()))
            else:
                gone.append(place)
        added = sorted(place for found in places.values() for place in found)
        if self.tolerance and max(len(gone), len(added)) <= MAX_TRIED:
            for place in list(gone):
                for other in added:
                    if not Comparison(self.tolerance).compare(old[place], new[other]):
                        matched.append((place, other))
                        gone.remove(place)
                        added.remove(other)
                        break
        return sorted(matched), gone, added

    def are_partners(self, old, new, path):
        """Tells when one of two objects is shared with another part of the value, and the other is not."""
        for side, item, partner, when in (("old", old, new, "then"), ("new", new, old, "now")):
            met, where = self.partners.setdefault((side, id(item)), (id(partner), path))
            if met != id(partner):
                self.differ(path, old, new, "%s it was the same object as %s" % (when, where))
                return False
        return True

    def same_atoms(self, old, new):
        if self.tolerance and type(old) is float:
            return self.close(old, new)
        if self.tolerance and type(old) is complex:
            return self.close(old.real, new.real) and self.close(old.imag, new.imag)
        return fingerprint_of_atom(old) == fingerprint_of_atom(new)

    def close(self, old, new):
        both_nan = math.isnan(old) and math.isnan(new)
        return both_nan or math.isclose(old, new, rel_tol=self.tolerance, abs_tol=self.tolerance)

    def differ(self, path, old, new, how=""):
        if len(self.differences) == MAX_DIFFERENCES:
            return
        if not how and old is not ABSENT and new is not ABSENT and type(old) is not type(new):
            how = "a %s became a %s" % (name_of(type(old)), name_of(type(new)))
        if type(old) is type(new) and type(old) in (str, bytes, bytearray):
            start = first_difference(old, new) - SHOWN_BEFORE_CHARS
            if start > 0:
                old, new, path = old[start:], new[start:], Path("%s[%s:]", path, start)
        told = {"path": str(path)[:MAX_PATH_CHARS], "recorded": show(old), "replayed": show(new), "how": how}
        self.differences.append(told)


class Path:
    """Where in a value: put into words only when something differs there."""

    __slots__ = ("above", "form", "part")

    def __init__(self, form, *above_and_part):
        self.form = form  # with a place for the path above, and one for the part of it, when there is one
        self.above, self.part = (*above_and_part, NO_PART, NO_PART)[:2]

    def __str__(self):
        path, steps = self, []
        while path.above is not NO_PART:
            steps.append(path)
            path = path.above
        text = path.form
        for step in reversed(steps):
            text = step.form % (text if step.part is NO_PART else (text, show(step.part)))
            if len(text) > MAX_PATH_CHARS:
                break
        return text


NO_PART = object()


class Absent:
    def __repr__(self):
        return "nothing"


ABSENT = Absent()


def first_difference(old, new):
    """The first place where two texts differ."""
    low, high = 0, min(len(old), len(new))  # alike before `low`; not so before `high`, or never
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Shown(reprlib.Repr):
    """repr(), but of the first parts of what is long: that of a list of millions takes a minute."""

    def __init__(self):
        super().__init__()
        self.maxlevel = 5
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 50
        self.maxarray = 50
        self.maxstring = self.maxother = self.maxlong = 2 * MAX_SHOWN_CHARS  # its own way of cutting is not wanted

    def repr_str(self, value, level):  # noqa: ARG002 - so it is called
        return repr(value[: MAX_SHOWN_CHARS + 1])

    repr_bytes = repr_bytearray = repr_str

    def repr_instance(self, value, level):  # noqa: ARG002 - so it is called
        return repr(value)


SHOWN = Shown()


def show(value):
    try:
        text = SHOWN.repr(value)
    except Exception as error:
        text = "<a %s whose repr raised %s>" % (name_of(type(value)), type(error).__name__)
    text = text if type(text) is str else "<no text>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def differences(old, new, tolerance):
    """What differs, as a list of {path, recorded, replayed, how}."""
    return Comparison(tolerance).compare(old, new)
