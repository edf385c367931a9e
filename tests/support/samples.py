"""Images that tests serve and know the bytes of."""

from __future__ import annotations

from aero_browser_disk.testing.synthetic_image import SyntheticImage

IMAGE = SyntheticImage(size=3 * 1024 * 1024, seed=1)
