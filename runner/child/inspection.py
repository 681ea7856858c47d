"""Tells whether what is recorded of a run fits this code: its values load, its functions are there, arguments bind.

Loaded ahead when a check may ask for it; run by Python 3.9 to 3.14, standard library alone. It runs
in the candidate's own environment, where the classes are. Nothing of the run is called: what user code runs here is
that of imports and of unpickling.

`inspect` returns {"findings", "shapes"}. A finding is {"step", "verdict", "detail", "doubt"}, where verdict is one of
"candidate does not import", "step missing", "state will not load", "signature". One with a doubt is of a kind that
sound code may give too: it is one if the code that the run has had until now does not give the same.
"""

import inspect as _inspect
import re
import types

from .annotations import UNKNOWN
from .binding import mistyped, signature_of
from .decorators import hands_on_alone, layers
from .fitness import Fitness
from .functions import FunctionNotFound, find_function, imported, takes_context
from .names import is_said, missing_from
from .project import PYTHON
from .readings import unread
from .templates import Scope, look_up, paths_in, render


def inspect(template, payloads):
    """Findings on all steps of `template`: {"steps", "scope", "results", "parts", "pending", "look_into",
    "code_alone"}.

    `results` and `parts`, of steps, are recorded values by name; a step says in "uses" which of them it needs, and in
    "done" what ctx.step has recorded of it. The objects of those in `look_into` are compared with their classes.
    "shapes" are told by value, and in it by class: see shapes.py. `code_alone`: what holds for every run, which is
    whether the functions find what they name.
    """
    if template["code_alone"]:
        return {"findings": [found for step in template["steps"] for found in faults_of_code(step)], "shapes": {}}
    scope = Scope(template["scope"], template["results"], payloads)
    # The worker's variables are not ours.
    scope.names.update(dict.fromkeys([*template["pending"], "ENV"], UNKNOWN))
    findings, shapes = [], {}
    unsound = set()
    values = {**template["results"], **template["parts"]}
    for name, index in values.items():
        shown = name if name in template["parts"] else "{{%s}}" % name
        faults, shapes[name] = faults_of_value(payloads, index, name in template["look_into"])
        for where, what, is_doubt in faults:
            if not is_doubt:
                unsound.add(name)
            findings += [
                {
                    "step": step["key"],
                    "verdict": "state will not load",
                    "detail": "%s%s %s" % (shown, where, what),
                    "doubt": "%s %s" % (shown, what) if is_doubt else None,
                }
                for step in template["steps"]
                if name in step["uses"]
            ]
    for step in template["steps"]:
        findings += parts_not_named(step)
        verdict, detail, is_doubt = fault_of_step(step, scope)
        # What does not load is said already.
        if verdict and (verdict != "state will not load" or unsound.isdisjoint(step["uses"])):
            doubt = detail if is_doubt else None
            findings.append({"step": step["key"], "verdict": verdict, "detail": detail, "doubt": doubt})
    return {"findings": findings, "shapes": shapes}


def parts_not_named(step):
    """Findings on what ctx.step has recorded of a step under names that the code does not use, and would do again."""
    if step["done"]:
        faults_of_code(step)  # which imports what the function imports when it is called
    names = dict.fromkeys(re.sub(r"#\d+$", "", name) for name in step["done"])
    told = ["ctx.step(%r) is recorded, and nothing is called %r now: it would be done again" % (name, name)
            for name in names if not is_said(name)]  # fmt: skip
    return [{"step": step["key"], "verdict": "step missing", "detail": words, "doubt": words} for words in told]


def faults_of_value(payloads, index, is_looked_into):
    """([where, what, whether that is a doubt], shapes) of a recorded value."""
    try:
        value = payloads.load(index)
    except BaseException as error:
        cause = error.__cause__ or error
        return [("", "does not load: %s: %s" % (type(cause).__name__, text_of(cause)), False)], {}
    if not is_looked_into:
        return [], {}
    python, here = (".".join(of.split(".")[:2]) for of in (payloads.headers[index]["python"], PYTHON))
    try:
        fitness = Fitness(python if python != here else None, payloads.names)
        fitness.look_into(value)
    except BaseException as error:
        return [("", "cannot be looked into: %s: %s" % (type(error).__name__, text_of(error)), True)], {}
    return [(where, what, True) for what, where in fitness.faults.items()], fitness.shapes


def faults_of_code(step):
    """Findings on what the function of a step names; that it is there itself is told of each run."""
    try:
        function = find_function(step["function"])
    except BaseException:
        return []
    faults = [(verdict, words, words) for verdict, words in missing_from([function])]
    return [{"step": step["function"], "verdict": told[0], "detail": told[1], "doubt": told[2]} for told in faults]


def fault_of_step(step, scope):
    """(verdict, detail, whether that is a doubt): the first thing that is wrong with a step, or None, "", False."""
    name = step["function"]
    try:
        function = find_function(name)
    except FunctionNotFound as error:
        return "step missing", text_of(error), False
    except BaseException as error:
        # Of a method the module may be fine, and its class takes what nobody gives.
        is_there = ":" in name and imported(name.partition(":")[0]) is not None
        detail = "%s: %s: %s" % (name, type(error).__name__, text_of(error))
        return "signature" if is_there else "candidate does not import", detail, False
    try:
        templates = [step["args"], step["kwargs"]]
        args = render(step["args"], scope)
        kwargs = render(step["kwargs"], scope)
        given = [(path, unfit_for_template(look_up(path, scope), is_whole)) for path, is_whole in paths_in(templates)]
    except BaseException as error:
        return "state will not load", text_of(error), False
    for path, what in given:
        if what:
            return "state will not load", "%s is given %s, where {{%s}} stands" % (name, what, path), True
    for called, is_doubt in ((function, False), (_inspect.unwrap(function), True)):
        if is_generator(called):
            return "signature", "%s yields: a generator cannot be recorded as a result" % name, is_doubt
    if takes_context(function):
        args = [UNKNOWN, *args]
    return fault_of_call(name, function, args, kwargs)


def fault_of_call(name, function, args, kwargs):
    """As `fault_of_step`, of a call with these arguments."""
    # A decorator may add something, or take something away: what does not bind behind one did so until now.
    is_told, is_as_given = False, True
    for number, layer in enumerate(layers(function, args, kwargs)):
        if number and is_generator(layer.function):
            return "signature", "%s yields: a generator cannot be recorded as a result" % name, True
        signature = signature_of(layer.function)
        if signature is None:
            continue
        is_told = True
        try:
            bound = signature.bind(*layer.args, **layer.kwargs)
        except TypeError as error:
            return "signature", "%s%s: %s" % (name, signature, error), number > 0
        unfit = mistyped(layer.function, bound) if layer.is_passed_on else None
        if unfit is not None:
            return "signature", "%s is given a %s that is a %s, and says %s now" % (name, *unfit), True
        own = getattr(function, "__self__", UNKNOWN)
        given = {key: value for key, value in bound.arguments.items() if value is not own}
        lacks = unread(layer.function, given) if layer.is_passed_on and is_as_given else ""
        if lacks:
            return "signature", lacks, True
        is_as_given = is_as_given and hands_on_alone(layer.function)
    if not is_told:
        return "signature", "%s does not tell what it takes" % name, False
    return None, "", False


def unfit_for_template(value, is_whole):
    """What a value is that a template rarely means: what was a property may be a method now."""
    kind = type(value)
    if isinstance(value, types.MethodType):
        return "the method %s" % getattr(value, "__name__", "of a %s" % type(value.__self__).__name__)
    if not is_whole and kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return "no text but the address of a %s" % kind.__qualname__
    return ""


def is_generator(function):
    return _inspect.isgeneratorfunction(function) or _inspect.isasyncgenfunction(function)


def text_of(error):
    try:
        return str(error)[:1000]
    except BaseException as failure:
        return "<its message cannot be shown: %s>" % type(failure).__name__
