"""One connection to a DNP3 outstation: its frames go to the master that sent them.

Several masters may share a connection, and a master may move to another one; the newest on which it speaks counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twin.outstations.dnp3_association import Dnp3Association
from twin.protocols.dnp3 import FrameDecoder, LinkEnd
from twin.protocols.dnp3.frames import BROADCAST, SELF_ADDRESS, Frame, Primary
from twin.timebase import NEVER, SimTime

if TYPE_CHECKING:
    from twin.outstations.dnp3 import Dnp3Outstation


class Dnp3OutstationSession:
    """The controlled side of one connection; ``strangers`` counts frames from addresses that are no master here."""

    def __init__(self, outstation: Dnp3Outstation, number: int, now: SimTime) -> None:
        self.number = number
        self.strangers = 0
        self.decoder = FrameDecoder()
        self._outstation = outstation
        self._links: dict[int, LinkEnd] = {}

    @property
    def close_reason(self) -> str:
        for link in self._links.values():
            if link.close_reason:
                return link.close_reason
        return ""

    def begin(self, now: SimTime) -> None:
        """Speak for every master that is not connected otherwise."""
        for association in self._outstation.associations.values():
            if association.link is None:
                self._bind(association, now)

    def _bind(self, association: Dnp3Association, now: SimTime) -> LinkEnd:
        link = self._link(association.master, now)
        association.bind(link, now)
        return link

    def _link(self, master: int, now: SimTime) -> LinkEnd:
        station = self._outstation
        only = len(station.associations) == 1
        link = LinkEnd(station.address, master, master=False, settings=station.settings.link, now=now, watched=only)
        self._links[master] = link
        return link

    def owns(self, association: Dnp3Association) -> bool:
        """Whether a master is reached over this connection."""
        return association.link is not None and association.link is self._links.get(association.master)

    def receive(self, payload: bytes, now: SimTime) -> None:
        for frame in self.decoder.receive(payload):
            self._take(frame, now)

    def _take(self, frame: Frame, now: SimTime) -> None:
        association = self._outstation.associations.get(frame.source)
        broadcast = frame.destination if frame.destination in BROADCAST else None
        if not frame.from_master or (broadcast is None and not self._is_me(frame.destination)):
            return
        if association is None:
            self.strangers += 1
            return
        if broadcast is not None and frame.function != Primary.UNCONFIRMED_DATA:
            return
        link = self._links[frame.source] if self.owns(association) else self._bind(association, now)
        fragment = link.receive(frame, now)
        if fragment is not None:
            association.receive(fragment, now, broadcast)

    def _is_me(self, address: int) -> bool:
        station = self._outstation
        return address == station.address or (address == SELF_ADDRESS and station.settings.self_address)

    def tick(self, now: SimTime) -> None:
        for association in self._mine():
            association.tick(now)

    def _mine(self) -> list[Dnp3Association]:
        associations = self._outstation.associations
        return [associations[master] for master, link in self._links.items() if associations[master].link is link]

    def next_timer(self) -> SimTime:
        if self.close_reason:
            return NEVER
        return min([association.next_timer() for association in self._mine()], default=NEVER)

    def next_urgent(self) -> SimTime:
        return min((association.next_urgent() for association in self._mine()), default=NEVER)

    @property
    def is_urgent(self) -> bool:
        return any(association.is_urgent for association in self._mine())

    def payload_to_send(self) -> bytes:
        for association in self._mine():
            association.is_urgent = False
        if len(self._links) == 1:
            return next(iter(self._links.values())).take()
        return b"".join([link.take() for link in self._links.values()])

    def end(self, now: SimTime) -> None:
        """The connection is gone."""
        for association in self._mine():
            association.unbind(now)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values."""
        links = {str(a.master): self._links[a.master].snapshot() for a in self._mine()}
        return {"number": self.number, "decoder": self.decoder.snapshot(), "links": links}

    def restore(self, state: Mapping[str, Any]) -> dict[int, LinkEnd]:
        """The inverse of :meth:`snapshot`; the data link of each master that is reached here."""
        self.decoder.restore(state["decoder"])
        for master, saved in state["links"].items():
            self._link(int(master), 0).restore(saved)
        return dict(self._links)
