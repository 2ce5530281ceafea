"""A stand-in for a server that the gate asks, without a socket: it answers as a test says, and remembers what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from gatehouse.http.asked import Asked, AskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatehouse.http.fields import Headers


class Question(NamedTuple):
    """A question as it came. A GET has no form."""

    url: str
    form: Mapping[str, str]
    fields: Headers


class FakeAsk:
    """Answers each question with what `answer` returns for it: a document, or a whole answer. It may raise AskError.

    `seconds` is how long each answer takes, by Trio's clock.
    """

    def __init__(
        self,
        answer: Callable[[Question], Asked | Mapping[str, Any]] | None = None,
        *,
        seconds: float = 0.0,
    ) -> None:
        self.answer = answer or (lambda _: Asked(404, [], {}))
        self.seconds = seconds
        self.questions: list[Question] = []
        self.under_way = self.most_under_way = 0

    @property
    def urls(self) -> list[str]:
        """The URLs that were asked, in their order; forgotten when they have been looked at."""
        urls = [question.url for question in self.questions]
        self.questions.clear()
        return urls

    async def get_json(self, url: str, fields: Headers | None = None) -> Asked:
        return await self._answered(Question(url, {}, fields or []))

    async def post_form(self, url: str, form: Mapping[str, str], fields: Headers) -> Asked:
        return await self._answered(Question(url, form, fields))

    async def _answered(self, question: Question) -> Asked:
        self.questions.append(question)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.sleep(self.seconds)
            answer = self.answer(question)
        finally:
            self.under_way -= 1
        return answer if isinstance(answer, Asked) else Asked(200, [], answer)


def down(_: Question) -> Asked:
    """The answer of a server that is away."""
    raise AskError("nobody listens there")
