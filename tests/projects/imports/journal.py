"""Keeps a file open that its import has opened."""

import os

journal = os.fdopen(os.dup(1), "w", buffering=4096)  # the zygote's log


def note(text):
    os.dup2(1, journal.fileno())
    journal.write(text)
