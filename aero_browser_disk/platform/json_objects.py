"""Objects of untrusted JSON documents."""

from typing import Any


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate names, as readers differ in which of two they use.

    For `json.loads(…, object_pairs_hook=…)`; raises `ValueError`.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found
