"""The image streaming service (extra `service`): raw and prepared images over HTTP.

A program of its own, `aero-disk-service`; nothing imports it.

- `command`: the entry point, which needs no extra.
- `cli`, `configuration`, `assembly`, `app`: the command, its configuration, the parts put together,
  ASGI.
- `options`: the tables of the configuration, each checked by itself.
- `http`: routes, ranges, preconditions, CORS, limits, logs and metrics.
- `stores`: images in a folder or a bucket, raw and prepared; `uploads`: new ones into a bucket.
- `access`: who may read: signed addresses, tokens, leases, certificates.
- `servers`: granian and uvicorn, and what is built on uvicorn's protocol.
- `probe`, `digest_command`: the commands that look at a server and make a digest list.
"""
