"""A storage with little room, as Chromium can be told to have."""

from __future__ import annotations

from playwright.sync_api import Page


def usage(page: Page) -> int:
    """Bytes that the page's origin has in its storage; the kept memory snapshot counts too."""
    return int(page.evaluate("async () => (await navigator.storage.estimate()).usage"))


def leave_room(page: Page, room: int | None) -> int:
    """Lets the origin of the page take `room` bytes more than it has, or as usual if None.

    `room` may be negative. Returns the quota.
    """
    session = page.context.new_cdp_session(page)
    origin = page.evaluate("location.origin")
    quota = {} if room is None else {"quotaSize": usage(page) + room}
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, **quota})
    return quota.get("quotaSize", 0)
