"""Which addresses the relay may connect to: public ones, and networks that the operator permits.

Without this a server on the list, or whoever controls its name, could make the service send
requests into the network that it runs in (SSRF).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


# Cloud metadata services, which give credentials to any process. No option permits them.
_METADATA: Final = _networks(
    "169.254.0.0/16",  # link-local: AWS, Azure, Google Cloud, OpenStack
    "fe80::/10",
    "168.63.129.16/32",  # Azure, in public space
    "100.100.100.200/32",  # Alibaba Cloud
    "192.0.0.192/32",  # Oracle Cloud
    "fd00:ec2::254/128",  # AWS
    "fd20:ce::254/128",  # Google Cloud
)
# IANA's registries of special-purpose addresses. Not `is_global`: its meaning changes with Python.
_SPECIAL: Final = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "2001::/23",  # includes Teredo, whose addresses contain IPv4 ones
    "2001:db8::/32",
    "2002::/16",  # 6to4, likewise
    "3fff::/20",
)
# All IPv6 addresses allocated for the internet; loopback, ULA and multicast are not in it.
_GLOBAL_IPV6: Final = _networks("2000::/3")
_NAT64: Final = _networks("64:ff9b::/96")


def is_permitted(text: str, permitted: Sequence[Network] = ()) -> bool:
    """Whether the relay may connect to this address, which the resolver returned.

    An IPv4 address inside an IPv6 one (mapped, RFC 4291 §2.5.5.2; NAT64, RFC 6052) counts as the
    IPv4 address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        address = _inside(address)
    if _is_in(address, _METADATA):
        return False
    if _is_in(address, permitted):
        return True
    if address.version == 6 and not _is_in(address, _GLOBAL_IPV6):
        return False
    return not _is_in(address, _SPECIAL)


def _inside(address: IPv6Address) -> IPv4Address | IPv6Address:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if _is_in(address, _NAT64) else address


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    # An IPv4 address is in no IPv6 network, nor an IPv6 address in an IPv4 one.
    return any(address in network for network in networks)
