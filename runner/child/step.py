"""A step process: everything that can be done before the function is known, then one request, one answer, and out."""

import os
import posix
import resource
import select
import sys

from . import originals
from .arguments import ArgumentNotLoadable, Payloads, Unpickler, load_arguments
from .buffers import flush_files
from .channel import Channel
from .context import Context
from .failures import safe_text, tell
from .frames import decode, encode, frame_of, write_all
from .functions import call, find_function, takes_context
from .kernel import RSS_UNIT
from .messages import Outgoing, segments_of
from .originals import pickle_of, read_json, write_json
from .results import pack
from .seeding import seed_random

# A process that is asked for its step this soon is one of many: what it could do ahead would hold up the others.
REHEARSE_AFTER_MS = 3


def be_a_step_process(step_fd, stdout_fd, stderr_fd, scratch, confinement, seeds):
    """`confinement`: what holds it, or None. `seeds`: whether random numbers repeat."""
    posix.setsid()
    for source, target in ((stdout_fd, 1), (stderr_fd, 2)):
        posix.dup2(source, target)
        posix.close(source)
    os.environ["TMPDIR"] = os.environ["HOME"] = scratch
    posix.chdir(scratch)
    if confinement is not None:
        confinement.enter_step(scratch)
    channel = Channel(step_fd)
    write_all(step_fd, frame_of(b'{"parts":[],"pid":%d,"type":"ready"}' % posix.getpid()))  # json.dumps takes 20 pages
    poll = originals.poll()
    poll.register(step_fd, select.POLLIN)
    if not poll.poll(REHEARSE_AFTER_MS):
        rehearse()
    request = channel.receive()
    if request is None:
        posix._exit(0)  # not needed after all
    if confinement is not None:
        confinement.enter_function(request[0].get("function"))
    before = resource.getrusage(resource.RUSAGE_SELF)
    pid = posix.getpid()
    seed_random(request[0].get("seed") if seeds else None)
    outcome = perform(*request, channel)
    if posix.getpid() != pid:
        leave_a_fork(outcome)
    flush_files()
    outcome.header.update(cost_since(before))
    channel.close(outcome)
    posix._exit(0)


def leave_a_fork(outcome):
    """The end of a process that the step forked and that returned from the function, where the step goes on."""
    if outcome.header["status"] == "failed" and not outcome.is_exit:
        sys.stderr.write(read_json(bytes(outcome.parts[0]))["traceback"])
    flush_files()
    posix._exit(0 if outcome.header["status"] == "completed" else outcome.exit_code)


def rehearse():
    """Go once through what every step does, so that the memory pages which that touches are ours already.

    A forked process gets its own copy of a page when it first writes to it, and Python writes to whatever it reads:
    that is most of the time of a short step, and it can be spent before there is a request.
    """
    arguments = write_json({"args": [[]], "kwargs": {}, "scope": {}, "results": {}}).encode()
    pickled = pickle_of(([{}], {}), protocol=5)
    for form, data in (("template", arguments), ("pickled", pickled)):
        request = {"type": "run", "function": "builtins.len", "context": {}, "payloads": []}
        request["arguments"] = {"form": form, "segments": [len(data)], "part": 0}
        outcome = perform(*decode(encode(request, (data,))[4:]), [])
        outcome.header.update(cost_since(resource.getrusage(resource.RUSAGE_SELF)))
        outcome.frame()


def cost_since(before):
    """CPU time and memory of this process and of the children that it waited for, as the kernel counts them."""
    own, waited_for = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime
    return {
        "cpu_seconds": cpu_seconds + waited_for.ru_utime + waited_for.ru_stime,
        "max_rss_bytes": max(own.ru_maxrss, waited_for.ru_maxrss) * RSS_UNIT,
    }


def perform(header, parts, memories, channel=None):
    """Run the requested function; the outcome, ready to be sent, whatever happened."""
    try:
        if header["type"] == "inspect":
            return pack({"type": "outcome", "status": "completed"}, inspect(header, parts, memories))
        function = find_function(header["function"])
        args, kwargs = load_arguments(header, parts, memories)
        if takes_context(function):
            args = [Context(header["context"], channel), *args]
        run = call
        if "debug" in header:
            from . import debugging

            run = debugging.debugger(header, memories, channel)
        result = run(function, args, kwargs)
        outcome = pack({"type": "outcome", "status": "completed"}, result)
        if "expected" in header:
            compare(outcome, header["expected"], parts, memories)
        return outcome
    except BaseException as error:  # SystemExit and KeyboardInterrupt of a step end the step, nothing else
        outcome = Outgoing({"type": "outcome", "status": "failed"})
        if issubclass(type(error), SystemExit):  # isinstance asks the exception itself, which may be hostile
            outcome.is_exit = True
            code = BaseException.__getattribute__(error, "code")
            outcome.exit_code = code if type(code) is int else int(code is not None)
        outcome.add(tell(error))
        return outcome


def inspect(header, parts, memories):
    """What of the recorded state does not fit this code, as plain data."""
    from . import inspection

    first, _ = segments_of(header["arguments"], parts, memories)
    payloads = Payloads(header["payloads"], parts, memories)
    return inspection.inspect(read_json(first.read()), payloads)


def compare(outcome, expected, parts, memories):
    """Add to an outcome how it compares with the recorded one."""
    old, old_buffers = segments_of(expected, parts, memories)
    new, new_buffers = segments_of(outcome.header["body"], outcome.parts, outcome.memories)
    found = []
    same_bytes = old.read() == new.read() and old_buffers == new_buffers
    if not same_bytes:
        from . import comparison

        try:
            # Both as they are after the journey: what pickle does not keep was lost to the recorded one too.
            values = [load_again(*one) for one in (("recorded", old, old_buffers), ("replayed", new, new_buffers))]
        except ArgumentNotLoadable as error:
            found = [{"path": "result", "recorded": "", "replayed": "", "how": str(error)}]
        else:
            found = comparison.differences(*values, expected["tolerance"])
    text = write_json({"same_bytes": same_bytes, "differences": found})
    outcome.header["comparison"] = outcome.add(text.encode())


def load_again(which, file, buffers):
    file.seek(0)
    try:
        return Unpickler(file, buffers).load()
    except BaseException as error:
        how = "the %s value does not load: %s: %s" % (which, type(error).__name__, safe_text(error))
        raise ArgumentNotLoadable(how) from error
