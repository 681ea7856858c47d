"""The attributes that the constructors of a class give to every instance, read from their bytecode.

Run by Python 3.9 to 3.14, standard library alone.
"""

import dis

AFTER_INIT = ("__init__", "__post_init__", "__attrs_post_init__", "model_post_init")


def set_by_init(kind):
    """The attributes that the constructors of a class give to every instance."""
    names = []
    for method in AFTER_INIT:
        for base in kind.__mro__:
            code = getattr(vars(base).get(method), "__code__", None)
            if code is not None and code.co_argcount:
                names += set_by(code, kind)
                if method not in code.co_names:
                    break  # it does not call those of the classes above
    return names


def set_by(code, kind, seen=()):
    """The attributes of its first parameter that a function sets whatever happens, in the order of the bytecode.

    Also those that methods of `kind` set which it calls; `seen`: their codes, and those of their callers.
    """
    names, depends_until = [], 0
    before = on_self = None  # the last instruction, and the one that was before it if it has put `self` on the stack
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        depends = instruction.offset < depends_until
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            depends_until = max(depends_until, name)  # what is jumped over may not happen
        elif instruction.opname.startswith("RETURN"):
            break  # what follows is not reached always, or handles exceptions
        elif on_self and not depends:
            by_name = instruction.opname == "LOAD_CONST" and on_self.argval in ("setattr", "__setattr__")
            if by_name or instruction.opname == "STORE_ATTR":
                names.append(name)
            elif instruction.opname in ("LOAD_METHOD", "LOAD_ATTR"):
                called = getattr(getattr(kind, name, None), "__code__", None)
                if called is not None and called.co_argcount and called not in (code, *seen):
                    names += set_by(called, kind, (code, *seen))
        loads = instruction.opname.startswith("LOAD_FAST") and last_of(name) == code.co_varnames[0]
        on_self, before = before if loads else None, instruction
    return names


def last_of(name):
    return name[-1] if isinstance(name, tuple) else name  # from 3.13 on one instruction may load two
