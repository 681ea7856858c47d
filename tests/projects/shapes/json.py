"""Called like a module of the standard library that the child program uses."""


def name():
    return __name__, __file__


def dumps(value):
    return "mine"
