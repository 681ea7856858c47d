import os

IMPORTED_BY = os.getpid()


def where():
    return {"imported_by": IMPORTED_BY, "pid": os.getpid(), "zygote": os.getppid()}
