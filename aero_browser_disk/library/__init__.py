"""All images, overlays and caches of an origin: see `library.Library`.

- `library`: the public face; `images` and `overlays` are what it does with each.
- `open_image`, `open_bases`: disks that are open, and bases that several of them share.
- `catalog`: what is stored and how much space it takes.
- `overlay_store`: the file of an overlay without its base.
- `file_commit`: overlays over files of this computer, and how one is written into its file.
- `transfers`: imports that can be continued after a crash.
- `damage` notes damage in records, `recovery` saves what is intact, `recovered_overlays` finds the
  bases of overlays whose records were damaged.
"""
