"""The `ctx` of a step."""

import re

from .arguments import Unpickler
from .channel import ContextUnavailable
from .messages import Outgoing, segments_of
from .originals import read_json, sleep, write_json
from .project import import_past_project
from .results import is_plain, pack

# Of Highway's context, what cannot be here, and what to use.
ELSEWHERE = {
    "db_connection": "a connection cannot cross into a process of its own: open one here, or pass the data along",
    "emit_event": "events are operators of the workflow",
    "wait_for_event": "events are operators of the workflow: wait there, and take what came as an argument",
    "tenant_id": "pass it as an input of the workflow, {{inputs.tenant_id}}",
}
MAX_SLEEP_SECONDS = 60
_NUMBERED = re.compile(r"#\d+$")


class CallRefused(Exception):
    """The run does not give what was asked for."""


class Context:
    """What a step is told of the run it belongs to, and may ask of it, as its `ctx` parameter."""

    def __init__(self, fields, channel=None):
        self._fields = fields
        self._channel = channel
        self._done = {}  # how often each name was used
        self.workflow_run_id = fields.get("run_id")
        self.workflow_name = fields.get("workflow_name")
        self.step_key = fields.get("step_key")
        self.attempt = fields.get("attempt", 1)
        self.code_version_hash = fields.get("code_version_hash")

    @property
    def log(self):
        logging = import_past_project("logging")
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        return logging.getLogger(self.step_key or "step")

    def get_variable(self, name, default=None):
        """The value of a variable of the run, as the steps before have set it, or the workflow."""
        known, value = self._ask("get_variable", {"name": name})[0]
        return value if known else default

    def set_variable(self, name, value):
        """Give a variable of the run a value, at once and whatever becomes of the step. JSON only."""
        if not is_plain(value):
            raise TypeError(
                "variable %r is given a %s: variables are JSON; return objects" % (name, type(value).__name__)
            )
        self._ask("set_variable", {"name": name, "value": value})

    def step(self, name, fn, *args, **kwargs):
        """What `fn(*args, **kwargs)` returned when it was first called under this name in this step.

        Recorded once: when the step is run again, after a crash or a failure, `fn` is not. A name that is used again
        in the same attempt is another part, told apart by its number.
        """
        number = self._done.get(name, 0) + 1
        plain = number == 1 and not _NUMBERED.search(name)
        key = {"name": name if plain else "%s#%d" % (name, number)}
        _, recorded = self._ask("step", key)
        if recorded is not None:
            self._done[name] = number
            return Unpickler(*recorded).load()
        result = fn(*args, **kwargs)
        if hasattr(result, "__await__"):
            raise TypeError("ctx.step(%r) got a coroutine function: call one that returns its result" % name)
        self._ask("record_step", key, pack({"type": "call"}, result))
        self._done[name] = number  # not before: one that failed is done under the same name when it is tried again
        return result

    def sleep(self, seconds):
        """A short pause within the step."""
        if seconds > MAX_SLEEP_SECONDS:
            raise ValueError(
                "ctx.sleep(%s) would hold a process for that long: write a wait operator in the workflow, which "
                "survives restarts (up to %d s are slept here)" % (seconds, MAX_SLEEP_SECONDS)
            )
        sleep(seconds)

    def _ask(self, call, arguments, message=None):
        """The (value, recorded value or None) of the answer."""
        message = message or Outgoing({"type": "call"})
        message.header.update(call=call, arguments=message.add(write_json(arguments).encode()))
        header, parts, memories = self._channel.ask(message)
        if header["refused"] is not None:
            raise CallRefused(header["refused"])
        said = header["payload"]
        recorded = segments_of(said, parts, memories) if said is not None else None
        return read_json(bytes(parts[header["value"]])), recorded

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ContextUnavailable(
            "ctx.%s is not available in a step process: %s (ctx has workflow_run_id, workflow_name, step_key, attempt, "
            "code_version_hash, log, get_variable, set_variable, step, sleep)"
            % (name, ELSEWHERE.get(name, "pass what the step needs as an argument"))
        )
