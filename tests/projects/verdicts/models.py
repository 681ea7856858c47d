from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


@dataclass
class Line:
    name: str
    cents: int


@dataclass
class Order:
    number: int
    lines: list[Line]
    currency: str = "EUR"


class Note:
    def __init__(self, text):
        self.text = text


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: int
