"""One person, one app and one provider, before gates that come and go: each gate has the address of the one before."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from tests.harness.identity.app import App
from tests.harness.identity.app_gates import open_to_apps
from tests.harness.identity.app_person import AppPerson
from tests.harness.identity.house import PUBLIC
from tests.harness.identity.openid_provider import openid_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.harness.house import House
    from tests.harness.identity.openid_provider import OpenIDProvider

SESSION = "__Host-gate-session"
"""The name of the cookie of a session."""


class Stage:
    """The cast. `app` answers to a port on the person's computer, and nobody listens there."""

    def __init__(self, provider: OpenIDProvider, stack: ExitStack) -> None:
        self.provider = provider
        self.roads = {PUBLIC: "http://127.0.0.1:9"}
        """Where the gate is really served; it changes with each gate."""
        self._stack = stack
        self.app = self.another_app()
        self.person = self.another_browser()

    def another_app(self, **given: Any) -> App:
        """An app of somebody who has pasted the same URL."""
        return self._stack.enter_context(App(f"{PUBLIC}/mcp", roads=self.roads, **given))

    def another_browser(self) -> AppPerson:
        """A browser that has never been anywhere; the provider decides who sits before it."""
        return self._stack.enter_context(AppPerson(roads=self.roads))

    @asynccontextmanager
    async def gate(self, **settings: Any) -> AsyncIterator[House]:
        """The gate, until the block ends. Alice and Bob may come in, unless the settings say otherwise."""
        async with open_to_apps(self.provider, **settings) as house:
            self.roads[PUBLIC] = house.url
            yield house


@contextmanager
def stage() -> Iterator[Stage]:
    """The cast, until the block ends."""
    with openid_provider() as provider, ExitStack() as stack:
        yield Stage(provider, stack)
