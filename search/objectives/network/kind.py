"""The built-in objective: one of tune's networks learns one of its tasks."""

from __future__ import annotations

from search.objectives.base import Joining, Objective, OpenObjective
from search.records import NETWORK


class NetworkObjective(Objective):
    """Trains networks."""

    name = NETWORK

    def open(self, joining: Joining) -> OpenObjective:
        from search.objectives.network.open_network import open_network

        return open_network(joining)


NETWORK_OBJECTIVE = NetworkObjective()
