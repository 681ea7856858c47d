"""Called like a package of the worker."""


def release(number):
    return {"release": "v2", "file": __file__, "number": number}
