"""One image over HTTP: its address, its version, and ranges that are checked before use.

- `access`: an address with its headers, renewed when it expires.
- `remote_image`: an image pinned to one version; every response is checked here.
- `byte_ranges`, `response_headers`: RFC 9110, shared with the image service.
- `receiving`, `retry`: how a response is read, and which failures are tried again.
- `remote_source`: a remote image as a file to import.
- `whole_files`: files that are requested as a whole, by plain GETs.
- `documents`, `image_catalog`: small JSON documents of a server; `numbers`: digits of any length.
"""
