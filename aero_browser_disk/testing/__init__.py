"""Test equipment for this package and for programs that use it. Standard library only.

- `image_server`: a real HTTP server for images that counts, shapes and breaks its answers; also a
  command, `python -m aero_browser_disk.testing.image_server`, steered over HTTP.
- `behaviour`: the faults and shapes that it knows.
- `synthetic_image`: images of any size whose bytes cost nothing to keep.
- `site_server`: a static server for a page, with or without cross-origin isolation.
- `failing_files`: files that fail, tear and forget as real ones do when the power goes.
- `disk_suite`, `storage_suite`, `http_suite`: what every implementation of a protocol must pass.
- `suite_runner`: runs a suite where pytest cannot, such as in a browser's worker.
"""
