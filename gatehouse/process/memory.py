"""The memory of this program: settle the objects that stay, and return large pieces to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

COLLECTOR = 4000, 1, 100
"""The collector runs once this many more objects have been created than freed: it looks at the youngest, each
second time at all young ones, and the hundredth such time at all. A look takes 0.4 µs for each object, and
2,000 connections have 100,000 of them; with these figures, all but the rare looks take 3 ms at most."""

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE_BYTES = 128 * 1024
"""Pieces of this size go back to the system as soon as they are free. glibc starts with the same size, but
raises it to as much as 32 MiB with the first free megabytes, and keeps smaller pieces in a heap full of holes:
after 60 answers of 6 MB at a time, the process stayed at up to 590 MB, and now it returns to 130."""


def settle_memory() -> None:
    """Spare the garbage collector the objects that stay: this saves an eighth of a call's time.

    Once everything is imported, some 300,000 objects stay until the end, and looking through them again
    and again finds nothing. Most objects of a request go without the collector, so it also looks less
    often. See the documentation of `gc.freeze`.
    """
    return_large_pieces()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)


def return_large_pieces() -> None:
    """Let the memory of many large bodies or answers go back once they are over."""
    with suppress(Exception):  # a C library without it
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
