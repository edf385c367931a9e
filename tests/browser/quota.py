"""A storage with little free space, as Chromium can be told to have."""

from __future__ import annotations

from playwright.sync_api import Page


def usage(page: Page) -> int:
    """Bytes that the page's origin has in its storage; the kept memory snapshot counts too."""
    return int(page.evaluate("async () => (await navigator.storage.estimate()).usage"))


def leave_space(page: Page, free_bytes: int | None) -> int:
    """Limits the origin of the page to `free_bytes` more than it has; None removes the limit.

    `free_bytes` may be negative. Returns the quota.
    """
    session = page.context.new_cdp_session(page)
    origin = page.evaluate("location.origin")
    quota = {} if free_bytes is None else {"quotaSize": usage(page) + free_bytes}
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, **quota})
    return quota.get("quotaSize", 0)
