"""The project's place on the import path and among the modules, and how to import past it."""

import importlib
import posix
import sys

import_paths = []
project_names = set()  # of its top-level modules and packages
_cloudpickle = None  # see load_cloudpickle

PYTHON = "%d.%d.%d" % sys.version_info[:3]


def make_way(paths, at_start):
    """Put the project first on the path, and forget modules of the standard library that it has names for.

    Plain Python gives a project's json.py precedence over the standard one, unless the interpreter itself
    has already imported that name when it started (`at_start`). So do we; this program keeps its own references.
    """
    import_paths.extend(paths)
    sys.path[:] = [*import_paths, *(path for path in sys.path if path not in import_paths)]
    for path in import_paths:
        try:
            project_names.update(entry.partition(".")[0] for entry in posix.listdir(path))
        except OSError:
            pass
    project_names.difference_update(module.partition(".")[0] for module in at_start)
    for name in project_modules():
        del sys.modules[name]


def import_past_project(module):
    """Import a module of the standard library or of ours, though the project may have one of that name."""
    path, theirs = sys.path[:], project_modules()
    for name in theirs:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if entry not in import_paths]
    try:
        return importlib.import_module(module)
    finally:
        sys.path[:] = path
        for name in project_modules():
            del sys.modules[name]
        sys.modules.update(theirs)


def project_modules():
    return {name: sys.modules[name] for name in list(sys.modules) if name.partition(".")[0] in project_names}


def load_cloudpickle():
    """The version's own cloudpickle, or else our copy. Late: it takes as long to import as Python to start.

    Without the project on the path and among the modules, so that its own json.py cannot stand in for what
    cloudpickle imports.
    """
    global _cloudpickle
    if _cloudpickle is None:
        _cloudpickle = import_past_project("cloudpickle")
    return _cloudpickle
