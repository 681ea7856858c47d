"""Called like a package of the worker."""


def release(number):
    return {"release": "v1", "file": __file__, "number": number}
