"""Code that stays as it is while its dependencies move to another major version, and the verdict that `hwe check` must give on a run in flight. A table.

`PLANTED`: {name: Planted}. Each has a package of its own, whose `steps.make` has run, and whose `steps.use` is to come.
`THEN` and `NOW`: the requirements.
"""

# ruff: noqa: E501
# fmt: off

from planted import IMPORT, MISSING, OK, SIG, STATE, USE, Table

THEN = "pydantic==1.10.26\nurllib3==1.26.20\nsix==1.17.0\n"
NOW = "pydantic==2.12.5\nurllib3==2.5.0\n"

PLANTED = Table()
kept, edited = PLANTED.kept, PLANTED.edited

def inside(lines):
    return "def make(number):\n    return 1\n\ndef use(made):\n" + "".join(f"    {line}\n" for line in lines.split("\n"))

# pydantic 1 to 2
M = "from pydantic import BaseModel, Field, SecretStr%s\nclass M(BaseModel):\n    a: int = 1\n%s"
kept("a model as state", M % ("", "") + USE % "[M(a=1)]", STATE, "__pydantic_fields_set__")
kept("what a model dumped as state", M % ("", "") + USE % "M(a=1).dict()", OK)
kept("a dataclass as state", "from pydantic.dataclasses import dataclass\n@dataclass\nclass M:\n    a: int\n" + USE % "M(a=1)", OK)
kept("a secret as state", M % ("", "") + USE % "SecretStr('x')", OK)
kept("a url as state", "from pydantic import AnyUrl, parse_obj_as\n" + USE % "parse_obj_as(AnyUrl, 'http://a.b/')", STATE, "AnyUrl")
kept("root_validator", M % (", root_validator", "    @root_validator\n    def check(cls, values):\n        return values\n") + USE % "1", IMPORT, "skip_on_failure")
kept("validator", M % (", validator", "    @validator('a')\n    def check(cls, value):\n        return value\n") + USE % "1", OK)
kept("BaseSettings", M % (", BaseSettings", "") + USE % "1", IMPORT, "pydantic-settings")
kept("BaseSettings imported inside", inside("from pydantic import BaseSettings\nreturn 1"), IMPORT, "pydantic-settings")
kept("BaseSettings named inside", "import pydantic\n" + inside("return pydantic.BaseSettings()"), MISSING, "pydantic-settings")
kept("BaseSettings named and imported inside", inside("import pydantic\nreturn pydantic.BaseSettings()"), MISSING, "pydantic-settings")
kept("BaseSettings of the older alone", "import pydantic\n" + inside("if pydantic.VERSION < '2':\n    return len(pydantic.BaseSettings().dict())\nreturn 0"), OK)
kept("regex", M % ("", "    b: str = Field('x', regex='x')\n") + USE % "1", IMPORT, "regex")
kept("no annotation", M % ("", "    b = 1\n") + USE % "1", IMPORT, "non-annotated")
kept("parse_obj", M % ("", "") + inside("return M.parse_obj({'a': 1}).a"), OK)
kept("parse_file_as", inside("from pydantic import parse_file_as\nreturn 1"), IMPORT, "parse_file_as")
kept("a step that validates", M % (", validate_arguments", "") + "def make(number):\n    return {'a': 1}\n@validate_arguments\ndef use(made: M):\n    return made.a\n", OK)
edited("a step that validates from now on", M % (", validate_arguments", "") + "def make(number):\n    return {'a': 1}\ndef use(made: dict):\n    return made['a']\n", [("def use(made: dict):\n    return made['a']", "@validate_arguments\ndef use(made: M):\n    return made.a")], OK)
# urllib3 1 to 2
kept("Retry", "import urllib3\n" + inside("urllib3.Retry(3, method_whitelist=['GET'])"), SIG, "unexpected keyword argument 'method_whitelist'")
kept("Retry imported inside", inside("from urllib3.util.retry import Retry\nRetry(total=3, method_whitelist=['GET'])"), SIG, "unexpected keyword argument 'method_whitelist'")
kept("Retry of one's own", "import urllib3\nclass Retry(urllib3.Retry):\n    pass\n" + inside("Retry(3, method_whitelist=['GET'])"), SIG, "unexpected keyword argument 'method_whitelist'")
kept("Retry of a module", "import urllib3\nRETRY = urllib3.Retry(3, method_whitelist=['GET'])\n" + USE % "1", IMPORT, "method_whitelist")
kept("Retry as both have it", "import urllib3\n" + inside("urllib3.Retry(3, backoff_factor=1)"), OK)
kept("Retry as state", "import urllib3\n" + USE % "urllib3.Retry(3)", STATE, "backoff_max")
kept("Timeout as state", "import urllib3\n" + USE % "urllib3.Timeout(3)", OK)
kept("a module that is gone", inside("from urllib3.contrib import appengine\nreturn 1"), IMPORT, "appengine")
kept("a constant that is gone", "from urllib3.util import ssl_\n" + inside("return len(ssl_.DEFAULT_CIPHERS)"), MISSING, "DEFAULT_CIPHERS")
# gone from the lock
kept("a dependency that is gone", "import six\n" + USE % "1", IMPORT, "No module named 'six'")
kept("a dependency that is gone, imported inside", inside("import six\nreturn 1"), IMPORT, "No module named 'six'")
kept("a dependency that is gone and was optional", inside("try:\n    import six\nexcept ImportError:\n    six = None\nreturn 1"), OK)
