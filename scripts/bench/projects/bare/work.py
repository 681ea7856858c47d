def nothing(value: object = None) -> object:
    return value
