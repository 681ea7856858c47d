"""The syntax of single functions, read from the files that they came from.

Run by Python 3.9 to 3.14, standard library alone. Not by inspect.getsource, which imports what a project may have a
name for.
"""

import ast
import dis
import functools
import types

# What closes the last statement of a function stands below the last line that has code: rarely further than that.
MAX_CLOSING_LINES = 10


def tree_of(function):
    """A module of nothing but the syntax of a function, or None where its source is not to be had."""
    code = function.__code__  # and not what it wraps
    try:
        node = node_by_lines(code) or functions_in(code.co_filename)[code.co_name, code.co_firstlineno]
    except (OSError, SyntaxError, ValueError, KeyError, RecursionError, MemoryError):
        return None
    return ast.Module([ast.Expr(node) if isinstance(node, ast.Lambda) else node], [])


def node_by_lines(code):
    """The definition of a function, of whose file only its own lines are parsed; None where that cannot be done."""
    lines = lines_of(code.co_filename)
    first, last = code.co_firstlineno - 1, last_line_of(code)
    # Below a line of ours it may be indented as it is.
    head = [b"if 1:\n"] if lines[first : first + 1] and lines[first][:1].isspace() else []
    for end in range(last, min(last + MAX_CLOSING_LINES, len(lines)) + 1):
        try:
            (node,) = ast.parse(b"".join([*head, *lines[first:end]])).body
        except (SyntaxError, ValueError):
            continue
        node = node.body[0] if head else node
        return node if getattr(node, "name", None) == code.co_name else None
    return None


@functools.cache
def lines_of(file):
    with open(file, "rb") as source:
        return source.readlines()


def last_line_of(code):
    """The last line that has code, of the function or of one that is made in it."""
    inner = [last_line_of(item) for item in code.co_consts if isinstance(item, types.CodeType)]
    return max([code.co_firstlineno, *inner, *(line for _, line in dis.findlinestarts(code) if line)])


@functools.cache
def functions_in(file):
    """{(name, first line): node} of a whole file."""
    tree = ast.parse(b"".join(lines_of(file)))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {(getattr(node, "name", "<lambda>"), first_line_of(node)): node for node in nodes}


def shown(node):
    """An expression as it stands there, as far as it is short. Not by ast.unparse, which imports what a project may
    have a name for.
    """
    if isinstance(node, ast.Attribute):
        return "%s.%s" % (shown(node.value), node.attr)
    if isinstance(node, ast.Subscript):
        index = repr(node.slice.value)[:50] if isinstance(node.slice, ast.Constant) else "…"
        return "%s[%s]" % (shown(node.value), index)
    return getattr(node, "id", "…")


def first_line_of(node):
    return min(item.lineno for item in (node, *getattr(node, "decorator_list", ())))
