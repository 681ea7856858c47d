"""Code that stays as it is while the project moves from Python `OLDER` to `NEWER`, or back, and the verdict that `hwe check` must give on a run in flight. Tables.

`RAISED` and `LOWERED`: {name: Planted}. Each has a package of its own, whose `steps.make` has run, and whose `steps.use`
is to come. `NAMESAKES`: on the newer one, where the candidate has modules that are called like some of Python's own.
"""

# ruff: noqa: E501
# fmt: off

from planted import IMPORT, MISSING, OK, SIG, STATE, USE, Table

OLDER, NEWER = "3.9", "3.13"

RAISED, LOWERED, NAMESAKES = Table(), Table(), Table()

def inside(lines):
    return "def make(number):\n    return 1\n\ndef use(made):\n" + "".join(f"    {line}\n" for line in lines.split("\n"))

def both(name, source):
    RAISED.kept(name, source, OK)
    LOWERED.kept(name, source, OK)

# state
both("a moment", "import datetime as d\nimport zoneinfo\n" + USE % "d.datetime(2020, 1, 1, fold=1, tzinfo=zoneinfo.ZoneInfo('UTC'))")
both("numbers", "import decimal, fractions, uuid, ipaddress\n" + USE % "[decimal.Decimal('1.10'), decimal.Context(prec=5), fractions.Fraction(1, 3), uuid.UUID(int=3), ipaddress.ip_network('10.0.0.0/8'), 2j]")
both("containers", "import array, collections, types\n" + USE % "[collections.OrderedDict(a=1), collections.Counter('aab'), collections.deque([1], 3), collections.defaultdict(list), collections.ChainMap({}), array.array('d', [1.0]), types.SimpleNamespace(a=1), range(3), slice(1, 2)]")
both("random numbers", "import random\n" + USE % "random.Random(3)")
both("a pattern", "import re\n" + USE % "[re.compile('a+', re.I), re.I | re.M]")
both("enumerations", "import enum, http\nclass E(enum.Enum):\n    A = 1\nclass F(enum.Flag):\n    A = 1\n    B = 2\nclass I(enum.IntFlag):\n    A = 1\n    B = 2\nclass S(str, enum.Enum):\n    A = 'a'\n" + USE % "[E.A, F.A | F.B, F(0), I.A | I.B, S.A, http.HTTPStatus(422)]")
both("callables", "import functools, operator\n" + USE % "[functools.partial(int, base=2), operator.itemgetter(1), len, str.upper]")
both("exceptions", USE % "[ValueError('x'), FileNotFoundError(2, 'x', 'y'), UnicodeDecodeError('utf-8', b'x', 0, 1, 'z')]")
both("a frozen dataclass", "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass D:\n    a: int\n    b: list = dataclasses.field(default_factory=list)\n" + USE % "D(1)")
both("a named tuple", "import typing\nclass N(typing.NamedTuple):\n    a: int\n" + USE % "N(1)")
both("a type", "import typing\n" + USE % "[typing.Optional[int], list[int]]")
both("a cached function", "import functools\n@functools.lru_cache\ndef f(x):\n    return x\n" + USE % "f")
both("a message", "import email.message\n" + USE % "email.message.EmailMessage()")
RAISED.kept("a path", "import pathlib\n" + USE % "pathlib.Path('/tmp')", OK)
LOWERED.kept("a path", "import pathlib\n" + USE % "pathlib.Path('/tmp')", STATE, "pathlib._local")
RAISED.kept("settings read", "import configparser\n" + USE % "configparser.ConfigParser()", STATE, "without the '_allow_unnamed_section'")
RAISED.kept("two slots and another __setstate__", "import statistics\n" + USE % "statistics.NormalDist(1, 2)", STATE, "its _mu was 1.0, and loads as None now")
for table in (RAISED, LOWERED):
    table.kept("a function by value", USE % "[lambda x: x]", STATE, "code()")
# code that only the older one has
RAISED.kept("a module that is gone", "import distutils.util\n" + USE % "1", IMPORT, "No module named 'distutils'")
RAISED.kept("a module that is gone, imported inside", inside("import imp\nreturn 1"), IMPORT, "No module named 'imp'")
RAISED.kept("a module that is gone, and tried", inside("try:\n    import imp\nexcept ImportError:\n    imp = None\nreturn 1"), OK)
RAISED.kept("a function that is gone", inside("import inspect\nreturn inspect.getargspec"), MISSING, "names getargspec of inspect")
RAISED.kept("a class that has moved", "import collections\n" + inside("return isinstance(made, collections.Mapping)"), MISSING, "names Mapping of collections")
RAISED.kept("a parameter that is gone", inside("import random\nrandom.shuffle([1], random.random)"), SIG, "too many positional arguments")
# code that only the newer one understands
LOWERED.kept("match", inside("match made:\n    case 1:\n        return 1"), IMPORT, "SyntaxError")
LOWERED.kept("a union when it is run", "def make(number):\n    return 1\ndef use(made: int | None):\n    return 1\n", IMPORT, "unsupported operand")
LOWERED.kept("a union that is not run", "from __future__ import annotations\ndef make(number):\n    return 1\ndef use(made: int | None):\n    return 1\n", OK)
LOWERED.kept("slots of dataclasses", "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass D:\n    a: int\n" + USE % "D(1)", IMPORT, "'slots'")
LOWERED.kept("a class that is new", "from enum import StrEnum\nclass S(StrEnum):\n    A = 'a'\n" + USE % "S.A", IMPORT, "StrEnum")
LOWERED.kept("a module that is new, imported inside", inside("import tomllib\nreturn 1"), IMPORT, "tomllib")
LOWERED.kept("a parameter that is new", inside("import shutil\nshutil.rmtree('x', onexc=print)"), SIG, "'onexc'")
LOWERED.kept("a parameter that is new, in its place", inside("import shutil, sys\nif sys.version_info >= (3, 12):\n    shutil.rmtree('x', onexc=print)\nreturn 1"), OK)
# modules of the project that reading source, signatures and annotations would import, if it imported them now
NAMES = ("annotationlib", "ast", "copyreg", "difflib", "dis", "inspect", "keyword", "linecache", "opcode", "token", "tokenize", "traceback")
N = "class P:\n    def __init__(self, a: 'int'):\n        self.a = a\n        self.b: list = []\ndef helper(x):\n    return x\ndef make(number):\n    return P(1)\ndef use(made: 'P'):\n    return helper(made.a)\n"
NAMESAKES.replaced("nothing else", N, {f"../{name}.py": "VALUE = 1\n" for name in NAMES}, OK)
NAMESAKES.edited("a new attribute", N, [("self.a = a\n", "self.a = a\n        self.q = 1\n")], STATE, "without the 'q'")
NAMESAKES.edited("a new parameter", N, [("made: 'P'", "made: 'P', more")], SIG, "missing a required argument: 'more'")
NAMESAKES.edited("a helper with a new parameter", N, [("helper(x)", "helper(x, y)")], SIG, "missing a required argument: 'y'")
NAMESAKES.edited("a helper that is gone", N, [("def helper(", "def helped(")], MISSING, "use names helper, which is not there")
