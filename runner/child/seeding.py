"""Random numbers that repeat when a step is run again."""

import sys

from . import project

SEEDED = ("random", "numpy.random")


def seed_random(seed):
    """Make the global generators of random and numpy.random repeat themselves when a step is run again.

    `seed` in hex; None: from the system, for a fork inherits numpy's state, and every step would draw the same.
    """
    for name in SEEDED:
        if name in sys.modules:
            seed_module(sys.modules[name], seed)
    if seed is not None:
        sys.meta_path.insert(0, SeedOnImport(seed))


def seed_module(module, seed):
    if module.__name__.partition(".")[0] in project.project_names:
        return  # a module of the project's own that is called random
    if seed is None:
        module.seed()
    elif module.__name__ == "random":
        module.seed(int(seed, 16))
    else:
        module.seed([int(seed[start : start + 8], 16) for start in range(0, len(seed), 8)])


class SeedOnImport:
    """Seeds the generators of modules that a step imports itself."""

    def __init__(self, seed):
        self.seed = seed

    def find_spec(self, name, path=None, target=None):
        if name not in SEEDED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        load = spec.loader.exec_module

        def load_and_seed(module):
            load(module)
            seed_module(module, self.seed)

        spec.loader.exec_module = load_and_seed
        return spec
