"""All images, overlays and caches of an origin: see `library.Library`.

- `library`: the public face; `images` and `overlays` are what it does with each.
- `open_image`, `open_bases`: what is open, and what several disks share.
- `catalog`: what is stored and how much space it takes.
- `transfers`: imports that go on after a crash.
- `damage`, `recovery`: damage is noted, and what is intact saved; `recovered_overlays` finds what
  overlays lie over whose records were damaged.
"""
