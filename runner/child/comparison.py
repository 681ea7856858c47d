"""Compares a value with the one that was recorded, inside the child, where the types exist. Loaded ahead for a replay.

Run by Python 3.9 to 3.14, standard library only, like bootstrap.py. Values are users' own: a method of theirs may be
hostile, so everything is asked with care, and what cannot be looked into is compared by its pickle.
"""

import array
import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import pickle
import sys
import types

MAX_DIFFERENCES = 50
MAX_DEPTH = 100
MAX_SHOWN_CHARS = 200

ATOMS = (
    type(None),
    bool,
    int,
    str,
    bytes,
    bytearray,
    complex,
    type(Ellipsis),
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    enum.Enum,
    pathlib.PurePath,
    range,
    slice,
    array.array,
    types.FunctionType,
    types.BuiltinFunctionType,
    type,
)


class Comparison:
    """The differences between two values, as [path, recorded, replayed], the first few of them.

    `tolerance`: how far numbers may be apart, relative to the larger and, near zero, absolute.
    """

    def __init__(self, tolerance=0.0):
        self.tolerance = tolerance
        self.differences = []
        self.seen = set()

    def compare(self, old, new, path="result", depth=0):
        if len(self.differences) >= MAX_DIFFERENCES or old is new:
            return
        pair = (id(old), id(new))
        if pair in self.seen:
            return
        if not isinstance(old, ATOMS):
            self.seen.add(pair)
        try:
            self._compare(old, new, path, depth)
        except RecursionError:
            raise
        except Exception as error:
            self.differ(path, old, new, "cannot be compared: %s" % type(error).__name__)

    def _compare(self, old, new, path, depth):
        if depth > MAX_DEPTH:
            raise RecursionError("deeper than %d" % MAX_DEPTH)
        if type(old) is not type(new):
            old_type, new_type = name_of(type(old)), name_of(type(new))
            if old_type != new_type or isinstance(old, ATOMS):
                return self.differ(path, old, new, "a %s became a %s" % (old_type, new_type))
        if isinstance(old, float):
            return None if self.close(old, new) else self.differ(path, old, new)
        if isinstance(old, complex):
            same = self.close(old.real, new.real) and self.close(old.imag, new.imag)
            return None if same else self.differ(path, old, new)
        if isinstance(old, ATOMS):
            return None if self.equal_atoms(old, new) else self.differ(path, old, new)
        library = type(old).__module__.partition(".")[0]
        if library == "numpy" and hasattr(old, "dtype"):
            return self.compare_arrays(old, new, path)
        if library == "pandas" and hasattr(old, "equals"):
            return self.compare_frames(old, new, path)
        if isinstance(old, collections.abc.Mapping) and isinstance(new, collections.abc.Mapping):
            self.compare_mappings(old, new, path, depth)
        elif isinstance(old, (set, frozenset)):
            self.compare_sets(old, new, path)
        elif isinstance(old, (list, tuple, collections.deque)):
            self.compare_sequences(old, new, path, depth)
        state = state_of(old), state_of(new)
        self.compare_states(*state, path, depth)
        # A functools.partial has attributes, as any function, but what it is is not among them.
        if not isinstance(old, (dict, set, frozenset, list, tuple, collections.deque)) and (
            not any(state) or reduces_in_c(type(old))
        ):
            self.compare_reductions(old, new, path, depth)
        return None

    def close(self, old, new):
        if old == new or (math.isnan(old) and math.isnan(new)):
            return math.copysign(1, old) == math.copysign(1, new) or self.tolerance > 0 or math.isnan(old)
        return self.tolerance > 0 and math.isclose(old, new, rel_tol=self.tolerance, abs_tol=self.tolerance)

    def equal_atoms(self, old, new):
        if isinstance(old, (types.FunctionType, types.BuiltinFunctionType, type)):
            return old is new or (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
        if isinstance(old, enum.Enum):
            return old.name == new.name
        if isinstance(old, decimal.Decimal):
            return old.as_tuple() == new.as_tuple()
        if isinstance(old, datetime.tzinfo):
            return self.same_pickle(old, new)
        return bool(old == new)

    def compare_mappings(self, old, new, path, depth):
        new = self.with_keys_of(old, new)
        for key in old:
            inner = "%s[%s]" % (path, show(key))
            if key in new:
                self.compare(old[key], new[key], inner, depth + 1)
            else:
                self.differ(inner, old[key], ABSENT)
        for key in new:
            if key not in old:
                self.differ("%s[%s]" % (path, show(key)), ABSENT, new[key])
        if not self.differences and isinstance(old, dict) and list(old) != list(new):
            self.differ(path, list(old), list(new), "the keys come in another order")

    def compare_sets(self, old, new, path):
        # Twins in a set: as the keys of a mapping.
        before, now = dict.fromkeys(old), self.with_keys_of(dict.fromkeys(old), dict.fromkeys(new))
        for item in sorted(before.keys() - now.keys(), key=show):
            self.differ("%s{%s}" % (path, show(item)), item, ABSENT)
        for item in sorted(now.keys() - before.keys(), key=show):
            self.differ("%s{%s}" % (path, show(item)), ABSENT, item)

    def with_keys_of(self, old, new):
        """`new` with keys of `old` in place of those that are pickled alike: NaN, and what equals itself alone."""
        alone = {} if old.keys() <= new.keys() else {pickled(key): key for key in old if key not in new}
        return {key if key in old else alone.pop(pickled(key), key): new[key] for key in new} if alone else new

    def compare_sequences(self, old, new, path, depth):
        if len(old) != len(new):
            self.differ("len(%s)" % path, len(old), len(new))
        for index, (left, right) in enumerate(zip(old, new)):
            self.compare(left, right, "%s[%d]" % (path, index), depth + 1)

    def compare_states(self, old, new, path, depth):
        old, new = old or {}, new or {}
        for name in sorted(set(old) | set(new), key=str):
            if name not in new:
                self.differ("%s.%s" % (path, name), old[name], ABSENT)
            elif name not in old:
                self.differ("%s.%s" % (path, name), ABSENT, new[name])
            else:
                self.compare(old[name], new[name], "%s.%s" % (path, name), depth + 1)

    def compare_arrays(self, old, new, path):
        numpy = sys.modules["numpy"]
        for name in ("dtype", "shape"):
            if str(getattr(old, name)) != str(getattr(new, name)):
                return self.differ("%s.%s" % (path, name), str(getattr(old, name)), str(getattr(new, name)))
        if old.dtype.kind in "fc":
            same = numpy.isclose(new, old, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)
        elif old.dtype.kind == "O":
            return self.compare(old.tolist(), new.tolist(), path)
        else:
            same = numpy.asarray(old == new)
        if same.all():
            return None
        for position in numpy.argwhere(~same)[:MAX_DIFFERENCES].tolist():
            inner = "%s%s" % (path, position or "")
            self.differ(inner, old[tuple(position)].item(), new[tuple(position)].item())
        return None

    def compare_frames(self, old, new, path):
        if old.equals(new):
            return None
        if old.shape != new.shape:
            return self.differ("%s.shape" % path, old.shape, new.shape)
        for name in ("columns", "index", "dtypes"):
            left, right = (list(getattr(frame, name, ())) for frame in (old, new))
            if [str(item) for item in left] != [str(item) for item in right]:
                return self.differ("%s.%s" % (path, name), left, right)
        before = len(self.differences)
        if hasattr(old, "to_numpy"):
            self.compare(old.to_numpy().tolist(), new.to_numpy().tolist(), path)
        if len(self.differences) == before and not self.tolerance:
            self.differ(path, old, new)
        return None

    def compare_reductions(self, old, new, path, depth):
        """By what is pickled of them: pickles alone also differ by which of their parts are one and the same object."""
        if self.same_pickle(old, new):
            return None
        parts = reduction_of(old), reduction_of(new)
        if None in parts:
            return self.differ(path, old, new)
        return self.compare(*parts, "%s.__reduce__()" % path, depth + 1)

    def same_pickle(self, old, new):
        return pickled(old) == pickled(new)

    def differ(self, path, old, new, how=""):
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append({"path": path[:1000], "recorded": show(old), "replayed": show(new), "how": how})


class Absent:
    def __repr__(self):
        return "nothing"


ABSENT = Absent()


def name_of(kind):
    return "%s.%s" % (kind.__module__, kind.__qualname__)


def state_of(value):
    """The attributes of an object, or None when it has none to look at."""
    found = {}
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                # A private name is stored under the name of its class.
                real = "_%s%s" % (kind.__name__.lstrip("_"), name) if name.startswith("__") else name
                if hasattr(value, real):
                    found[name] = getattr(value, real)
    try:
        found.update(vars(value))
    except TypeError:
        return found or None
    if isinstance(value, BaseException):
        found["args"] = value.args
    return found


def pickled(value):
    return pickle.dumps(value, protocol=4)


def reduces_in_c(kind):
    """Whether a class of an extension says itself what is pickled of it: more than its attributes."""
    return kind.__reduce__ is not object.__reduce__ and not hasattr(kind.__reduce__, "__code__")


def reduction_of(value):
    """What pickle makes an object from: a function, its arguments, and more to put into it. None for a mere name."""
    known = copyreg.dispatch_table.get(type(value))
    reduced = known(value) if known else value.__reduce_ex__(4)
    return [*reduced[:3], *(list(items or ()) for items in reduced[3:5])] if isinstance(reduced, tuple) else None


def show(value):
    try:
        text = repr(value)
    except Exception as error:
        text = "<a %s whose repr raised %s>" % (name_of(type(value)), type(error).__name__)
    text = text if type(text) is str else "<no text>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def differences(old, new, tolerance):
    """What differs, as a list of {path, recorded, replayed, how}."""
    comparison = Comparison(tolerance)
    try:
        comparison.compare(old, new)
    except RecursionError:
        if not comparison.same_pickle(old, new):
            comparison.differ("result", old, new, "too deep to say where")
    return comparison.differences
