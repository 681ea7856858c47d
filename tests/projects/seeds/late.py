def draw():
    import random

    return random.random()
