"""Pairs of values, and where a comparison has to say that they differ. Run by Python 3.9 to 3.14.

    python compared_values.py DIRECTORY_OF_CHILD DIRECTORY_OF_CLOUDPICKLE SUITE...

prints as JSON how many pairs there are and those that were judged wrongly.
"""

import abc
import array
import collections
import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import json
import math
import operator
import os
import pathlib
import pickle
import random
import re
import sys
import types
import typing
import uuid

SAME = None
NAN = float("nan")
MINUTE = datetime.timedelta(minutes=1)
UTC = datetime.timezone.utc
PLUS_ONE = datetime.timezone(datetime.timedelta(hours=1))
NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)


class Thing:
    """Equal to itself alone, like most objects."""

    def __init__(self, *values, **named):
        self.values = values
        vars(self).update(named)

    def method(self):
        return self.values


class SameKey:
    """Equal by its key: another value does not count."""

    def __init__(self, key, value):
        self.key, self.value = key, value

    def __eq__(self, other):
        return self.key == other.key

    def __hash__(self):
        return hash(self.key)


class Liar:
    """Equal to everything."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __repr__(self):
        return "Liar()"


class Contrary(Liar):
    def __eq__(self, other):
        return False

    __hash__ = Liar.__hash__


class Hostile(Liar):
    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = Liar.__hash__

    def __repr__(self):
        raise RuntimeError("no")


class Slotted:
    __slots__ = ("__private", "a", "b")

    def __init__(self, **named):
        for name, value in named.items():
            setattr(self, name, value)

    def hide(self, value):
        self.__private = value
        return self


class SlottedBelow(Slotted):
    def __init__(self, extra, **named):
        super().__init__(**named)
        self.extra = extra


class Reduced:
    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return Reduced, self.args


class Remade:
    """Keeps of its attributes what __getstate__ says."""

    def __init__(self, kept, dropped):
        self.kept, self.dropped = kept, dropped

    def __getstate__(self):
        return (self.kept,)

    def __setstate__(self, state):
        (self.kept,) = state
        self.dropped = "made anew"


class Registered:
    def __init__(self, number):
        self.number = number


copyreg.pickle(Registered, lambda value: (Registered, (value.number,)))


class Dictionary(dict):
    pass


class Sequence(list):
    pass


class Members(set):
    pass


class FrozenMembers(frozenset):
    pass


class Row(tuple):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Text(str):
    pass


class Coded(Exception):
    def __init__(self, code, *, hint):
        super().__init__("code %d" % code)
        self.code, self.hint = code, hint

    def __reduce__(self):
        return functools.partial(Coded, hint=self.hint), (self.code,)


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    GREEN = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = collections.namedtuple("Point", "x y")
Place = collections.namedtuple("Place", "x y")


class Named(typing.NamedTuple):
    name: str
    number: float = 0.0


@dataclasses.dataclass
class Order:
    number: int
    lines: list = dataclasses.field(default_factory=list)
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(eq=False)
class Unequal:
    number: int


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: float
    inner: object = None


if sys.version_info >= (3, 10):

    @dataclasses.dataclass(frozen=True, slots=True)
    class FrozenSlots:
        number: float
        inner: object = None
else:
    FrozenSlots = Frozen


def adding(number):
    return lambda value: value + number


def defaulting(number):
    def function(value=number):
        return value

    return function


def keyed(number):
    def function(*, value=number):
        return value

    return function


def using(name):
    if name == "math":
        return lambda value: math.sqrt(value)
    return lambda value: operator.neg(value)


def counting(start):
    held = [start]

    def count():
        held[0] += 1
        return held[0]

    return count


def tagged(tag):
    def function():
        pass

    function.tag = tag
    return function


def class_with(number, base=object):
    class Local(base):
        NUMBER = number

        def method(self):
            return self.NUMBER

        @property
        def twice(self):
            return 2 * self.NUMBER

    return Local


def instance_of(kind, **named):
    value = kind()
    vars(value).update(named)
    return value


def ring(number):
    value = [number]
    value.append(value)
    return value


def thing_ring(number):
    value = Thing(number)
    value.me = value
    return value


def nested(depth, leaf):
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def shared(first, second=None):
    return [first, first if second is None else second]


def advanced(iterator, by):
    for _ in range(by):
        next(iterator)
    return iterator


def seeded(number):
    return random.Random(number)


def exception(*args, **named):
    error = ValueError(*args)
    vars(error).update(named)
    return error


def pairs():
    yield from plain()
    yield from containers()
    yield from library()
    yield from objects()
    yield from code()
    yield from identities()


def plain():
    yield "int", 1, 2, "result"
    yield "the same int", 10**50, 10**50, SAME
    yield "int and bool", 1, True, "result"
    yield "bool and int", False, 0, "result"
    yield "int and float", 1, 1.0, "result"
    yield "float and complex", 1.0, 1 + 0j, "result"
    yield "None and False", None, False, "result"
    yield "Ellipsis", ..., ..., SAME
    yield "NotImplemented and None", NotImplemented, None, "result"
    yield "zeros of two signs", 0.0, -0.0, "result"
    yield "NaN", NAN, -NAN, SAME
    yield "NaN and a number", NAN, 0.0, "result"
    yield "the next float", 0.1 + 0.2, 0.3, "result"
    yield "infinity", math.inf, -math.inf, "result"
    yield "complex zeros", complex(0.0, -0.0), complex(0.0, 0.0), "result"
    yield "complex NaN", complex(NAN, 1), complex(NAN, 1), SAME
    yield "str", "a", "b", "result"
    yield "str and bytes", "a", b"a", "result"
    yield "composed and decomposed", "\u00e9", "e\u0301", "result"
    yield "surrogates", "\ud800", "\ud801", "result"
    yield "bytes and bytearray", b"a", bytearray(b"a"), "result"
    yield "bytearray", bytearray(b"ab"), bytearray(b"ac"), "result"
    yield "a long text", "x" * 5000 + "a" + "y" * 5000, "x" * 5000 + "b" + "y" * 5000, "result[4960:]"
    yield "a long text that is cut", "x" * 5000, "x" * 4000, "result[3960:]"
    yield "an int of many digits", 10**6000, 10**6000 + 1, "result"


def containers():
    yield "an item", [1, 2], [1, 3], "result[1]"
    yield "a longer list", [1], [1, 2], "len(result)"
    yield "list and tuple", [1], (1,), "result"
    yield "an int in a list became a bool", [1], [True], "result[0]"
    yield "a float in a list", [1.0], [1], "result[0]"
    yield "zeros in a tuple", (0.0,), (-0.0,), "result[0]"
    yield "NaN in a list", [NAN], [float("nan")], SAME
    yield "a key", {"a": 1}, {"b": 1}, "result['a']"
    yield "a value", {"a": 1}, {"a": 2}, "result['a']"
    yield "a value that is gone", {"a": 1, "b": 2}, {"a": 1}, "result['b']"
    yield "a value that is None and one that is not there", {"a": None}, {}, "result['a']"
    yield "the keys 1 and True", {1: "a"}, {True: "a"}, "result[1]"
    yield "the keys 1 and 1.0", {1: "a"}, {1.0: "a"}, "result[1]"
    yield "the keys 0.0 and -0.0", {0.0: 1}, {-0.0: 1}, "result[0.0]"
    yield "the key NaN", {NAN: 1}, {float("nan"): 1}, SAME
    yield "two keys NaN", {NAN: 1, float("nan"): 2}, {NAN: 1, float("nan"): 3}, "result[nan]"
    yield "the order of keys", {"a": 1, "b": 2}, {"b": 2, "a": 1}, "result"
    yield "the order of keys, further in", [{"x": {"a": 1, "b": 2}}], [{"x": {"b": 2, "a": 1}}], "result[0]['x']"
    yield "the order of keys, beside another difference", [1, {"a": 1, "b": 2}], [2, {"b": 2, "a": 1}], "result[0]"
    yield "tuples as keys", {(1, 2): 3}, {(1, 2): 3}, SAME
    yield "a bool in a tuple as key", {(1, 2): 3}, {(True, 2): 3}, "result[(1, 2)]"
    yield "frozensets as keys", {frozenset("abc"): 1}, {frozenset("cba"): 1}, SAME
    yield "objects as keys", {Thing(1): "x", Thing(2): "y"}, {Thing(1): "x", Thing(2): "y"}, SAME
    yield "a value under an object", {Thing(1): "x"}, {Thing(1): "y"}, "result["
    yield "another object as key", {Thing(1): "x"}, {Thing(2): "x"}, "result["
    yield "a key that is equal by its key alone", {SameKey(1, 2): 0}, {SameKey(1, 3): 0}, "result["
    yield "set", {1, 2}, {1, 3}, "result{2}"
    yield "a set with other members", {1, 2}, {1, 2, 3}, "result{3}"
    yield "sets of texts", set("abcdefgh"), set("hgfedcba"), SAME
    yield "set and frozenset", {1}, frozenset({1}), "result"
    yield "1 and True in a set", {1}, {True}, "result{1}"
    yield "NaN in a set", {NAN, 1.0}, {float("nan"), 1.0}, SAME
    yield "objects in a set", {Thing(1), Thing(2)}, {Thing(2), Thing(1)}, SAME
    yield "an object in a set", {Thing(1), Thing(2)}, {Thing(1), Thing(3)}, "result{"
    yield "twins in a set", {Thing(1), Thing(1)}, {Thing(1)}, "result{"
    yield "liars in a set", {Liar(1)}, {Liar(2)}, "result{"
    yield "sets in sets", {frozenset({1, 2}), frozenset({3})}, {frozenset({3}), frozenset({2, 1})}, SAME
    yield "an item of a set in a set", {frozenset({1, 2})}, {frozenset({1, 3})}, "result{"
    yield "deep", nested(150, 1), nested(150, 2), "result[0][0]"
    yield "deep and the same", nested(150, 1), nested(150, 1), SAME
    yield "ring", ring(1), ring(1), SAME
    yield "a number in a ring", ring(1), ring(2), "result[0]"
    yield "a longer ring", ring(1), [1, ring(1)], "result[1]"


def library():
    yield "the same moment elsewhere", NOON, NOON.astimezone(PLUS_ONE), "result"
    yield "aware and naive", NOON, NOON.replace(tzinfo=None), "result"
    yield "the same moment", NOON, NOON + MINUTE - MINUTE, SAME
    yield "fold", NOON.replace(fold=0), NOON.replace(fold=1), "result"
    yield "zones of one offset", datetime.timezone(MINUTE), datetime.timezone(MINUTE, "named"), "result"
    yield "date and datetime", datetime.date(2026, 3, 1), datetime.datetime(2026, 3, 1), "result"
    yield "time", datetime.time(1, tzinfo=UTC), datetime.time(2, tzinfo=PLUS_ONE), "result"
    yield "timedelta", datetime.timedelta(1), datetime.timedelta(hours=24), SAME
    yield "timedelta, another", datetime.timedelta(1), datetime.timedelta(2), "result"
    yield "decimal zeros", decimal.Decimal("1.10"), decimal.Decimal("1.1"), "result"
    yield "decimal NaN", decimal.Decimal("NaN"), decimal.Decimal("NaN"), SAME
    yield "decimal and its signalling NaN", decimal.Decimal("NaN"), decimal.Decimal("sNaN"), "result"
    yield "decimal and int", decimal.Decimal(1), 1, "result"
    yield "a decimal as key", {decimal.Decimal("1.0"): 1}, {decimal.Decimal(1): 1}, "result[Decimal('1.0')]"
    yield "decimal context", decimal.Context(prec=5), decimal.Context(prec=6), "result"
    yield "fraction", fractions.Fraction(1, 3), fractions.Fraction(2, 6), SAME
    yield "fraction, another", fractions.Fraction(1, 3), fractions.Fraction(1, 2), "result"
    yield "uuid", uuid.UUID(int=1), uuid.UUID(int=2), "result"
    yield "the same uuid", uuid.UUID(int=1), uuid.UUID(int=1), SAME
    yield "address", ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2"), "result"
    yield "path", pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a/c"), "result"
    yield "paths of two systems", pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"), "result"
    yield "pattern", re.compile("a"), re.compile("a"), SAME
    yield "pattern, another", re.compile("a"), re.compile("b"), "result"
    yield "flags of a pattern", re.compile("a"), re.compile("a", re.IGNORECASE), "result"
    yield "range", range(3), range(0, 3, 1), SAME
    yield "equal ranges", range(0), range(1, 1), "result"
    yield "slice", slice(1), slice(2), "result"
    yield "array", array.array("i", [1, 2]), array.array("i", [1, 3]), "result[1]"
    yield "type of an array", array.array("i", [1]), array.array("l", [1]), "result"
    yield "NaN in an array", array.array("d", [NAN]), array.array("d", [NAN]), SAME
    yield "deque", collections.deque([1], 3), collections.deque([1], 3), SAME
    yield "length of a deque", collections.deque([1], 3), collections.deque([1], 4), "result"
    yield "item of a deque", collections.deque([1, 2]), collections.deque([1, 3]), "result[1]"
    yield "Counter", collections.Counter("aab"), collections.Counter("abb"), "result['a']"
    yield "Counter and dict", collections.Counter("a"), {"a": 1}, "result"
    yield "defaultdict", collections.defaultdict(int, a=1), collections.defaultdict(list, a=1), "result."
    yield "item of a defaultdict", collections.defaultdict(int, a=1), collections.defaultdict(int, a=2), "result['a']"
    yield "OrderedDict", collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), "result"
    yield "ChainMap", collections.ChainMap({"a": 1}, {}), collections.ChainMap({}, {"a": 1}), "result.maps"
    yield "UserDict", collections.UserDict(a=1), collections.UserDict(a=2), "result.data['a']"
    yield "namespace", types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), "result.a"
    yield "partial", functools.partial(max, 1), functools.partial(max, 1), SAME
    yield "argument of a partial", functools.partial(max, 1), functools.partial(max, 2), "result."
    yield "function of a partial", functools.partial(max, 1), functools.partial(min, 1), "result."
    yield "object in a partial", functools.partial(max, Thing(1)), functools.partial(max, Thing(2)), "result."
    yield "itemgetter", operator.itemgetter(1), operator.itemgetter(2), "result"
    yield "attrgetter", operator.attrgetter("a"), operator.attrgetter("a"), SAME
    yield "place of an iterator", advanced(iter([1, 2]), 1), iter([1, 2]), "result"
    yield "an iterator", iter([1, 2]), iter([1, 2]), SAME
    yield "random generator", seeded(1), seeded(1), SAME
    yield "random generator, another", seeded(1), seeded(2), "result."
    yield "generic type", typing.Optional[int], typing.Optional[str], "result"
    yield "builtin generic", list[int], list[str], "result"
    yield "mapping proxy", types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2}), "result['a']"
    yield "exit status", os.stat_result(range(10)), os.stat_result(range(1, 11)), "result"


def objects():
    yield "object", Thing(1), Thing(1), SAME
    yield "attribute", Thing(1), Thing(2), "result.values[0]"
    yield "attribute that is gone", Thing(a=1), Thing(), "result.a"
    yield "attribute that is new", Thing(), Thing(a=None), "result.a"
    yield "order of attributes", Thing(a=1, b=2), Thing(b=2, a=1), SAME
    yield "objects of two classes", Thing(1), Reduced(1), "result"
    yield "equal by key", SameKey(1, 2), SameKey(1, 3), "result.value"
    yield "liar", Liar(1), Liar(2), "result.value"
    yield "contrary", Contrary(1), Contrary(1), SAME
    yield "hostile", Hostile(1), Hostile(1), SAME
    yield "hostile and another", Hostile(1), Hostile(2), "result.value"
    yield "slots", Slotted(a=1, b=2), Slotted(a=1, b=3), "result.b"
    yield "slot that is empty", Slotted(a=1), Slotted(a=1, b=None), "result.b"
    yield "private slot", Slotted().hide(1), Slotted().hide(2), "result._Slotted__private"
    yield "slots and attributes", SlottedBelow(1, a=1), SlottedBelow(2, a=1), "result.extra"
    yield "by its reduction", Reduced(1, [2]), Reduced(1, [3]), "result."
    yield "by its state", Remade(1, 2), Remade(1, 3), SAME
    yield "by its state, another", Remade(1, 2), Remade(2, 2), "result."
    yield "by copyreg", Registered(1), Registered(2), "result."
    yield "dict subclass", Dictionary(a=1), Dictionary(a=2), "result['a']"
    yield "dict subclass and dict", Dictionary(a=1), {"a": 1}, "result"
    yield "attribute of a dict", instance_of(Dictionary, a=1), instance_of(Dictionary, a=2), "result.a"
    yield "list subclass", Sequence([1]), Sequence([2]), "result[0]"
    yield "attribute of a list", instance_of(Sequence, a=1), instance_of(Sequence, a=2), "result.a"
    yield "set subclass", Members("abc"), Members("cba"), SAME
    yield "member of a set subclass", Members("abc"), Members("abd"), "result{'c'}"
    yield "attribute of a set", instance_of(Members, a=1), instance_of(Members, a=2), "result.a"
    yield "frozenset subclass", FrozenMembers([1]), FrozenMembers([True]), "result{1}"
    yield "tuple subclass", Row((1, 2)), Row((1, 3)), "result[1]"
    yield "tuple subclass and tuple", Row((1, 2)), (1, 2), "result"
    yield "int subclass", Whole(1), Whole(2), "result"
    yield "int subclass and int", Whole(1), 1, "result"
    yield "attribute of an int", instance_of(Whole, a=1), instance_of(Whole, a=2), "result.a"
    yield "float subclass", Real("nan"), Real("nan"), SAME
    yield "str subclass", Text("a"), Text("b"), "result"
    yield "enum", Colour.RED, Colour.GREEN, "result"
    yield "alias of an enum", Colour.RED, Colour.CRIMSON, SAME
    yield "enum and its value", Level.LOW, 1, "result"
    yield "int enum", Level.LOW, Level.HIGH, "result"
    yield "flag", Access.READ, Access.READ | Access.WRITE, "result"
    yield "the same flags", Access.READ | Access.WRITE, Access.WRITE | Access.READ, SAME
    yield "enum as key", {Colour.RED: 1}, {Colour.GREEN: 1}, "result["
    yield "namedtuple", Point(1, 2), Point(1, 3), "result.y"
    yield "namedtuples", Point(1, 2), Place(1, 2), "result"
    yield "namedtuple and tuple", Point(1, 2), (1, 2), "result"
    yield "typed namedtuple", Named("a", 1.0), Named("a", 1), "result.number"
    yield "dataclass", Order(1, [1]), Order(1, [2]), "result.lines[0]"
    yield "field that does not compare", Order(1, note="a"), Order(1, note="b"), "result.note"
    yield "dataclass without eq", Unequal(1), Unequal(1), SAME
    yield "dataclass without eq, another", Unequal(1), Unequal(2), "result.number"
    yield "frozen", Frozen(1.0), Frozen(1), "result.number"
    yield "frozen with slots", FrozenSlots(1, [2]), FrozenSlots(1, [3]), "result.inner[0]"
    yield "exception", ValueError("no", 1), ValueError("no", 1), SAME
    yield "argument of an exception", ValueError("no", 1), ValueError("no", 2), "result.args[1]"
    yield "exceptions of two classes", ValueError("no"), KeyError("no"), "result"
    yield "attribute of an exception", exception("no", a=1), exception("no", a=2), "result.a"
    yield "exception with a reduction", Coded(1, hint="a"), Coded(1, hint="a"), SAME
    yield "exception with a reduction, another", Coded(1, hint="a"), Coded(1, hint="b"), "result."
    yield "a ring of attributes", thing_ring(1), thing_ring(1), SAME
    yield "a ring of attributes, another", thing_ring(1), thing_ring(2), "result.values[0]"


def code():
    yield "function", math.sqrt, math.sqrt, SAME
    yield "functions", adding, defaulting, "result"
    yield "builtin functions", len, max, "result"
    yield "classes", Thing, Reduced, "result"
    yield "modules", math, operator, "result"
    yield "bound method", Thing(1).method, Thing(1).method, SAME
    yield "method of another", Thing(1).method, Thing(2).method, "result."
    yield "method of a list", [1].append, [2].append, "result."
    yield "closure", adding(1), adding(1), SAME
    yield "closure over another", adding(1), adding(2), "result.__closure__[0].cell_contents"
    yield "default", defaulting(1), defaulting(2), "result.__defaults__[0]"
    yield "keyword default", keyed(1), keyed(2), "result.__kwdefaults__['value']"
    yield "code", using("math"), using("operator"), "result.__code__"
    yield "state of a closure", counting(1), counting(1), SAME
    yield "state of a closure, another", counting(1), counting(2), "result.__closure__[0].cell_contents[0]"
    yield "attribute of a function", tagged(1), tagged(2), "result.__dict__['tag']"
    yield "a class that travels", class_with(1), class_with(1), SAME
    yield "a class that travels, another", class_with(1), class_with(2), "result.NUMBER"
    yield "its base", class_with(1, Thing), class_with(1, Reduced), "result.__bases__[0]"
    yield "abstract", class_with(1, abc.ABC), class_with(1, abc.ABC), SAME
    yield "an object of it", class_with(1)(), class_with(1)(), SAME
    yield "an object of another", class_with(1)(), class_with(2)(), "type(result).NUMBER"
    yield "attribute of one", instance_of(class_with(1), a=1), instance_of(class_with(1), a=2), "result.a"
    yield "one as key", {class_with(1)(): 1}, {class_with(1)(): 1}, SAME


def identities():
    yield "one list twice", shared([]), shared([]), SAME
    yield "one list, then two", shared([]), shared([], []), "result[1]"
    yield "two lists, then one", shared([], []), shared([]), "result[1]"
    yield "one object, then two", shared(Thing(1)), shared(Thing(1), Thing(1)), "result[1]"
    yield "one tuple, then two", shared((1, 2)), shared((1, 2), tuple([1, 2])), SAME
    yield "one text, then two", shared("text" * 9), shared("text" * 9, "".join(["text"] * 9)), SAME
    yield "one frozen object, then two", shared(Frozen(1)), shared(Frozen(1), Frozen(1)), SAME
    yield "a list shared by two objects", *[[Thing(each, 1), Thing(each, 2)] for each in ([1], [1])], SAME


def arrays():
    """Those that take numpy."""
    import numpy as np

    dtype = [("a", "i4"), ("b", "f8")]
    yield "array", np.array([1.0, 2.0]), np.array([1.0, 3.0]), "result[1]"
    yield "the same array", np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3), SAME
    yield "item", np.arange(6).reshape(2, 3), np.array([[0, 1, 2], [3, 9, 5]]), "result[1, 1]"
    yield "shape", np.zeros(4), np.zeros((2, 2)), "result.shape"
    yield "an empty shape", np.zeros((0, 2)), np.zeros((0, 3)), "result.shape"
    yield "dtype", np.zeros(2, "i4"), np.zeros(2, "i8"), "result.dtype"
    yield "byte order", np.zeros(2, "<f8"), np.zeros(2, ">f8"), "result.dtype"
    yield "memory order", np.asfortranarray(np.ones((2, 3))), np.ones((2, 3)), SAME
    yield "NaN", np.array([NAN, 1]), np.array([NAN, 1]), SAME
    yield "zeros", np.array([0.0]), np.array([-0.0]), "result[0]"
    yield "complex", np.array([complex(NAN, 1)]), np.array([complex(NAN, 1)]), SAME
    yield "complex, another", np.array([1 + 2j]), np.array([1 + 3j]), "result[0]"
    yield "half", np.array([1, 2], "f2"), np.array([1, 3], "f2"), "result[1]"
    yield "long double", np.array([1], np.longdouble), np.array([2], np.longdouble), "result[0]"
    yield "texts", np.array(["a", "b"]), np.array(["a", "c"]), "result[1]"
    yield "bytes", np.array([b"a"]), np.array([b"b"]), "result[0]"
    yield "bools", np.array([True]), np.array([False]), "result[0]"
    yield "times", np.array(["2026-01-01", "NaT"], "M8[ns]"), np.array(["2026-01-01", "NaT"], "M8[ns]"), SAME
    yield "times, others", np.array(["2026-01-01"], "M8[ns]"), np.array(["2026-01-02"], "M8[ns]"), "result[0]"
    yield "units of time", np.array([1], "m8[s]"), np.array([1], "m8[ms]"), "result.dtype"
    yield "objects", np.array([Thing(1), None], object), np.array([Thing(1), None], object), SAME
    yield "an object", np.array([[1, Thing(1)]], object), np.array([[1, Thing(2)]], object), "result[0, 1].values[0]"
    yield "int and bool as objects", np.array([1], object), np.array([True], object), "result[0]"
    yield "fields", np.array([(1, NAN)], dtype), np.array([(1, NAN)], dtype), SAME
    yield "a field", np.array([(1, 2.0)], dtype), np.array([(1, 3.0)], dtype), "result['b'][0]"
    yield "raw", np.array([b"ab"], "V2"), np.array([b"ac"], "V2"), "result[0]"
    yield "no dimensions", np.array(1.0), np.array(2.0), "result"
    yield "no dimensions, the same", np.array(1.0), np.array(1.0), SAME
    yield "array and list", np.array([1]), [1], "result"
    yield "scalar", np.float64(1), np.float64(2), "result"
    yield "scalar NaN", np.float64("nan"), np.float64("nan"), SAME
    yield "scalar and float", np.float64(1), 1.0, "result"
    yield "scalars", np.float32(1), np.float64(1), "result"
    yield "long double scalar", np.longdouble(1), np.longdouble(2), "result"
    yield "dtypes", np.dtype("i4"), np.dtype("i8"), "result"
    yield "mask", np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), "result.mask[0]"
    yield "masked, the same", np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 1]), SAME
    yield "records", np.rec.array([(1, 2.0)], dtype), np.rec.array([(1, 3.0)], dtype), "result['b'][0]"
    yield "generator", np.random.default_rng(1), np.random.default_rng(1), SAME
    yield "generator, another", np.random.default_rng(1), np.random.default_rng(2), "result"
    yield "in a dict", {"a": [np.ones(3)]}, {"a": [np.zeros(3)]}, "result['a'][0][0]"
    yield "functions", np.sin, np.cos, "result"
    big, other = np.zeros(300_000), np.zeros(300_000)
    other[-1] = 1
    yield "large", big, other, "result[299999]"


def frames():
    """Those that take pandas."""
    import numpy as np
    import pandas as pd

    def frame(**columns):
        return pd.DataFrame(columns or {"a": [1, 2], "b": ["x", None], "c": [0.5, NAN]})

    def attributed(value, **attrs):
        value.attrs = attrs
        return value

    when = pd.date_range("2026-01-01", periods=2, tz="UTC")
    yield "frame", frame(), frame(), SAME
    yield "cell", frame(a=[1, 2]), frame(a=[1, 3]), "result['a'][1]"
    yield "int and float columns", frame(a=[1, 2]), frame(a=[1.0, 2.0]), "result['a'].dtype"
    yield "names of columns", frame(a=[1]), frame(b=[1]), "result['a']"
    yield "order of columns", frame(a=[1], b=[2]), frame(b=[2], a=[1]), "result"
    yield "columns of one name", *[pd.DataFrame([[1, each]], columns=["a", "a"]) for each in (2, 3)], "result[1][0]"
    yield "name of the columns", frame().rename_axis(columns="x"), frame(), "result.columns.names"
    yield "index", frame(a=[1, 2]), frame(a=[1, 2]).set_index(pd.Index([1, 2])), "result.index"
    yield "name of the index", frame().rename_axis("x"), frame().rename_axis("y"), "result.index.names[0]"
    yield "attrs", attributed(frame(), a=1), attributed(frame(), a=2), "result.attrs['a']"
    yield "blocks", pd.concat([frame(a=[1]), frame(b=[2])], axis=1), frame(a=[1], b=[2]), SAME
    yield "text", frame(a=["x", "y"]), frame(a=["x", "z"]), "result['a'][1]"
    yield (
        "None and NaN",
        frame(a=pd.Series([None], dtype=object)),
        frame(a=pd.Series([NAN], dtype=object)),
        "result['a'][0]",
    )
    yield "times", frame(a=when), frame(a=when), SAME
    yield "other times", frame(a=when), frame(a=when + MINUTE), "result['a'][0]"
    yield "zones", frame(a=when), frame(a=when.tz_convert("Europe/Paris")), "result['a'].dtype"
    yield "categories", *[frame(a=pd.Categorical(["x"], ["x", each])) for each in "yz"], "result['a'].categories[1]"
    yield (
        "order of categories",
        *[frame(a=pd.Categorical(["x"], ["x"], ordered=each)) for each in (True, False)],
        "result['a'].ordered",
    )
    yield "nullable", frame(a=pd.array([1, None], "Int64")), frame(a=pd.array([1, None], "Int64")), SAME
    yield (
        "nullable, another",
        frame(a=pd.array([1, None], "Int64")),
        frame(a=pd.array([1, 2], "Int64")),
        "result['a'][1]",
    )
    yield "rows", frame(a=[1]), frame(a=[1, 2]), "result"
    yield "series", pd.Series([1, 2]), pd.Series([1, 3]), "result[1]"
    yield "name of a series", pd.Series([1], name="a"), pd.Series([1], name="b"), "result.name"
    yield "series and frame", pd.Series([1]), frame(a=[1]), "result"
    yield "timestamp", pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02"), "result"
    yield "zone of a timestamp", when[0], when[0].tz_convert("Europe/Paris"), "result"
    yield "not a time", pd.NaT, pd.NaT, SAME
    yield "not there", pd.NA, pd.NA, SAME
    yield "interval", pd.Interval(0, 1), pd.Interval(0, 1, closed="both"), "result"
    yield "period", pd.Period("2026-01"), pd.Period("2026-02"), "result"
    yield "indices", pd.Index([1, 2]), pd.Index([1, 3]), "result[1]"
    yield "range and its numbers", pd.RangeIndex(2), pd.Index([0, 1]), "result"
    yield (
        "indices of two levels",
        *[pd.MultiIndex.from_tuples([("a", 1), ("b", each)]) for each in (2, 3)],
        "result[1][1]",
    )
    yield "levels that are the same", *[pd.MultiIndex.from_product([["a"], [1, 2]]) for _ in range(2)], SAME
    yield "frequency", when, pd.DatetimeIndex(list(when)), "result.freq"
    yield "frame in a list", [frame()], [frame(a=[1])], "result[0]"
    yield "series of arrays", *[pd.Series([np.array([1, each])]) for each in (2, 3)], "result[0][1]"


TOLERANCE = 1e-6
NEAR = 1 + 1e-9
FAR = 1 + 1e-3


def tolerated():
    """Those that are compared with a tolerance."""
    for name, near, far, where in (
        ("float", NEAR, FAR, "result"),
        ("complex", NEAR * 1j, FAR * 1j, "result"),
        ("in a list", [NEAR], [FAR], "result[0]"),
        ("in an object", Thing(NEAR), Thing(FAR), "result.values[0]"),
        ("in a namedtuple", Point(NEAR, 0), Point(FAR, 0), "result.x"),
        ("in a frozen dataclass", Frozen(NEAR), Frozen(FAR), "result.number"),
        ("in a reduction", Reduced(NEAR), Reduced(FAR), "result."),
        ("in a set", {NEAR}, {FAR}, "result{"),
        ("as a key", {NEAR: "x"}, {FAR: "x"}, "result["),
        ("in a key", {(NEAR, 1): "x"}, {(FAR, 1): "x"}, "result["),
    ):
        exact = {"float": 1.0, "complex": 1j}.get(name)
        if exact is None:
            exact = pickle.loads(pickle.dumps(near).replace(pickle.dumps(NEAR)[-10:-1], pickle.dumps(1.0)[-10:-1]))
        yield name + ", near", exact, near, SAME
        yield name + ", far", exact, far, where
    yield "zeros", 0.0, -0.0, SAME
    yield "near zero", 0.0, 1e-9, SAME
    yield "NaN", NAN, float("nan"), SAME
    yield "NaN and a number", NAN, 1.0, "result"
    yield "ints are exact", 10**12, 10**12 + 1, "result"
    yield "a float that became an int", 1.0, 1, "result"


def tolerated_arrays():
    import numpy as np

    yield "array", np.ones(3), np.full(3, NEAR), SAME
    yield "array, far", np.ones(3), np.array([1, FAR, 1]), "result[1]"
    yield "complex", np.ones(3) * 1j, np.full(3, NEAR * 1j), SAME
    yield "scalar", np.float64(1), np.float64(NEAR), SAME
    yield "ints are exact", np.array([10**12]), np.array([10**12 + 1]), "result[0]"
    yield "infinity", np.array([math.inf]), np.array([-math.inf]), "result[0]"


def travelled(value):
    """As it is after the journey that every result makes."""
    try:
        return pickle.loads(pickle.dumps(value, protocol=5))
    except Exception:
        import cloudpickle

        return pickle.loads(cloudpickle.dumps(value, protocol=5))


def wrongly_judged(differences, cases, tolerance=0.0):
    """(name, where a difference was expected, what was found) of each pair with the wrong verdict."""
    for name, old, new, where in cases:
        found = differences(travelled(old), travelled(new), tolerance)
        told = [difference["path"] for difference in found]
        json.dumps(found).encode()  # as it is sent
        if not found if where is None else any(path.startswith(where) for path in told):
            continue
        yield name, where, found


SUITES = {
    "pairs": (pairs, 0.0),
    "tolerated": (tolerated, TOLERANCE),
    "arrays": (arrays, 0.0),
    "frames": (frames, 0.0),
    "tolerated_arrays": (tolerated_arrays, TOLERANCE),
}


def main(child, cloudpickle, *suites):
    sys.path.insert(0, child)
    sys.path.append(cloudpickle)
    from child.comparison import differences

    told = {"pairs": 0, "wrong": []}
    for suite in suites:
        make, tolerance = SUITES[suite]
        cases = list(make())
        told["pairs"] += len(cases)
        told["wrong"] += wrongly_judged(differences, cases, tolerance)
    print(json.dumps(told, default=str))


if __name__ == "__main__":
    # Under its own name, so that what is defined here is found by it.
    import compared_values

    compared_values.main(*sys.argv[1:])
