import os

os._exit(3)


def where():
    return None
