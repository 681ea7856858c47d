"""What a step is called with: recorded values, and arguments pickled or as templates."""

import pickle

from .failures import safe_text
from .messages import segments_of
from .originals import read_json
from .project import PYTHON, load_cloudpickle
from .templates import Scope, render


class ArgumentNotLoadable(Exception):
    """A value recorded earlier cannot be unpickled by this code version."""


def load_arguments(header, parts, memories):
    """The (args, kwargs) of a request, in either of its two forms."""
    payloads = Payloads(header["payloads"], parts, memories)
    said = header["arguments"]
    first, buffers = segments_of(said, parts, memories)
    if said["form"] == "pickled":
        return ArgumentsUnpickler(first, buffers, payloads).load()
    template = read_json(first.read())
    scope = Scope(template["scope"], template["results"], payloads)
    return render(template["args"], scope), render(template["kwargs"], scope)


class Payloads:
    """Recorded values, unpickled when first asked for: a template may use one of many."""

    def __init__(self, headers, parts, memories):
        self.headers = headers
        self.parts = parts
        self.memories = memories
        self.loaded = {}
        self.names = {}  # of what they name: how they call it, by its id

    def load(self, index):
        if index not in self.loaded:
            try:
                first, buffers = segments_of(self.headers[index], self.parts, self.memories)
                self.loaded[index] = Unpickler(first, buffers, self.names).load()
            except BaseException as error:  # a __setstate__ may raise whatever it likes
                header = self.headers[index]
                raise ArgumentNotLoadable(
                    "the value of %s, pickled by Python %s, does not load in this code version on Python %s: %s: %s"
                    % (
                        header.get("name") or "an argument",
                        header.get("python"),
                        PYTHON,
                        type(error).__name__,
                        safe_text(error),
                    )
                ) from error
        return self.loaded[index]


class Unpickler(pickle.Unpickler):
    """Values pickled by another step, perhaps with cloudpickle."""

    def __init__(self, file, buffers, names=None):
        super().__init__(file, buffers=buffers)
        self.names = {} if names is None else names

    def find_class(self, module, name):
        if module.partition(".")[0] == "cloudpickle":
            load_cloudpickle()
        found = super().find_class(module, name)
        self.names[id(found)] = "%s:%s" % (module, name)
        return found


class ArgumentsUnpickler(Unpickler):
    """The caller's arguments, with its payloads put back where they were referred to."""

    def __init__(self, file, buffers, payloads):
        super().__init__(file, buffers)
        self.payloads = payloads

    def persistent_load(self, index):
        return self.payloads.load(index)

    def load(self):
        try:
            return super().load()
        except ArgumentNotLoadable:
            raise
        except BaseException as error:
            raise ArgumentNotLoadable(
                "the arguments do not load in this code version on Python %s: %s: %s"
                % (PYTHON, type(error).__name__, safe_text(error))
            ) from error
