import threading
from dataclasses import dataclass, field
from enum import Enum, Flag, IntEnum, auto
from typing import TYPE_CHECKING, Dict, List, NamedTuple

if TYPE_CHECKING:
    from nowhere import Unimportable


@dataclass
class Line:
    name: str
    cents: int


@dataclass
class Order:
    lines: List[Line]
    currency: str = "EUR"
    note: str = None  # not what the annotation says, in any version
    prices: Dict[str, int] = field(default_factory=dict)
    elsewhere: "Unimportable" = None

    def __post_init__(self):
        self.total = sum(line.cents for line in self.lines)


@dataclass
class Inner:
    cents: int


@dataclass
class Queued:
    cents: int


@dataclass(frozen=True)
class Key:
    cents: int


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


class Priority(IntEnum):
    LOW = auto()
    HIGH = auto()


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Rights(Flag):
    READ = auto()
    WRITE = auto()


class Point(NamedTuple):
    x: int
    y: int


class Base:
    def __init__(self):
        self.base = 1


class Pool(Base):
    def __init__(self, tags=None):
        super().__init__()
        self.tags = tags or []
        self.size = 1
        self._lock = threading.Lock()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state):
        vars(self).update(state)  # without the lock, in any version


class Receipt:
    def __init__(self):
        self.paid = True
