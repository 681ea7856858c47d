"""What arrays and frames hold, for a comparison: numpy's and pandas', where a version has them."""

import sys

from .decomposition import Parts, plainly_same


def parts_of(value):
    """The parts of a value of numpy or pandas, or None for any other."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    kind = type(value)
    if hasattr(pandas, "DataFrame"):  # all of it is there, and not just being imported
        if issubclass(kind, pandas.DataFrame):
            return parts_of_frame(value)
        if issubclass(kind, pandas.Series):
            return Parts(kind, {**extras_of(value), ".name": value.name, ".index": value.index, "": contents_of(value)})
        if issubclass(kind, pandas.Index):
            named = {".names": list(value.names), ".dtype": str(value.dtype), ".freq": getattr(value, "freqstr", None)}
            return Parts(kind, {**named, "": list(value) if value.nlevels > 1 else contents_of(value)})
        if issubclass(kind, pandas.Categorical):
            named = {".codes": value.codes, ".categories": value.categories, ".ordered": value.ordered}
            return Parts(kind, named)
        if issubclass(kind, pandas.api.extensions.ExtensionArray):
            named = {".dtype": str(value.dtype)}
            if value.dtype.kind in "mM":  # a zone is in the dtype
                times = value.asi8.view("%s8[%s]" % (value.dtype.kind, getattr(value, "unit", "ns")))
                return Parts(kind, named, array=times)
            return Parts(kind, named, listed=list(value))
    if hasattr(numpy, "ndarray"):
        if issubclass(kind, numpy.dtype):
            return Parts((kind, repr(value)))
        if issubclass(kind, numpy.generic) and value.dtype.kind != "V":
            return Parts(kind, array=numpy.asarray(value))
        if issubclass(kind, numpy.ma.MaskedArray):
            named = {".mask": numpy.asarray(value.mask), ".fill_value": value.fill_value}
            return Parts(kind, named, array=numpy.asarray(value.data))
        if issubclass(kind, numpy.ndarray) and kind.__reduce__ is numpy.ndarray.__reduce__:
            return Parts(kind, array=value.view(numpy.ndarray))
    return None


def parts_of_frame(frame):
    columns = frame.columns
    contents = [contents_of(frame.iloc[:, position]) for position in range(len(columns))]
    named = {**extras_of(frame), ".index": frame.index, ".columns.names": list(columns.names)}
    if columns.is_unique:
        named[".columns.dtype"] = str(columns.dtype)
        return Parts(type(frame), named, pairs=list(zip(columns, contents)))
    return Parts(type(frame), {**named, ".columns": columns}, listed=contents)


def extras_of(frame):
    """What a user or a subclass has put on a frame or series besides its contents."""
    names = [name for name in type(frame)._metadata if name != "name"]
    found = {".%s" % name: getattr(frame, name, None) for name in names}
    return {**found, ".attrs": frame.attrs, ".flags": frame.flags.allows_duplicate_labels}


def contents_of(series):
    """As an array of numpy where that is what pandas keeps: others are taken item by item."""
    numpy = sys.modules["numpy"]
    return (
        series.to_numpy() if isinstance(series.dtype, numpy.dtype) and series.dtype.kind not in "mM" else series.array
    )


def differences(old, new, tolerance):
    """Yields (path, recorded, replayed) of the places where two arrays differ, or, in one of objects, may differ."""
    numpy = sys.modules["numpy"]
    if old.dtype != new.dtype:
        yield ".dtype", str(old.dtype), str(new.dtype)
    elif old.shape != new.shape:
        yield ".shape", old.shape, new.shape
    elif old.dtype.names:
        for name in old.dtype.names:
            for path, *pair in differences(old[name], new[name], tolerance):
                yield ("[%r]%s" % (name, path), *pair)
    else:
        keep = old.dtype.kind in "OmM"  # a time in nanoseconds is a mere number to Python
        for index in map(tuple, numpy.argwhere(~alike(old, new, tolerance)).tolist()):
            pair = old[index], new[index]
            yield (str(list(index)) if index else "", *(pair if keep else (item.item() for item in pair)))


def alike(old, new, tolerance):
    """Where two arrays of one type and shape are the same."""
    numpy = sys.modules["numpy"]
    kind = old.dtype.kind
    if kind == "O":
        pairs = zip(old.ravel().tolist(), new.ravel().tolist())
        return numpy.array([plainly_same(*pair) for pair in pairs], bool).reshape(old.shape)
    if kind == "c":
        return alike(old.real, new.real, tolerance) & alike(old.imag, new.imag, tolerance)
    if kind == "f":
        nan = numpy.isnan(old) & numpy.isnan(new)
        if tolerance:
            return nan | numpy.isclose(new, old, rtol=tolerance, atol=tolerance)
        return nan | ((old == new) & (numpy.signbit(old) == numpy.signbit(new)))
    if kind in "mM":
        return numpy.asarray(old.view("i8") == new.view("i8"))  # not a time is not equal to itself
    return numpy.asarray(old == new)
