"""Signals reach the program, whatever its main thread does and whatever other code wants them.

Python runs a signal's handler on the main thread, between two steps of the interpreter: too late for a
thread that is stuck in a library, and only if nobody has put another handler there. Each signal therefore
also goes another way, from the handler in C through a pipe (`signal.set_wakeup_fd`) to a thread that waits
for it (`ending`). The handlers in Python only pass the signal on to those that other code has installed:
`Signals.keep_handlers` puts ours in the place of theirs, and theirs behind ours.

-   SIGTERM and SIGINT stop the program, SIGHUP has the tokens file read anew.
-   Others that would end it, among them SIGUSR1 and SIGUSR2, end nothing, unless other code handles them.
-   In a child that a tool forks, signals do what they do to any program.
-   SIGQUIT and the signals of a fault (SIGSEGV, SIGABRT, ...) do what they always do, SIGPIPE does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Theirs = Callable[[int, FrameType | None], object]


def named(*names: str) -> frozenset[int]:
    """The signals of these names that this system has."""
    return frozenset(int(getattr(signal, name)) for name in names if hasattr(signal, name))


STOPPING = named("SIGINT", "SIGTERM")

RELOADING = named("SIGHUP")

IGNORED = named("SIGPIPE", "SIGXFSZ")
"""Signals of failed writes, which return an error anyway. Python starts with these ignored; some programs undo that."""

_LEFT_ALONE = named(
    *("SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"),  # the terminal's business
    *("SIGCHLD", "SIGURG", "SIGWINCH", "SIGINFO"),  # end nothing as they are
    *("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGEMT"),  # faults
    *("SIGQUIT", "SIGXCPU"),  # expressly asked for
)

IDLE = frozenset(map(int, signal.valid_signals())) - STOPPING - RELOADING - IGNORED - _LEFT_ALONE
"""These must have no effect, but without a handler they would end the program."""


def begin() -> None:
    """Handle signals until `Signals` does: a starting program ends at once, and with the right status.

    As PID 1 the kernel would otherwise ignore them, and importing takes long enough for somebody to change
    their mind.
    """
    for signum in STOPPING:
        signal.signal(signum, end_at_once)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:  # so a shell's `&` starts a program
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    for signum in RELOADING | IDLE:
        if signal.getsignal(signum) is signal.SIG_DFL:
            with suppress(OSError, ValueError):  # a signal that the C library keeps for itself
                signal.signal(signum, do_nothing)
    os.register_at_fork(
        before=_forking.begin,
        after_in_parent=_forking.end,
        after_in_child=_forking.end_in_child,
    )


def give_back() -> None:
    """Let signals do what they do to any program, or what other code wants: for commands, and in a child.

    Such a child is a forked worker, which its tool may want to end by a signal. With our handlers the signal
    would end nothing, and the gate would hear of it through the pipe, which both share.
    """
    signal.set_wakeup_fd(-1)
    for signum in STOPPING | RELOADING | IDLE:
        found = signal.getsignal(signum)
        if isinstance(found, Handler) or found in {end_at_once, do_nothing}:
            usual = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            wanted = found.theirs if isinstance(found, Handler) else None
            with suppress(OSError, ValueError):
                signal.signal(signum, wanted or usual)


class _Forking(threading.local):
    """The signals that the forking thread had blocked; all are blocked until the child has given them back."""

    mask: frozenset[int] = frozenset()

    def begin(self) -> None:
        self.mask = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))

    def end(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def end_in_child(self) -> None:
        give_back()
        self.end()


_forking = _Forking()


def end_at_once(_: int, __: FrameType | None) -> None:
    os._exit(0)


def do_nothing(_: int, __: FrameType | None) -> None: ...


class Handler:
    """The gate's handler of a signal. It calls `theirs`, the handler before it.

    Made anew each time, so that code which restores an earlier handler takes its own away with that.
    """

    def __init__(self, signals: Signals, theirs: Theirs | None) -> None:
        self._signals = signals
        self.theirs = theirs

    @property
    def alone(self) -> bool:
        """True if no other code handles the signal."""
        return self.theirs is None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self._signals.keep_pipe(signum)
        if self.theirs is not None:
            with suppress(BaseException):  # mostly SystemExit, but we end in order
                self.theirs(signum, frame)


class Signals:
    """The pipe that signals come through; `keep_handlers` is for the main thread, while Trio runs."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        for end in (self.read_end, self._write_end):
            os.set_blocking(end, False)

    def next(self) -> bytes:
        """The signals that have come, a byte each; empty if there is none."""
        with suppress(BlockingIOError):
            return os.read(self.read_end, 64)
        return b""

    def keep_handlers(self) -> None:
        """Make sure that the handlers are ours, and that signals go into the pipe. Cheap.

        The handlers that stop the program are set even if they seem to be in place: Python does not
        know of a handler that a library has set in C.
        """
        self.keep_pipe()
        for signum in STOPPING | RELOADING:
            found = signal.getsignal(signum)
            if not isinstance(found, Handler):
                found = Handler(self, theirs(found))
            signal.signal(signum, found)
        for signum in IDLE:
            if signal.getsignal(signum) in {signal.SIG_DFL, do_nothing}:
                with suppress(OSError, ValueError):
                    signal.signal(signum, Handler(self, None))
        for signum in IGNORED:
            if signal.getsignal(signum) is signal.SIG_DFL:
                signal.signal(signum, signal.SIG_IGN)

    def ignore_idle(self) -> None:
        """Ignore the signals that end nothing: Python gives them back to the kernel while it takes itself down."""
        for signum in IDLE | RELOADING:
            with suppress(OSError, ValueError):
                signal.signal(signum, signal.SIG_IGN)

    def keep_pipe(self, signum: int = 0) -> None:
        """Make sure that signals go into the pipe; if they did not when `signum` came, put it in."""
        before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        if signum and before != self._write_end:
            with suppress(BlockingIOError):
                os.write(self._write_end, bytes([signum]))


def theirs(found: object) -> Theirs | None:
    """The handler that other code has installed, or None if it is nobody's."""
    if not callable(found) or found in {end_at_once, do_nothing, signal.default_int_handler}:
        return None  # SIG_DFL and SIG_IGN are no functions
    return found


def is_idle(signum: int) -> bool:
    """True if a signal has no handler but ours."""
    found = signal.getsignal(signum)
    return isinstance(found, Handler) and found.alone


def name_of(signum: int) -> str:
    """A signal's name for people."""
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
