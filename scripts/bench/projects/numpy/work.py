def nothing(value: object = None) -> object:
    return value


def size(array: memoryview) -> int:
    return array.nbytes
