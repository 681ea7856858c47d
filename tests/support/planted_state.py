"""Planted changes of the classes of recorded state, and the verdict that `hwe check` must give on a run in flight. A table.

`PLANTED`: {name: Planted}. Each has a package of its own, whose `steps.make` has run, and whose `steps.use` is to come.
"""

# ruff: noqa: E501
# fmt: off

from planted import OK, STATE, USE, Table

PLANTED = Table()
edited, replaced = PLANTED.edited, PLANTED.replaced

FROZEN = "from dataclasses import dataclass, field\n\n@dataclass(frozen=True)\nclass P:\n    a: str\n    b: str\n" + USE % "P('x','y')"
edited("frozen gets slots", FROZEN, [("frozen=True", "frozen=True, slots=True")], STATE, "loads as 'a' now")
edited("frozen slots gone", FROZEN.replace("frozen=True", "frozen=True, slots=True"), [(", slots=True", "")], STATE, "UnpicklingError")
edited("plain gets slots", FROZEN.replace("frozen=True", ""), [("dataclass()", "dataclass(slots=True)")], STATE, "AttributeError")
edited("plain slots gone", FROZEN.replace("(frozen=True)", "(slots=True)"), [("(slots=True)", "")], OK)
edited("frozen slots reorder", FROZEN.replace("frozen=True", "frozen=True, slots=True"), [("    a: str\n    b: str", "    b: str\n    a: str"), ("P('x','y')", "P('y','x')")], STATE, "pickled in order")
edited("kw only", FROZEN.replace("frozen=True", "order=True"), [("order=True", "order=True, kw_only=True"), ("P('x','y')", "P(a='x',b='y')")], OK)
edited("initvar new", FROZEN.replace("frozen=True", "order=True"), [("    b: str\n", "    b: str\n    c: 'InitVar[int]' = 0\n"), ("import dataclass", "import InitVar, dataclass")], OK)
edited("classvar new", FROZEN, [("    b: str\n", "    b: str\n    C: ClassVar[int] = 0\n"), ("from data", "from typing import ClassVar\nfrom data")], OK)
edited("frozen gone", FROZEN, [("(frozen=True)", "")], OK)
edited("field to property", FROZEN.replace("(frozen=True)", ""), [("    b: str\n", "    @property\n    def b(self):\n        return 'z'\n"), ("P('x','y')", "P('x')")], OK)
edited("dataclass to plain class", FROZEN.replace("(frozen=True)", ""), [("@dataclass\nclass P:\n    a: str\n    b: str\n", "class P:\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\n")], OK)
edited("dataclass to namedtuple", FROZEN.replace("(frozen=True)", ""), [("@dataclass\nclass P:\n", "from typing import NamedTuple\nclass P(NamedTuple):\n")], STATE, "TypeError")
edited("post init new attr", FROZEN.replace("(frozen=True)", ""), [("    b: str\n", "    b: str\n    def __post_init__(self):\n        self.c = 3\n")], STATE, "without the 'c'")
edited("field default to required", FROZEN.replace("(frozen=True)", "").replace("b: str", "b: str = 'q'"), [("b: str = 'q'", "b: str")], OK)
edited("new field init false", FROZEN.replace("(frozen=True)", ""), [("    b: str\n", "    b: str\n    c: list = field(init=False, default_factory=list)\n")], STATE, "without the 'c'")
edited("new cached property", FROZEN.replace("(frozen=True)", ""), [("    b: str\n", "    b: str\n    @functools.cached_property\n    def c(self):\n        return 1\n"), ("from data", "import functools\nfrom data")], OK)
edited("type to optional", FROZEN, [("b: str", "b: 'str | None'")], OK)
edited("type to any", FROZEN, [("b: str", "b: object")], OK)
edited("type union without", FROZEN, [("b: str", "b: 'int | None'")], STATE, "whose b is a str")
edited("type literal gone", FROZEN, [("b: str", "b: 'Literal[\"q\"]'"), ("from data", "from typing import Literal\nfrom data")], STATE, "whose b is a str")
edited("type literal there", FROZEN, [("b: str", "b: 'Literal[\"y\", \"z\"]'"), ("from data", "from typing import Literal\nfrom data")], OK)
edited("renamed with default", FROZEN, [("b: str", "c: str = 'd'")], STATE, "with a 'b' that the class no longer has")
# inheritance
INH = "class Base:\n    def __init__(self):\n        self.n = 1\nclass P(Base):\n    def __init__(self, x):\n        super().__init__()\n        self.x = x\n" + USE % "P(3)"
edited("new base class attr", INH, [("self.n = 1", "self.n = 1\n        self.m = 2")], STATE, "without the 'm'")
edited("init attr renamed", INH, [("self.x = x", "self.y = x")], STATE, "without the 'y'")
edited("init attr now class default", INH, [("        self.x = x", "        pass"), ("class P(Base):", "class P(Base):\n    x = 0")], OK)
edited("base renamed", INH, [("class Base", "class Root"), ("P(Base)", "P(Root)")], OK)
edited("init sets via helper", INH, [("self.x = x", "self.x = x\n        self._setup()\n    def _setup(self):\n        self.q = 1")], STATE, "without the 'q'")
edited("init sets via setattr", INH, [("self.x = x", "self.x = x\n        setattr(self, 'q', 1)")], STATE, "without the 'q'")
edited("init tuple attr", INH, [("self.x = x", "self.x, self.q = x, 2")], STATE, "without the 'q'")
edited("init with block", INH, [("self.x = x", "self.x = x\n        import contextlib\n        with contextlib.suppress(ValueError):\n            self.q = 1")], STATE, "without the 'q'")
edited("init attr lazy getattr", INH, [("self.x = x", "self.x = x\n        self.q = 1\n    def __getattr__(self, name):\n        if name == 'q': return 1\n        raise AttributeError(name)")], OK)
edited("init attr setstate migrates", INH, [("self.x = x", "self.x = x\n        self.q = 1\n    def __setstate__(self, s):\n        self.__dict__.update(s)\n        self.__dict__.setdefault('q', 1)")], OK)
# private attr
edited("private attr class renamed base", "class Base:\n    def __init__(self):\n        self.__n = 1\n    def n(self):\n        return self.__n\nclass P(Base):\n    pass\n" + USE % "P()", [("class Base", "class Root"), ("P(Base)", "P(Root)")], STATE, "without the '_Root__n'")
# slots
SL = "class P:\n    __slots__ = ('a', 'b')\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\n" + USE % "P('x','y')"
edited("slot renamed", SL, [("'a', 'b'", "'a', 'c'"), ("self.b = b", "self.c = b")], STATE, "AttributeError")
edited("slot removed", SL, [("('a', 'b')", "('a',)"), ("        self.b = b\n", "")], STATE, "AttributeError")
edited("slots removed", SL, [("    __slots__ = ('a', 'b')\n", "")], OK)
edited("slots reordered", SL, [("('a', 'b')", "('b', 'a')")], OK)
edited("slot added", SL, [("('a', 'b')", "('a', 'b', 'c')"), ("self.b = b", "self.b = b\n        self.c = 1")], STATE, "without the 'c'")
edited("slot added unset", SL, [("('a', 'b')", "('a', 'b', 'c')")], OK)
# getstate/setstate
GS = "class P:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n    def __getstate__(self):\n        return (self.a, self.b)\n    def __setstate__(self, s):\n        self.a, self.b = s\n" + USE % "P('x','y')"
edited("setstate swapped", GS, [("(self.a, self.b)\n", "(self.b, self.a)\n"), ("self.a, self.b = s", "self.b, self.a = s")], STATE, "loads as 'y' now")
edited("setstate dict", GS, [("return (self.a, self.b)", "return {'a': self.a, 'b': self.b}"), ("self.a, self.b = s", "self.a, self.b = s['a'], s['b']")], STATE, "TypeError")
edited("setstate dict both", GS, [("return (self.a, self.b)", "return {'a': self.a, 'b': self.b}"), ("        self.a, self.b = s", "        self.a, self.b = s if isinstance(s, tuple) else (s['a'], s['b'])")], OK)
edited("setstate gone", GS, [("    def __setstate__(self, s):\n        self.a, self.b = s\n", ""), ("    def __getstate__(self):\n        return (self.a, self.b)\n", "")], STATE, "UnpicklingError")
edited("setstate migrates values", "class P:\n    def __init__(self, a):\n        self.cents = a\n" + USE % "P(7)", [("self.cents = a\n", "self.cents = a\n        self.v = 2\n    def __setstate__(self, s):\n        self.__dict__.update(s)\n        if 'v' not in s:\n            self.cents *= 100\n            self.v = 2\n")], OK)
edited("setstate new ignores", "class P:\n    def __init__(self, a):\n        self.cents = a\n" + USE % "P(7)", [("self.cents = a\n", "self.cents = a\n    def __setstate__(self, s):\n        pass\n")], STATE, "without the 'cents'")
edited("setstate new index", "class P:\n    def __init__(self, a):\n        self.cents = a\n" + USE % "P(7)", [("self.cents = a\n", "self.cents = a\n    def __getstate__(self):\n        return [self.cents]\n    def __setstate__(self, s):\n        self.cents = s[0]\n")], STATE, "KeyError")
# unpacking a dict gives its keys
edited("setstate unpacks dict", "class P:\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\n" + USE % "P('x','y')", [("self.b = b\n", "self.b = b\n    def __getstate__(self):\n        return (self.a, self.b)\n    def __setstate__(self, s):\n        self.a, self.b = s\n")], STATE, "loads as 'a' now")
# reduce
RD = "class P:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n    def __reduce__(self):\n        return (P, (self.a, self.b))\n" + USE % "P('x','y')"
edited("reduce order", RD, [("def __init__(self, a, b)", "def __init__(self, b, a)"), ("(P, (self.a, self.b))", "(P, (self.b, self.a))")], STATE, "loads as 'y' now")
edited("reduce more", RD, [("def __init__(self, a, b)", "def __init__(self, a, b, c)"), ("(P, (self.a, self.b))", "(P, (self.a, self.b, 1))")], STATE, "TypeError")
edited("reduce more default", RD, [("def __init__(self, a, b)", "def __init__(self, a, b, c=1)")], OK)
edited("reduce kwonly", RD, [("def __init__(self, a, b)", "def __init__(self, a, *, b)"), ("(P, (self.a, self.b))", "(functools.partial(P, b=self.b), (self.a,))"), ("class P", "import functools\nclass P")], STATE, "TypeError")
edited("reduce attr renamed", RD, [("self.a, self.b = a, b", "self.a, self.c = a, b"), ("(self.a, self.b))", "(self.a, self.c))")], OK)
edited("reduce gone", RD, [("    def __reduce__(self):\n        return (P, (self.a, self.b))\n", "")], OK)
edited("reduce validates", RD, [("self.a, self.b = a, b", "assert a.isdigit()\n        self.a, self.b = a, b")], STATE, "AssertionError")
RB = "def rebuild(a, b):\n    p = object.__new__(P)\n    p.a, p.b = a, b\n    return p\nclass P:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n    def __reduce__(self):\n        return (rebuild, (self.a, self.b))\n" + USE % "P('x','y')"
edited("rebuild gone", RB, [("rebuild", "restore")], STATE, "AttributeError")
edited("rebuild swapped", RB, [("def rebuild(a, b)", "def rebuild(b, a)"), ("(rebuild, (self.a, self.b))", "(rebuild, (self.b, self.a))")], STATE, "loads as 'y' now")
NA = "class P(str):\n    def __new__(cls, a, b):\n        s = super().__new__(cls, a)\n        s.b = b\n        return s\n    def __getnewargs__(self):\n        return (str(self), self.b)\n" + USE % "P('x','y')"
edited("getnewargs more", NA, [("def __new__(cls, a, b)", "def __new__(cls, a, b, c)"), ("(str(self), self.b)", "(str(self), self.b, 1)")], STATE, "TypeError")
edited("new gains arg", "class P:\n    def __init__(self):\n        self.a = 1\n" + USE % "P()", [("    def __init__(self):", "    def __new__(cls, x):\n        return super().__new__(cls)\n    def __getnewargs__(self):\n        return (1,)\n    def __init__(self, x=1):"), ("P()", "P(1)")], STATE, "TypeError")
# exceptions
EX = "class E(Exception):\n    def __init__(self, a):\n        super().__init__(a)\n        self.a = a\n" + USE % "{'e': E('x')}"
edited("exc more", EX, [("def __init__(self, a)", "def __init__(self, a, b)"), ("E('x')", "E('x', 1)")], STATE, "TypeError")
edited("exc attr", EX, [("self.a = a", "self.a = a\n        self.b = 2")], OK)
edited("exc default", EX, [("def __init__(self, a)", "def __init__(self, a, b=1)")], OK)
edited("exc gone", EX, [("class E(", "class F("), ("E('x')", "F('x')")], STATE, "AttributeError")
# namedtuple
NT = "from collections import namedtuple\nP = namedtuple('P', 'a b')\n" + USE % "P('x','y')"
edited("nt new field", NT, [("'a b'", "'a b c'"), ("P('x','y')", "P('x','y',1)")], STATE, "TypeError")
edited("nt new default", NT, [("'a b'", "'a b c', defaults=[1]")], OK)
edited("nt renamed", NT, [("'a b'", "'a c'")], OK)
edited("nt swap", NT, [("'a b'", "'b a'")], STATE, "pickled in order")
edited("nt insert default", NT.replace("'a b'", "'a b', defaults=[1]"), [("'a b', defaults=[1]", "'a c b', defaults=[1, 1]")], STATE, "pickled in order")
edited("nt to dataclass", NT, [("P = namedtuple('P', 'a b')", "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: str\n    b: str\n")], STATE, "without the 'a'")
edited("nt removed field", NT, [("'a b'", "'a'"), ("P('x','y')", "P('x')")], STATE, "TypeError")
# enum
EN = "import enum\nclass C(enum.%s):\n    A = 1\n    B = 2\n    D = 4\n"
edited("flag member gone", EN % "Flag" + USE % "C.A | C.B", [("    B = 2\n", ""), ("C.A | C.B", "C.A")], STATE, "ValueError")
edited("intflag member gone", EN % "IntFlag" + USE % "C.A | C.B", [("    B = 2\n", ""), ("C.A | C.B", "C.A")], STATE, "no member is 2")
edited("intflag single gone", EN % "IntFlag" + USE % "C.B", [("    B = 2\n", ""), ("C.B", "C.A")], STATE, "no member is 2")
edited("intflag other gone", EN % "IntFlag" + USE % "C.A | C.B", [("    D = 4\n", "")], OK)
edited("flag values moved", EN % "Flag" + USE % "C.A | C.B", [("B = 2", "B = 4"), ("D = 4", "D = 2")], STATE, "loads as C.D now")
edited("intenum to enum", EN % "IntEnum" + USE % "C.A", [("IntEnum", "Enum")], OK)
edited("enum value gone", EN % "Enum" + USE % "C.A", [("    A = 1\n", ""), ("C.A", "C.B")], STATE, "ValueError")
edited("enum missing maps", EN % "Enum" + USE % "C.A", [("    A = 1\n", "    @classmethod\n    def _missing_(cls, value):\n        return cls.B\n"), ("C.A", "C.B")], OK)
edited("enum strenum", "import enum\nclass C(str, enum.Enum):\n    A = 'a'\n    B = 'b'\n" + USE % "[C.A]", [("    A = 'a'\n    B = 'b'\n", "    A = 'b'\n    B = 'a'\n")], STATE, "loads as C.B now")
edited("enum alias", EN % "Enum" + USE % "C.A", [("    A = 1\n", "    Z = 1\n    A = 1\n")], OK)
edited("enum to consts", EN % "Enum" + USE % "C.A", [("class C(enum.Enum)", "class C")], STATE, "TypeError")
edited("enum extended values", EN % "Enum" + USE % "{C.A: 2}", [("    D = 4\n", "    D = 4\n    E = 5\n")], OK)
# typing
edited("typeddict", "from typing import TypedDict\nclass T(TypedDict):\n    a: int\n" + USE % "T(a=1)", [("    a: int\n", "    a: int\n    b: str\n"), ("T(a=1)", "T(a=1, b='')")], OK)
# class <-> function
edited("class becomes function", "class P:\n    def __init__(self, a):\n        self.a = a\n" + USE % "P(1)", [("class P:\n    def __init__(self, a):\n        self.a = a\n", "def P(a):\n    return {'a': a}\n")], STATE, "UnpicklingError")
edited("function becomes class", "def f(x):\n    return x\n" + USE % "[f]", [("def f(x):\n    return x\n", "class f:\n    def __init__(self, x):\n        pass\n")], OK)
edited("function in state gone", "def f(x):\n    return x\n" + USE % "[f]", [("def f(", "def g("), ("[f]", "[g]")], STATE, "AttributeError")
edited("partial takes less", "import functools\ndef f(x, y):\n    return x\n" + USE % "functools.partial(f, y=1)", [("def f(x, y)", "def f(x)"), ("f, y=1", "f")], STATE, "does not take")
edited("partial ok", "import functools\ndef f(x, y):\n    return x\n" + USE % "functools.partial(f, y=1)", [("def f(x, y)", "def f(x, y, z=1)")], OK)
edited("bound method gone", "class P:\n    def go(self):\n        return 1\n" + USE % "P().go", [("def go", "def run"), ("P().go", "P().run")], STATE, "AttributeError")
edited("nested class gone", "class P:\n    class Q:\n        pass\n" + USE % "P.Q()", [("    class Q:\n        pass\n", "    pass\nclass Q:\n    pass\n"), ("P.Q()", "Q()")], STATE, "AttributeError")
edited("nested class alias", "class P:\n    class Q:\n        pass\n" + USE % "P.Q()", [("class P:\n    class Q:\n        pass\n", "class Q:\n    pass\nclass P:\n    Q = Q\n")], OK)
# moved
replaced("moved reexport", {"steps.py": "from .models import P\n" + USE % "P()", "models.py": "class P:\n    pass\n"}, {"models.py": "from .new import P\n", "new.py": "class P:\n    pass\n"}, OK)
replaced("moved no reexport", {"steps.py": "from .models import P\n" + USE % "P()", "models.py": "class P:\n    pass\n"}, {"steps.py": "from .new import P\n" + USE % "P()", "models.py": "", "new.py": "class P:\n    pass\n"}, STATE, "AttributeError")
replaced("module getattr class", {"steps.py": "from .models import P\n" + USE % "P()", "models.py": "class P:\n    pass\n"}, {"steps.py": "from .new import P\n" + USE % "P()", "models.py": "def __getattr__(name):\n    if name == 'P':\n        from .new import P\n        return P\n    raise AttributeError(name)\n", "new.py": "class P:\n    pass\n"}, OK)
replaced("module getattr function", USE % "1", {"steps.py": "def make(number):\n    return 1\ndef __getattr__(name):\n    if name == 'use':\n        from .new import use\n        return use\n    raise AttributeError(name)\n", "new.py": "def use(made):\n    return 1\n"}, OK)
replaced("module becomes package", {"steps.py": "from .models import P\n" + USE % "P()", "models.py": "class P:\n    pass\n"}, {"models.py": None, "models/__init__.py": "from .p import P\n", "models/p.py": "class P:\n    pass\n"}, OK)
replaced("module alias sys modules", {"steps.py": "from .models import P\n" + USE % "P()", "models.py": "class P:\n    pass\n"}, {"steps.py": "from .new import P\n" + USE % "P()", "models.py": "import sys\nfrom . import new\nsys.modules[__name__] = new\n", "new.py": "class P:\n    pass\n"}, OK)
# containers / subclasses of builtins
edited("object becomes dict", "class L:\n    def __init__(self):\n        self.a = 1\n" + USE % "L()", [("class L:\n    def __init__(self):\n        self.a = 1\n", "class L(dict):\n    def __init__(self):\n        self['a'] = 1\n")], STATE, "without items now")
edited("defaultdict factory gone", "from collections import defaultdict\ndef fac():\n    return 0\n" + USE % "defaultdict(fac)", [("fac", "fab")], STATE, "AttributeError")
edited("defaultdict factory args", "from collections import defaultdict\ndef fac():\n    return 0\n" + USE % "defaultdict(fac)", [("def fac()", "def fac(x)"), ("defaultdict(fac)", "defaultdict(lambda: 0)")], STATE, "does not take")
edited("hash needs attr", "class K:\n    def __init__(self, a):\n        self.a = a\n    def __hash__(self):\n        return hash(self.a)\n    def __eq__(self, o):\n        return self.a == o.a\n" + USE % "{K(1): 2}", [("self.a = a\n", "self.a = a\n        self.b = a\n"), ("hash(self.a)", "hash(self.b)")], STATE, "AttributeError")
edited("unhashable", "class K:\n    def __init__(self, a):\n        self.a = a\n    def __hash__(self):\n        return hash(self.a)\n    def __eq__(self, o):\n        return self.a == o.a\n" + USE % "{K(1)}", [("    def __hash__(self):\n        return hash(self.a)\n", ""), ("{K(1)}", "[K(1)]")], STATE, "TypeError")
edited("abstract now", "class P:\n    pass\n" + USE % "P()", [("class P:\n    pass\n", "import abc\nclass P(abc.ABC):\n    @abc.abstractmethod\n    def go(self): ...\n"), ("P()", "1")], STATE, "TypeError")
edited("metaclass new", "class P:\n    pass\n" + USE % "P()", [("class P:\n    pass\n", "class Meta(type):\n    pass\nclass P(metaclass=Meta):\n    pass\n")], OK)
edited("becomes property attr", "class P:\n    def __init__(self):\n        self.a = 1\n" + USE % "P()", [("        self.a = 1\n", "        self._a = 1\n    @property\n    def a(self):\n        return self._a\n")], STATE, "without the '_a'")
edited("property masks computed", "class P:\n    def __init__(self):\n        self.a = 1\n" + USE % "P()", [("        self.a = 1\n", "        pass\n    @property\n    def a(self):\n        return 1\n")], OK)
edited("cloudpickled lambda", "def make(number):\n    return {'f': lambda x: x + number}\ndef use(made):\n    return 1\n", [("x + number", "x - number")], OK)
edited("cloudpickled lambda global gone", "def helper(x):\n    return x\ndef make(number):\n    return {'f': lambda x: helper(x) + number}\ndef use(made):\n    return 1\n", [("helper", "helper2")], STATE, "AttributeError")
edited("userdict becomes dict", "from collections import UserDict\nclass L(UserDict):\n    pass\n" + USE % "L(a=1)", [("from collections import UserDict\n", ""), ("UserDict", "dict")], STATE, "without items now")
edited("dict becomes userdict", "from collections import UserDict\nclass L(dict):\n    pass\n" + USE % "L(a=1)", [("(dict)", "(UserDict)")], STATE, "AttributeError")
edited("dict becomes ordered", "from collections import OrderedDict\nclass L(dict):\n    pass\n" + USE % "L(a=1)", [("(dict)", "(OrderedDict)")], OK)
edited("partial of partial", "import functools\ndef f(x, y, z):\n    return x\n" + USE % "functools.partial(f, y=1)", [("def f(x, y, z)", "def f(y, x, z)")], OK)
edited("callable in state method", "class P:\n    def go(self, a):\n        return 1\n" + USE % "__import__('functools').partial(P().go, 1)", [("def go(self, a)", "def go(self)"), ("P().go, 1", "P().go")], STATE, "does not take")
edited("setstate versions", "class P:\n    def __init__(self):\n        self.v = 1\n        self.qty = 2\n" + USE % "P()", [("self.v = 1", "self.v = 2"), ("self.qty = 2\n", "self.qty = 2\n    def __setstate__(self, s):\n        self.__dict__.update(s)\n        self.v = 2\n")], OK)
edited("init frozen setattr", "class P:\n    def __init__(self):\n        object.__setattr__(self, 'v', 1)\n" + USE % "P()", [("'v', 1)", "'v', 1)\n        object.__setattr__(self, 'w', 1)")], STATE, "without the 'w'")
edited("ordered field types", "from typing import NamedTuple\nclass P(NamedTuple):\n    a: str\n    b: int\n" + USE % "P('x',1)", [("    a: str\n    b: int\n", "    b: int\n    a: str\n"), ("P('x',1)", "P(1,'x')")], STATE, "whose b is a str")
# constructors
IN = "class P:\n    def __init__(self, x):\n        self.x = x\n        self.tags = []\n" + USE % "P(1)"
def more(name, lines, verdict, word=""):
    edited(name, IN, [("        self.tags = []\n", "        self.tags = []\n" + lines)], verdict, word)
edited("init list to dict", IN, [("self.tags = []", "self.tags = {}")], STATE, "whose tags is a list, and the class says dict now")
edited("init list to set", IN, [("self.tags = []", "self.tags = set()")], STATE, "whose tags is a list, and the class says set now")
edited("init list to number", IN, [("self.tags = []", "self.tags = 0")], OK)
edited("init list filled", IN, [("self.tags = []", "self.tags = [x]")], OK)
edited("init containers always wrong", IN.replace("self.tags = []", "self.tags = ()\n        self.tags = {}\n        self.fill()\n    def fill(self):\n        self.tags = ()"), [("self.x = x", "self.x = x  # given")], OK)
more("init either way", "        if x:\n            self.q = 1\n        else:\n            self.q = 2\n", STATE, "without the 'q'")
more("init one way", "        if x:\n            self.q = 1\n        else:\n            self.r = 2\n", OK)
more("init one way or an error", "        if x:\n            self.q = 1\n        else:\n            raise ValueError(x)\n", STATE, "without the 'q'")
more("init tried", "        try:\n            self.q = int(x)\n        except ValueError:\n            self.q = 2\n", STATE, "without the 'q'")
more("init tried once", "        try:\n            self.q = int(x)\n        except ValueError:\n            pass\n", OK)
more("init finally", "        try:\n            int(x)\n        finally:\n            self.q = 1\n", STATE, "without the 'q'")
more("init after a loop", "        for _ in range(3):\n            self.r = 1\n        self.q = 1\n", STATE, "without the 'q'")
more("init in a loop", "        for _ in range(x):\n            self.q = 1\n", OK)
more("init after return", "        if x:\n            return\n        self.q = 1\n", OK)
more("init after a function that returns", "        def one():\n            return 1\n        self.q = one()\n", STATE, "without the 'q'")
more("init unpacks containers", "        self.x, self.q = [1], [2]\n", STATE, "without the 'q'")
more("init after an assignment", "        y = x\n        self.more(y)\n    def more(self, y):\n        self.q = y\n", STATE, "without the 'q'")
more("init recursion", "        self.more()\n    def more(self):\n        self.__init__(1)\n        self.more()\n", OK)
edited("init decorated", IN, [("    def __init__", "    @logged\n    def __init__"), ("self.tags = []\n", "self.tags = []\n        self.q = 1\n"), ("class P", "import functools\ndef logged(f):\n    @functools.wraps(f)\n    def inner(*args):\n        return f(*args)\n    return inner\nclass P")], STATE, "without the 'q'")
edited("init private", IN, [("self.tags = []\n", "self.tags = []\n        self.__q = 1\n")], STATE, "without the '_P__q'")
edited("setstate unpacks slots", "class P:\n    __slots__ = ('a', 'b')\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n" + USE % "P('x','y')", [("self.a, self.b = a, b\n", "self.a, self.b = a, b\n    def __getstate__(self):\n        return (self.a, self.b)\n    def __setstate__(self, s):\n        self.a, self.b = s\n")], STATE, "loads as None now")
more("init matches all", "        match x:\n            case 1:\n                self.q = 1\n            case _:\n                self.q = 2\n", STATE, "without the 'q'")
more("init matches some", "        match x:\n            case 1:\n                self.q = 1\n            case 2:\n                self.q = 2\n", OK)
more("init matches all or not", "        match x:\n            case 1:\n                self.q = 1\n            case _ if x > 5:\n                self.q = 2\n", OK)
more("init enters", "        import contextlib\n        with contextlib.nullcontext(1) as self.q:\n            pass\n", STATE, "without the 'q'")
edited("init says another type", IN, [("self.x = x", "self.x: 'str' = x")], STATE, "whose x is a int, and the class says str now")
edited("init says more types", IN.replace("self.x = x", "self.x: int = x"), [("self.x: int = x", "self.x: int | str = x")], OK)
edited("init says a type of nowhere", IN, [("self.x = x", "self.x: Nowhere = x")], OK)
edited("init says a wrong type always", IN.replace("self.x = x", "self.x: str = x"), [("self.tags = []", "self.tags = [1]")], OK)
edited("init says that a container may be anything", IN, [("self.tags = []", "self.tags: object = set()")], OK)
