def name():
    return __name__, __file__
