"""Events that reach the asyncio loop from outside, as asyncio has them: readers and writers of files, and signals.

Both are parts of `asyncio_loop.BatchLoop`, which runs their callbacks.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
from asyncio.selector_events import BaseSelectorEventLoop
from typing import TYPE_CHECKING, Any

from trio_asyncio._async import TrioEventLoop
from trio_asyncio._handles import ScopedHandle

from gatehouse.process.signals import STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio


class Files(TrioEventLoop):  # type: ignore[misc]  # trio-asyncio has no types
    """Readers and writers."""

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's. Raises PermissionError for a file on a disk."""
        refuse_file(fd)
        BaseSelectorEventLoop.add_reader(self, fd, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's. Raises PermissionError for a file on a disk."""
        refuse_file(fd)
        BaseSelectorEventLoop.add_writer(self, fd, callback, *args)

    def _add_io_handler(
        self, set_handle: Any, wait_ready: Any, fd: Any, callback: Any, args: Any
    ) -> Any:
        self._check_closed()
        handle = ScopedHandle(callback, args, self)
        former = set_handle(fd, handle)
        if former is not None:
            former.cancel()
        self._in_own_thread(self._start_io_task, fd, handle, wait_ready)
        return handle

    def _start_io_task(self, fd: Any, handle: Any, wait_ready: Any) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._io_task, fd, handle, wait_ready)

    def _trio_io_cancel(self, cancel_scope: trio.CancelScope) -> None:
        self._in_own_thread(cancel_scope.cancel)

    async def _io_task(self, fd: Any, handle: Any, wait_ready: Any) -> None:
        """Call a reader or writer, in asyncio's own surroundings, whenever its file is ready."""
        with handle._scope:  # noqa: SLF001
            try:
                while not handle.cancelled():
                    await wait_ready(fd)
                    library = self._enter()
                    try:
                        self._run(handle)
                    finally:
                        self._leave(library)
                    await self.synchronize()
            except Exception as error:  # noqa: BLE001 - as trio-asyncio does
                if not handle.cancelled():  # else somebody may have rightly closed it
                    handle._raise(error)  # noqa: SLF001


class Signals(TrioEventLoop):  # type: ignore[misc]
    """Handlers of signals. asyncio's own need the wakeup descriptor, which is Trio's."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """As asyncio's: raises TypeError, ValueError, or RuntimeError if the signal cannot be caught, or not here."""
        if asyncio.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            before = signal.signal(sig, self._handle_sig)
        except ValueError as error:  # another thread
            raise RuntimeError(str(error)) from None
        except OSError:
            raise RuntimeError(f"sig {sig} cannot be caught") from None
        signal.siginterrupt(sig, False)
        self._orig_signals.setdefault(sig, before)
        self._signal_handlers[sig] = asyncio.Handle(callback, args, self)

    def remove_signal_handler(self, sig: int) -> bool:
        """As asyncio's, except that the signal goes to its earlier handler, which may be the gate's."""
        self._check_signal(sig)
        removed: bool = super().remove_signal_handler(sig)
        return removed

    def _handle_sig(self, sig: int, frame: Any) -> None:
        handle, before = self._signal_handlers.get(sig), self._orig_signals.get(sig)
        if handle is not None and self._token is not None:
            self._add_callback_signalsafe(handle)
        if callable(before) and sig in STOPPING:  # these end the program, whoever else handles them
            before(sig, frame)


def refuse_file(fd: Any) -> None:
    """Raise PermissionError for anything but a socket, pipe or device, as the kernel's epoll does."""
    number = fd if isinstance(fd, int) else fd.fileno()
    if number >= 0 and stat.S_ISREG(os.fstat(number).st_mode):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
