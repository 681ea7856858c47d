"""Planted changes of classes that libraries make, and the verdict that `hwe check` must give on a run in flight. A table.

`PLANTED`: {name: Planted}. Each has a package of its own, whose `steps.make` has run, and whose `steps.use` is to come.
"""

# ruff: noqa: E501
# fmt: off

from planted import OK, STATE, USE, Table

PLANTED = Table()
edited, replaced = PLANTED.edited, PLANTED.replaced

# pydantic
PY = "from pydantic import BaseModel, ConfigDict\nfrom typing import Optional, List\nclass M(BaseModel):\n    a: int\n    b: str = 'q'\n" + USE % "M(a=1)"
edited("pyd new required", PY, [("    a: int\n", "    a: int\n    c: int\n"), ("M(a=1)", "M(a=1,c=2)")], STATE, "without the 'c'")
edited("pyd new default", PY, [("    a: int\n", "    a: int\n    c: int = 3\n")], STATE, "without the 'c'")
edited("pyd type", PY, [("    a: int\n", "    a: str\n"), ("M(a=1)", "M(a='1')")], STATE, "whose a is a int")
edited("pyd optional", PY, [("    a: int\n", "    a: Optional[int]\n")], OK)
edited("pyd renamed", PY, [("    a: int\n", "    z: int\n"), ("M(a=1)", "M(z=1)")], STATE, "without the 'z'")
edited("pyd removed default", PY, [("    b: str = 'q'\n", "")], OK)
edited("pyd extra forbid", PY, [("    b: str = 'q'\n", "    b: str = 'q'\n    model_config = ConfigDict(extra='forbid')\n")], OK)
edited("pyd frozen", PY, [("    b: str = 'q'\n", "    b: str = 'q'\n    model_config = ConfigDict(frozen=True)\n")], OK)
edited("pyd validator", PY, [("    b: str = 'q'\n", "    b: str = 'q'\n    @field_validator('a')\n    @classmethod\n    def check(cls, v):\n        return v\n"), ("import BaseModel", "import field_validator, BaseModel")], OK)
edited("pyd private", PY, [("    b: str = 'q'\n", "    b: str = 'q'\n    _p: int = 1\n")], STATE, "TypeError")
edited("pyd nested", "from pydantic import BaseModel\nclass N(BaseModel):\n    x: int\nclass M(BaseModel):\n    n: N\n" + USE % "M(n=N(x=1))", [("    x: int\n", "    x: int\n    y: int\n"), ("N(x=1)", "N(x=1,y=1)")], STATE, "without the 'y'")
edited("pyd to dataclass", PY, [("class M(BaseModel)", "from dataclasses import dataclass\n@dataclass\nclass M")], STATE, "without the 'a'")
edited("pyd dataclass field", "from pydantic.dataclasses import dataclass\n@dataclass\nclass M:\n    a: int\n" + USE % "M(a=1)", [("    a: int\n", "    a: int\n    b: int\n"), ("M(a=1)", "M(a=1,b=1)")], STATE, "without the 'b'")
edited("pyd constrained", PY, [("    a: int\n", "    a: Annotated[int, Field(gt=5)]\n"), ("import BaseModel", "import Field, BaseModel"), ("from typing import", "from typing import Annotated,"), ("M(a=1)", "M(a=9)")], OK)
edited("pyd alias", PY, [("    a: int\n", "    a: int = Field(alias='A')\n"), ("import BaseModel", "import Field, BaseModel"), ("M(a=1)", "M(A=9)")], OK)
# attrs
AT = "import attrs\n@attrs.define\nclass M:\n    a: int\n    b: str = 'q'\n" + USE % "M(a=1)"
edited("attrs new required", AT, [("    a: int\n", "    a: int\n    c: int\n"), ("M(a=1)", "M(a=1,c=2)")], STATE, "without the 'c'")
edited("attrs new default", AT, [("    b: str = 'q'\n", "    b: str = 'q'\n    c: int = 1\n")], STATE, "without the 'c'")
edited("attrs type", AT, [("    a: int\n", "    a: bytes\n")], STATE, "whose a is a int")
edited("attrs renamed", AT, [("    a: int\n", "    z: int\n"), ("M(a=1)", "M(z=1)")], STATE, "without the 'z'")
edited("attrs removed", AT, [("    b: str = 'q'\n", "")], OK)
edited("attrs to dict", AT, [("attrs.define", "attrs.define(slots=False)")], OK)
edited("attrs to slots", AT.replace("attrs.define", "attrs.define(slots=False)"), [("(slots=False)", "")], OK)
edited("attrs reorder", AT, [("    a: int\n    b: str = 'q'\n", "    b: str = attrs.field(default='q', kw_only=True)\n    a: int\n")], OK)
edited("attrs frozen", AT, [("attrs.define", "attrs.frozen")], OK)
# msgspec
MS = "import msgspec\nclass M(msgspec.Struct):\n    a: int\n    b: str = 'q'\n" + USE % "M(a=1)"
edited("msg new required", MS, [("    a: int\n", "    a: int\n    c: int\n"), ("M(a=1)", "M(a=1,c=2)")], STATE, "whose c is a str")
edited("msg new default", MS, [("    b: str = 'q'\n", "    b: str = 'q'\n    c: int = 1\n")], OK)
edited("msg reorder", MS.replace("    a: int\n    b: str = 'q'\n", "    a: int\n    b: int\n").replace("M(a=1)", "M(a=1, b=2)"), [("    a: int\n    b: int\n", "    b: int\n    a: int\n")], STATE, "pickled in order")
edited("msg type", MS, [("    a: int\n", "    a: bytes\n")], STATE, "whose a is a int")
edited("msg removed", MS, [("    b: str = 'q'\n", "")], STATE, "TypeError")
edited("msg comment", MS, [("class M", "# hi\nclass M")], OK)
