"""The memory of this program: what stays, what the garbage collector looks at, what goes back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

COLLECTOR = 4000, 1, 100
"""So many more objects made than gone let the garbage collector look at the youngest, each second time at all
young ones, and the hundredth such time at all. A look takes 0.4 µs for each object, and 2,000 connections have
100,000 of them; with these figures the looks that are not rare take 3 ms at the most."""

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE_BYTES = 128 * 1024
"""Pieces of this size go back to the system as soon as they are free. It is where glibc starts from, too; but
the first free megabytes make it keep pieces of up to 32 MiB, in a heap that is full of holes: after 60 answers
of 6 MB at a time, the process stayed at up to 590 MB, and now it returns to 130."""


def settle_memory() -> None:
    """Spare the garbage collector what has been made to stay: an eighth of a call's time.

    Once everything is imported, some 300,000 objects stay until the end, and looking through them again
    and again finds nothing. What a request makes is mostly gone without the collector; so it looks less
    often, too. See the documentation of `gc.freeze`.
    """
    return_large_pieces()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)


def return_large_pieces() -> None:
    """Let memory that many large bodies or answers took go back once they are over."""
    with suppress(Exception):  # a C library without it
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
