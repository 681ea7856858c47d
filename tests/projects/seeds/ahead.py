import random

try:
    import numpy
except ImportError:
    numpy = None


def draw(ctx):
    """Imported before forking."""
    return [random.random(), *([float(numpy.random.random())] if numpy else [])]


def words():
    return [hash("a"), list({"one", "two", "three"})]
