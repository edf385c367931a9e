"""The client's address, when requests may come through proxies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

# Stands for every peer on a Unix socket: they have no address.
UNIX: Final = "unix:"


class TrustedProxies:
    """Trusts the proxies in `networks` to name the client; any other peer is the client."""

    def __init__(
        self, networks: Sequence[IPv4Network | IPv6Network | Literal["unix:"]] = ()
    ) -> None:
        self._networks = [network for network in networks if network != UNIX]
        self._unix = len(self._networks) < len(networks)
        self.trusts = lru_cache(4096)(self._trusts)

    def _trusts(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        if address == UNIX:
            return self._unix
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """The nearest address that is not a trusted proxy's (X-Forwarded-For: oldest first).

        An IPv6 client is its /64 network: one machine can use all of its addresses.
        """
        client = peer
        for hop in reversed((forwarded_for or "").split(",")):
            if not self.trusts(client) or _parse(hop.strip()) is None:
                break
            client = hop.strip()
        return _network_of(client)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # How a dual-stack socket reports an IPv4 client.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(4096)
def _network_of(text: str) -> str:
    address = _parse(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return text if address is None else str(address)
