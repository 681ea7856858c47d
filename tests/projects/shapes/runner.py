"""Called like a package of the supervisor."""


def name():
    return __name__, __file__


def supervisors_packages():
    import importlib.util

    return [n for n in ("dbos", "sqlalchemy", "typer", "highway_dsl") if importlib.util.find_spec(n)]
