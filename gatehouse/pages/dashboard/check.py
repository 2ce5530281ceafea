"""The page of checks: the doctor's findings about this machine, and about the public address.

A look takes longer than a browser waits. It is begun by a form, goes on beside the serving, and the page shows how far it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gatehouse.http.paths import DASHBOARD
from gatehouse.pages.dashboard.printable import printable
from gatehouse.records.loggers import logger_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Visit

logger = logger_of("gate.dashboard")

PATH = (DASHBOARD + b"/check").decode()

LOOKS = {"error": "bad", "warning": "warn", "note": "note", "ok": "good"}
"""How a level looks, by its word."""


class Level(Protocol):
    """How bad a finding is: the higher, the worse."""

    @property
    def word(self) -> str: ...
    def __int__(self) -> int: ...


class Finding(Protocol):
    """One thing that the doctor has seen (`gatehouse/doctor/finding.py`)."""

    @property
    def word(self) -> str: ...
    @property
    def level(self) -> Level: ...
    @property
    def seen(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def check(self) -> str: ...


class Result(Protocol):
    """The findings of a look that is over, and when that was."""

    @property
    def at(self) -> float: ...
    @property
    def machine(self) -> Sequence[Finding]: ...
    @property
    def address(self) -> Sequence[Finding]: ...
    @property
    def with_token(self) -> bool: ...


class Doctor(Protocol):
    """Looks at this gate, one look at a time (`gatehouse/doctor/checkup.py`)."""

    @property
    def endpoint(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def began(self) -> float: ...
    @property
    def done(self) -> int: ...
    @property
    def under_way(self) -> Collection[str]: ...
    @property
    def result(self) -> Result | None: ...
    def begin(self, token: str = "") -> bool:
        """Begin a look; False if one is under way. Raises ValueError for a token that nobody could send."""


class Row(NamedTuple):
    """A finding as the page shows it."""

    level: str
    looks: str
    word: str
    check: str
    seen: str
    remedy: str


class CheckPage:
    """The view `show`, and the action `start`."""

    def __init__(self, doctor: Doctor) -> None:
        self._doctor = doctor

    async def show(self, visit: Visit) -> Reply:
        """The last findings, or how far the look under way is."""
        return await self._page(visit)

    async def start(self, visit: Visit, form: Form) -> Reply:
        """Begin a look. A token in the form is for this look alone, and is kept nowhere."""
        token = form.text("token")
        try:
            begun = self._doctor.begin(token)
        except ValueError as error:
            return await self._page(visit, status=400, error=f"The token is no good: {error}.")
        if begun:
            logger.info(
                "%s began a look at this gate, %s a token",
                visit.visitor.name,
                "with" if token else "without",
            )
        return visit.see(
            PATH, "" if begun else "A look was under way already.", is_warning=not begun
        )

    async def _page(self, visit: Visit, *, status: int = 200, error: str = "") -> Reply:
        doctor, result = self._doctor, self._doctor.result
        return await visit.page(
            "check.html",
            status=status,
            error=error,
            endpoint=doctor.endpoint,
            running=doctor.running,
            began=doctor.began,
            done=doctor.done,
            under_way=", ".join(sorted(doctor.under_way)),
            result=result,
            machine=rows_of(result.machine) if result else [],
            address=rows_of(result.address) if result else [],
            command=f"python run.py doctor {doctor.endpoint}",
        )


def rows_of(findings: Sequence[Finding]) -> list[Row]:
    """The findings, the worst first."""
    return [
        Row(
            each.level.word,
            LOOKS[each.level.word],
            "" if each.word == "ok" else each.word,
            each.check,
            printable(each.seen),
            each.remedy,
        )
        for each in sorted(findings, key=lambda each: -int(each.level))
    ]
