"""The tokens file on the disk: read it whole, and replace it at once.

Readers find the old file or the new one, never half of one, whatever ends this program. Programs that change
the file take turns. Everything that this module makes belongs to the owner of the tokens file, or of its
folder if there is none yet: root may make a token for a gate that runs as somebody else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gatehouse import advice
from gatehouse.errors import FaultsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

MAX_BYTES = 2**20
"""The size of a tokens file: room for some thousand names, and no way to fill the memory."""

MAX_READS = 5
"""How many times a file is read that changes while it is read."""


class TokensError(FaultsError):
    """The tokens file cannot be used. Each fault names its line."""


class MissingError(TokensError):
    """There is no tokens file."""


def read_text(path: Path) -> str:
    """The text of a tokens file, line ends as they are. Raises TokensError."""
    data, _ = read_data(path)
    return as_text(path, data)


def read_data(path: Path) -> tuple[bytes, tuple[int, ...]]:
    """The content of a tokens file, and its stamp: the file's identity, size and dates. Raises TokensError.

    A file that is being written while it is read is read again, MAX_READS times at most.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device may have effects
            raise TokensError(f"TOKENS_FILE: {path} is not a regular file")
        # The path may be a pipe by now, and opening that could take for ever, too.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
            data, stamp = _read_steadily(path, file)
    except FileNotFoundError:
        raise MissingError(f"TOKENS_FILE: {_missing(path)}") from None
    except OSError as error:
        raise TokensError(
            f"TOKENS_FILE: {path} cannot be read ({error.strerror}) by the user of the gate (UID {os.geteuid()})"
        ) from None
    if len(data) > MAX_BYTES:
        raise TokensError(f"{path}: is larger than {MAX_BYTES} bytes")
    return data, stamp


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} for {path.name}; make it, or name another file"
    return f"there is no such file as {path}; this makes it: {advice.add_token()}"


def _read_steadily(path: Path, file: FileIO) -> tuple[bytes, tuple[int, ...]]:
    for _ in range(MAX_READS):
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise TokensError(f"{path}: is not a regular file")
        file.seek(0)
        data = b""
        while len(data) <= MAX_BYTES and (more := file.read(MAX_BYTES + 1 - len(data))):
            data += more
        stamp = _stamp(status)
        if stamp == _stamp(os.fstat(file.fileno())):
            return data, stamp
    raise TokensError(f"{path}: is being written")


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def as_text(path: Path, data: bytes) -> str:
    """The data as text. Raises TokensError if it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TokensError(f"{path}, line {line}: is not UTF-8") from None


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Wait for other programs that change the file, and keep them waiting. Raises OSError.

    The lock is a file of its own, because the tokens file is replaced. The lock file stays, because
    another program may be waiting for it.
    """
    path = f"{target}.lock"
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        descriptor = _open_lock(path, flags)
    else:  # only a file that is new: an old one may be anybody's, by a hard link
        _give_to_owner(descriptor, target)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: str, flags: int) -> int:
    """A lock file that is there. Where files are replaced and never changed, as in a bucket, it opens to be read only,
    and can be locked all the same.
    """
    try:
        return os.open(path, flags)
    except PermissionError as error:
        if error.errno != errno.EPERM:  # EACCES: it is somebody else's
            raise
        return os.open(path, flags & ~os.O_RDWR)


def write(target: Path, data: bytes) -> None:
    """Put a new file in the place of the old one, at once, with its mode and owner. Raises OSError."""
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)  # a killed program may have left it
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _resemble(descriptor, target)
            os.fsync(descriptor)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    # The new name lasts only once the folder is on the disk, too: fsync(2).
    with suppress(OSError):  # the change is made; not every folder can be opened for this
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def expect_to_write(target: Path) -> None:
    """Raise the OSError that a change would meet, as far as that can be told without one."""
    folder, lock = target.parent, target.with_name(f"{target.name}.lock")
    folder.stat()
    _expect(folder, os.W_OK | os.X_OK)
    if lock.exists():
        _expect(lock, os.R_OK | os.W_OK)
    # The new file gets the owner of the old one, which only root can do. In a bucket all files have the folder's owner.
    owners = {os.geteuid(), folder.stat().st_uid}
    if target.exists() and os.geteuid() != 0 and target.stat().st_uid not in owners:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _expect(path: Path, mode: int) -> None:
    by_effective_id = os.access in os.supports_effective_ids
    if not os.access(path, mode, effective_ids=by_effective_id):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))


def _resemble(descriptor: int, target: Path) -> None:
    """Give a new file the owner and mode of the old one, so that its readers can read it."""
    try:
        old = target.stat()
    except FileNotFoundError:
        _give_to_owner(descriptor, target)
        return
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode) & 0o777)


def _give_to_owner(descriptor: int, target: Path) -> None:
    """As root, give a file that we have made to the owner of the target, or of its folder if there is none."""
    if os.geteuid() != 0:
        return
    owner = (target if target.exists() else target.parent).stat()
    with suppress(PermissionError):  # root in a container may lack the right to
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
