"""The page of tokens: who has one, what each may do, which values can go; and the forms that make, rotate and revoke.

It uses the actions of the command line, and its words. A new value is in the answer to the form that asked for it, and
nowhere else. Such a form does nothing when it is sent again: a name is made once, and a new value is made only beside the
values that the page has shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatehouse.pages.dashboard.new_value import new_value_page
from gatehouse.pages.dashboard.token_file import StalledError, TokenFile
from gatehouse.pages.dashboard.token_forms import MakeForm, RotateForm, name_in, value_in
from gatehouse.pages.dashboard.token_page import HERE, TokenPage, now_to_the_second
from gatehouse.pages.snippets import slug
from gatehouse.records.loggers import logger_of
from gatehouse.tokens import issue
from gatehouse.tokens.editor import NotChangedError, make_file
from gatehouse.tokens.file import TokensError
from gatehouse.tokens.issue import WrongTimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import TypeVar

    from gatehouse.http.reply import Reply
    from gatehouse.pages.dashboard.forms import Form
    from gatehouse.pages.dashboard.visit import Action, View, Visit
    from gatehouse.tokens.contents import Contents
    from gatehouse.tokens.issue import Issued

    T = TypeVar("T")

logger = logger_of("gate.dashboard")

AGAIN = (
    "If you have reloaded the page of a new value: nothing was made a second time. A value is shown once; if it is lost, "
    "rotate the token, which makes another one."
)
"""Said where a form seems to have been sent twice."""

UNSURE = "Nobody knows yet whether this was done: it may still happen. Look at the list before you try again."
"""Said where somebody waits no longer."""


COPIES = "A tokens.toml that you have downloaded before still has it: download it again, and throw that away."
"""Said after a revocation, where the file itself does not last, and copies take its place."""


class RefusedError(Exception):
    """Nothing was changed, or nobody knows: the sentences for the page, its status, and the field that is wrong, if one is."""

    def __init__(self, *words: str, status: int = 409, field: str = "") -> None:
        super().__init__(" ".join(words))
        self.words, self.status, self.field = words, status, field


class Tokens:
    """The views and the actions of the page.

    `path` is the tokens file, there or still to be made; `parse` makes contents of its text, and `in_force` tells those in
    force. `changed` has the file read at once. `uses` tells when values were last used in this run, by their digests, and
    `state_db` is the record of earlier uses. `shared` is the digest of MCP_AUTH_TOKEN, empty without one. Clients call the
    URL `endpoint`; with `url_keys`, a token may come in it. `server` tells the server's own name. `aside` is another
    tokens file that is there, and not in force.
    """

    def __init__(
        self,
        path: Path,
        *,
        parse: Callable[[str], Contents],
        in_force: Callable[[], Contents],
        changed: Callable[[], None],
        uses: Callable[[], Mapping[bytes, float]],
        state_db: Path | None,
        shared: bytes,
        endpoint: str,
        url_keys: bool,
        server: Callable[[], str],
        in_space: bool,
        aside: Path | None = None,
    ) -> None:
        self._file = TokenFile(
            path, parse=parse, in_force=in_force, changed=changed, in_space=in_space
        )
        self._page = TokenPage(
            self._file,
            uses=uses,
            state_db=state_db,
            shared=shared,
            url_keys=url_keys,
            aside=aside,
        )
        self._endpoint = endpoint
        self._url_keys = url_keys
        self._server = server

    @property
    def views(self) -> dict[bytes, View]:
        """The pages by their paths."""
        return {HERE.encode(): self._page.show, f"{HERE}.toml".encode(): self._page.download}

    @property
    def actions(self) -> dict[bytes, Action]:
        """The changes by their paths."""
        return {
            f"{HERE}/{name}".encode(): action
            for name, action in (
                ("make-file", self._make_file),
                ("make", self._make),
                ("rotate", self._rotate),
                ("revoke", self._revoke),
            )
        }

    async def _make_file(self, visit: Visit, _: Form) -> Reply:
        try:
            await self._change(visit, ("make", "made"), "the tokens file", make_file)
        except RefusedError as error:
            return await self._refused(visit, error)
        return visit.see(HERE, f"{self._file.path}: is there now.")

    async def _make(self, visit: Visit, form: Form) -> Reply:
        wanted, now = MakeForm(form, url_keys=self._url_keys), now_to_the_second()
        token = wanted.token
        if token is None:
            _tell_failure(visit, "make a token", "; ".join(wanted.summary))
            return await self._page.page(visit, status=422, make=wanted)
        times = {"not_before": wanted.not_before, "expires": wanted.expires}
        try:
            issued = await self._change(
                visit,
                ("make", "made"),
                f"the token {token.name}",
                lambda path: issue.make(path, token, now, **times),
                field="name",
            )
        except RefusedError as error:
            return await self._refused(visit, error, make=wanted)
        return await self._show(visit, issued)

    async def _rotate(self, visit: Visit, form: Form) -> Reply:
        wanted, now = RotateForm(form), now_to_the_second()
        overlap = wanted.overlap
        if overlap is None or wanted.errors:
            _tell_failure(visit, f"rotate the token {wanted.name}", "; ".join(wanted.summary))
            return await self._page.page(visit, status=422, rotate=wanted)
        try:
            issued = await self._change(
                visit,
                ("rotate", "rotated"),
                f"the token {wanted.name}",
                lambda path: issue.rotate(
                    path,
                    wanted.name,
                    now,
                    overlap=overlap,
                    expires=wanted.expires,
                    newest=wanted.newest,
                ),
            )
        except RefusedError as error:
            return await self._refused(visit, error, rotate=wanted)
        return await self._show(visit, issued)

    async def _revoke(self, visit: Visit, form: Form) -> Reply:
        name, value_id = name_in(form), value_in(form)
        which = f"the value {value_id}" if value_id else "the token"
        about = f"{which} of {name}" if value_id else f"{which} {name}"
        try:
            await self._change(
                visit, ("revoke", "revoked"), about, lambda path: issue.revoke(path, name, value_id)
            )
        except RefusedError as error:
            return await self._refused(visit, error)
        said = f"{name}: {which} is revoked; the gate refuses it within a second."
        return visit.see(HERE, f"{said} {COPIES}" if self._file.is_of_space else said)

    async def _change(
        self,
        visit: Visit,
        does: tuple[str, str],
        about: str,
        act: Callable[[Path], T],
        *,
        field: str = "",
    ) -> T:
        """Let `act` change the file; returns what that does, or raises RefusedError. `does` says it in two forms.

        `field` is the one that is wrong if there is something in the way. The thread itself tells the log when it is done,
        for it may end when nobody waits any more.
        """

        def acting(path: Path) -> T:
            result = act(path)
            logger.info("%s %s %s", visit.visitor.name, does[1], about)
            return result

        try:
            return await self._file.change(acting)
        except WrongTimeError as error:
            refused = RefusedError(error.words, status=422, field=error.key)
        except NotChangedError as error:
            again = () if does[0] == "revoke" else (AGAIN,)
            refused = RefusedError(error.words, *again, field=field)
        except TokensError as error:
            refused = RefusedError(*error.faults)
        except StalledError as error:
            refused = RefusedError(f"{error}. {UNSURE}", status=503)
        why = (words for words in refused.words if words != AGAIN)  # which is for the person
        _tell_failure(visit, f"{does[0]} {about}", "; ".join(why))
        raise refused from None

    async def _refused(
        self,
        visit: Visit,
        error: RefusedError,
        *,
        make: MakeForm | None = None,
        rotate: RotateForm | None = None,
    ) -> Reply:
        """The page again, with what is wrong, and with what was typed."""
        form, words = make or rotate, [*error.words]
        if form is not None and error.field:
            form.errors[error.field] = words.pop(0)
        return await self._page.page(
            visit, status=error.status, errors=words, make=make, rotate=rotate
        )

    async def _show(self, visit: Visit, issued: Issued) -> Reply:
        return await new_value_page(
            visit,
            issued,
            now_to_the_second(),
            endpoint=self._endpoint,
            key=slug(self._server()),
            url_keys=self._url_keys,
            is_of_space=self._file.is_of_space,
        )


def _tell_failure(visit: Visit, wish: str, why: str) -> None:
    logger.warning("%s could not %s: %s", visit.visitor.name, wish, why)
