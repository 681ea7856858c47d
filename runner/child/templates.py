"""Templates in arguments: {{name.key[0]}} and ${name}. The grammar is that of runner/templates.py."""

import os
import re

from .functions import near

_TEMPLATE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}|\$\{\s*([^{}]+?)\s*\}")
_STEP = re.compile(r"\.?([^.\[\]\s]+)|\[\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


class TemplateError(Exception):
    """A {{template}} in an argument refers to something that is not there."""


class Scope:
    """What {{name}} means: a recorded result, a workflow variable, `inputs`, `workflow` or `ENV`."""

    def __init__(self, names, results, payloads):
        self.names = dict(names, ENV=dict(os.environ))
        self.results = results
        self.payloads = payloads

    def __getitem__(self, name):
        if name in self.results:
            return self.payloads.load(self.results[name])
        if name in self.names:
            return self.names[name]
        known = sorted([*self.results, *self.names])
        raise TemplateError("{{%s}} is not known here%s" % (name, near(name, known)))


def render(value, scope):
    """`value` with its templates replaced. A string that is one whole template keeps the value's own type."""
    if isinstance(value, list):
        return [render(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: render(item, scope) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    whole = _TEMPLATE.fullmatch(value)
    if whole:
        return look_up(whole.group(1) or whole.group(2), scope)
    return _TEMPLATE.sub(lambda match: str(look_up(match.group(1) or match.group(2), scope)), value)


def paths_in(value):
    """[path, whether it is all of its text] of each template in a value."""
    if isinstance(value, (list, dict)):
        items = value if isinstance(value, list) else value.values()
        return [told for item in items for told in paths_in(item)]
    found = _TEMPLATE.finditer(value) if isinstance(value, str) else ()
    return [(match.group(1) or match.group(2), match.group() == value) for match in found]


def look_up(path, scope):
    """The value at `name.key.attribute[0]`. Nothing is ever evaluated or called."""
    position, value, first = 0, None, True
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise TemplateError("{{%s}} cannot be read: write name.key or name[0]" % path)
        key = next(group for group in match.groups() if group is not None)
        value = scope[key] if first else member(value, key, path)
        position, first = match.end(), False
    return value


def member(value, key, path):
    if isinstance(value, dict):
        if key in value:
            return value[key]
        names = [str(name) for name in value]
    elif isinstance(value, (list, tuple)) and key.lstrip("-").isdigit():
        if -len(value) <= int(key) < len(value):
            return value[int(key)]
        raise TemplateError("{{%s}}: the list has %d items" % (path, len(value)))
    else:
        if not key.startswith("_") and hasattr(value, key):
            return getattr(value, key)
        names = [name for name in dir(value) if not name.startswith("_")]
    raise TemplateError("{{%s}}: a %s has no %r%s" % (path, type(value).__name__, key, near(key, names)))
