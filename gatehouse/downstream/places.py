"""A bounded number of places: each connection holds one.

A connection has shown a good token if its last request did. As soon as a newcomer needs a place, a connection
that has shown none gives up its own: the longest resting first, then the one with the oldest work under way.
After them comes one that rests with a good token, of the name that has most. Work under way with a good token is
never cut. No address without a good token, and no name among others, holds all places. A name is here a
principal's id, which for a static token is its name: two people may have the same name.

A newcomer has not shown its token yet. Good tokens therefore leave some places to newcomers, and an
address that floods these gives up its own first. Nothing here looks through all connections.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from typing import TYPE_CHECKING, Protocol

from gatehouse.http.address import address_group

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ADDRESS_SHARE = 0.5
"""An address whose requests showed no good token holds no larger part of the places, even if nobody wants them."""

NEWCOMERS_SHARE = 0.125
"""This part of the places is left to newcomers: connections that rest with a good token give way to them,
and no name takes these."""

MAX_NAME_TO_FREE = 3
"""A name may hold at most this many times the places that all names together leave free: three quarters if
it is alone, and less the more names there are."""

MIN_NAME_PLACES, MAX_NAMES_WITH_MIN = 8, 16
"""Each of MAX_NAMES_WITH_MIN names may always hold MIN_NAME_PLACES, or its equal part of fewer places."""


class Guest(Protocol):
    """The holder of a place: a connection."""

    def give_up(self) -> None:
        """End the connection at once."""


Queue = OrderedDict[Guest, None]
"""Guests in the order in which they came; taking out the first or any other takes constant time."""


class Places:
    """Places for at most `max_places` guests. With `by_name`, tokens have names, and none may hold all places."""

    def __init__(self, max_places: int, *, by_name: bool) -> None:
        self.max_places = max_places
        self.held = 0
        """How many places are taken. A place that was given up is free, though its guest is still leaving."""
        self._by_name = by_name
        self._names: dict[Guest, str] = {}  # of guests that have shown a good token
        self._of_name: Counter[str] = Counter()
        self._proven_rest: dict[str, Queue] = defaultdict(OrderedDict)
        self._addresses: dict[Guest, str] = {}  # of the others; empty if unknown
        self._of_address: dict[str, Queue] = defaultdict(OrderedDict)
        self._rest: Queue = OrderedDict()
        self._busy: Queue = OrderedDict()

    def enter(self, guest: Guest, address: str) -> bool:
        """A newcomer takes a place, and another guest may have to go. False if no place can be had.

        `address` is empty behind a front, where it would tell nothing.
        """
        group = address_group(address) if address else ""
        if self.held >= self.max_places and not self.make_room(group):
            return False
        self.held += 1
        self._busy[guest] = None
        self._come_from(guest, group)
        return True

    def prove(self, guest: Guest, name: str) -> bool:
        """The guest has shown a good token of that name. False if the name already holds too many places."""
        before = self._names.get(guest)
        if before == name or (before is None and guest not in self._addresses):
            return True  # a guest without a place was given up, and is leaving
        if not self._may_have_one_more(name):
            return False
        if before is None:
            self._forget_address(guest)
        else:
            self._forget_name(guest)
        self._names[guest] = name
        self._of_name[name] += 1
        return True

    def _may_have_one_more(self, name: str) -> bool:
        if not self._by_name:
            return True
        own = self._of_name[name] + 1
        always = min(MIN_NAME_PLACES, max(1, self.max_places // MAX_NAMES_WITH_MIN))
        free = self.max_places * (1 - NEWCOMERS_SHARE) - len(self._names) - 1
        if own <= max(always, MAX_NAME_TO_FREE * free):
            return True
        if resting := self._proven_rest.get(name):
            self._give_up(next(iter(resting)))
            return True
        return False

    def unprove(self, guest: Guest, address: str) -> None:
        """The guest's last request came from `address`, which may be empty, and showed no good token."""
        if guest in self._names:
            self._forget_name(guest)
            self._busy[guest] = None
        elif guest in self._addresses:
            self._leave_address(guest)
        else:
            return
        group = address_group(address) if address else ""
        self._come_from(guest, group)
        own = self._of_address.get(group, ())
        if len(own) > max(1, self.max_places * MAX_ADDRESS_SHARE):
            self._give_up(next(iter(own)))

    def rests(self, guest: Guest) -> None:
        """The guest has nothing under way."""
        name = self._names.get(guest)
        if name is not None:
            self._proven_rest[name][guest] = None
        elif self._busy.pop(guest, 0) is None:
            self._rest[guest] = None

    def begins(self, guest: Guest) -> None:
        """The guest has a request under way, or has begun to send one."""
        name = self._names.get(guest)
        if name is not None:
            self._end_rest(guest, name)
        elif self._rest.pop(guest, 0) is None:
            self._busy[guest] = None

    def leave(self, guest: Guest) -> None:
        """The guest is gone."""
        if guest in self._names:
            self._forget_name(guest)
        elif guest in self._addresses:
            self._forget_address(guest)
        else:
            return
        self.held -= 1

    def make_room(self, group: str = "") -> bool:
        """Give up a connection for a newcomer of that group of addresses. False if all must stay."""
        guest = next(self._candidates(group), None)
        if guest is None:
            return False
        self._give_up(guest)
        return True

    def _candidates(self, group: str) -> Iterator[Guest]:
        unproven = len(self._addresses)
        own = self._of_address.get(group)
        if own and len(own) * len(self._of_address) > unproven:  # more than its share
            yield next(iter(own))
        # A share of the guests: without a descriptor left, there may be fewer of them than places.
        if unproven > self.held * NEWCOMERS_SHARE or not self._proven_rest:
            yield from self._rest
            yield from self._busy
        if self._proven_rest:
            largest = max(self._proven_rest.values(), key=len)
            yield next(iter(largest))
        yield from self._rest
        yield from self._busy

    def _give_up(self, guest: Guest) -> None:
        self.leave(guest)
        guest.give_up()

    def _forget_name(self, guest: Guest) -> None:
        name = self._names.pop(guest)
        self._of_name[name] -= 1
        if not self._of_name[name]:
            del self._of_name[name]
        self._end_rest(guest, name)

    def _end_rest(self, guest: Guest, name: str) -> None:
        if (queue := self._proven_rest.get(name)) is not None:
            queue.pop(guest, None)
            if not queue:
                del self._proven_rest[name]

    def _come_from(self, guest: Guest, group: str) -> None:
        self._addresses[guest] = group
        if group:
            self._of_address[group][guest] = None

    def _forget_address(self, guest: Guest) -> None:
        self._rest.pop(guest, None)
        self._busy.pop(guest, None)
        self._leave_address(guest)

    def _leave_address(self, guest: Guest) -> None:
        if group := self._addresses.pop(guest):
            queue = self._of_address[group]
            del queue[guest]
            if not queue:
                del self._of_address[group]
