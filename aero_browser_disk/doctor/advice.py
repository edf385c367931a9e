"""What each finding of the doctor means, and the line that fixes it, for each kind of server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXPOSED: Final = "Content-Range, ETag, Accept-Ranges"
_EXAMPLE_ORIGIN: Final = "https://your-page.example"

_S3_CORS: Final = (
    "aws s3api put-bucket-cors --bucket BUCKET --cors-configuration "
    '\'{"CORSRules":[{"AllowedOrigins":["{origin}"],"AllowedMethods":["GET","HEAD"],'
    '"AllowedHeaders":["*"],"ExposeHeaders":["Content-Range","ETag","Accept-Ranges"],'
    '"MaxAgeSeconds":600}]}\''
)
_CLOUDFRONT_CORS: Final = (
    "Behavior → Response headers policy → CORS: allow the origin {origin}, expose "
    f"{EXPOSED}, override the origin's headers"
)
_ALLOW: Final[Mapping[str, str]] = {
    "nginx": 'add_header Access-Control-Allow-Origin "{origin}" always;',
    "s3": _S3_CORS,
    "cloudfront": _CLOUDFRONT_CORS,
    "caddy": 'header Access-Control-Allow-Origin "{origin}"',
    "service": '[cors] allow_origins = ["{origin}"]',
}
_EXPOSE: Final[Mapping[str, str]] = {
    "nginx": f'add_header Access-Control-Expose-Headers "{EXPOSED}" always;',
    "s3": _S3_CORS,
    "cloudfront": _CLOUDFRONT_CORS,
    "caddy": f'header Access-Control-Expose-Headers "{EXPOSED}"',
    "service": "nothing to add: it exposes them; a proxy in front of it removes them",
}
_NO_COMPRESSION: Final[Mapping[str, str]] = {
    "nginx": "gzip off;",
    "s3": "aws s3 cp disk.img s3://BUCKET/disk.img  # again, without --content-encoding",
    "cloudfront": "Behavior → Compress objects automatically: No",
    "caddy": "encode gzip { match not path *.img }  # or no encode for images at all",
    "service": "nothing to add: it never compresses; a proxy in front of it does",
}
_RANGES: Final[Mapping[str, str]] = {
    "nginx": "proxy_set_header Range $http_range;  # and no max_ranges 0, no gzip",
    "s3": "nothing to add: S3 serves ranges; what is in front of it drops the Range header",
    "cloudfront": "Behavior → Compress objects automatically: No; no function that drops Range",
    "caddy": "file_server  # serves ranges; after encode it cannot",
    "service": "nothing to add: it serves ranges; what is in front of it drops the Range header",
}
_ETAG: Final[Mapping[str, str]] = {
    "nginx": "etag on; gzip off;",
    "s3": "nothing to add: S3 sends an ETag; what is in front of it removes it",
    "cloudfront": "nothing to add: it passes the origin's ETag on, unless it compresses",
    "caddy": "file_server  # sends an ETag; encode makes it weak",
    "service": "nothing to add: it sends a strong ETag; a proxy in front of it changes it",
}
_UPLOAD_RAW: Final[Mapping[str, str]] = {
    "nginx": "root /srv/images;  # the folder of the raw image",
    "s3": "aws s3 cp disk.img s3://BUCKET/disk.img --content-type application/octet-stream",
    "cloudfront": "aws cloudfront create-invalidation --distribution-id ID --paths /disk.img",
    "caddy": "root * /srv/images",
    "service": '"file": "disk.img"  # of the image in manifest.json',
}
_LARGER_RANGES: Final[Mapping[str, str]] = {
    "nginx": "client_max_body_size does not matter here: look for a limit in the proxied server",
    "s3": "nothing to add: S3 has no limit",
    "cloudfront": "nothing to add: look for a limit in a function or a firewall rule",
    "caddy": "nothing to add: Caddy has no limit",
    "service": "[bytes] max_range_bytes = 8388608",
}
_ISOLATE: Final[Mapping[str, str]] = {
    "nginx": 'add_header Cross-Origin-Opener-Policy "same-origin" always; '
    'add_header Cross-Origin-Embedder-Policy "require-corp" always;',
    "s3": "S3 cannot send them: put CloudFront in front of the page",
    "cloudfront": "Response headers policy → Custom headers: "
    "Cross-Origin-Opener-Policy same-origin, Cross-Origin-Embedder-Policy require-corp",
    "caddy": "header { Cross-Origin-Opener-Policy same-origin\n"
    "         Cross-Origin-Embedder-Policy require-corp }",
}
_TLS: Final[Mapping[str, str]] = {
    "nginx": "listen 443 ssl; ssl_certificate CERT; ssl_certificate_key KEY;",
    "s3": "https://BUCKET.s3.REGION.amazonaws.com/disk.img  # not the website endpoint",
    "cloudfront": "Behavior → Viewer protocol policy: Redirect HTTP to HTTPS",
    "caddy": "disks.example.com { file_server }  # a host name is enough: it gets a certificate",
    "service": '[server] tls_certificate = "CERT"  tls_key = "KEY"',
}
_ACCESS: Final[Mapping[str, str]] = {
    "nginx": "location /images/ { allow all; auth_basic off; }",
    "s3": "aws s3 presign s3://BUCKET/disk.img  # or a bucket policy that lets everybody read it",
    "cloudfront": "Behavior → Restrict viewer access: No  # or signed cookies",
    "caddy": "no basic_auth for the images",
    "service": '"public": true  # in manifest.json; or a lease: POST /v1/images/ID/lease',
}

_MEANINGS: Final[Mapping[str, str]] = {
    "invalid-url": "No image can be read from this address.",
    "mixed-content": "A page on https cannot read from plain http: the browser blocks the request "
    "before it is sent.",
    "unreachable": "The name is wrong, the server is down, or something in between refuses the "
    "connection. A browser does not say which; in a page that is cross-origin isolated it may "
    "also be a server that sends neither Access-Control-Allow-Origin nor "
    "Cross-Origin-Resource-Policy.",
    "silent": "The server accepts the request and does not respond in time: it hangs, or a "
    "firewall drops the traffic.",
    "cors": "The server responds, but does not allow this page to read its responses. If its "
    "CORS headers are right, it compresses them: browsers show nothing of a compressed range. If "
    "the server is not yours, an image service can relay it ([relay.servers] in its "
    "configuration).",
    "maybe-compressed": "Most likely the server compresses the image: browsers show nothing of a "
    "range that is compressed. The page cannot tell, because Content-Encoding is not among the "
    "exposed headers. Otherwise the connection closes without a response, or the response to GET "
    "lacks the CORS headers that the one to HEAD has.",
    "cut-off": "The connection closes in the middle of a response: a crash, a time-out of a "
    "proxy, or a wrong Content-Length.",
    "wants-credentials": "The server does not let everybody read this image.",
    "not-found": "There is nothing at this address: check its spelling and capitals.",
    "busy": "The server rejects requests because there are too many. A disk needs several a "
    "second.",
    "server-error": "The server fails; its log says why.",
    "redirected": "The address redirects to another, which a browser may not be allowed to "
    "follow: use the last address.",
    "odd-status": "The response is not an image.",
    "ranges-ignored": "Asked for a range, the server sends the whole file. A disk of gigabytes "
    "would be downloaded whole for its first sector.",
    "empty": "There are no bytes to make a disk of.",
    "compressed": "Offsets mean nothing in compressed bytes.",
    "multipart": "One range was requested, and several parts came: a proxy rewrites the request.",
    "content-range-unreadable": "Without Content-Range nothing proves which bytes a response has. "
    "It is not sent, or the page may not read it.",
    "content-range-wrong": "The response says that it has other bytes than those requested.",
    "size-unknown": "The response does not say how large the image is (`*` in Content-Range).",
    "length-wrong": "The response has more or fewer bytes than it says, or than were requested.",
    "end-wrong": "The last bytes cannot be read as Content-Range promised: its size is wrong, or "
    "ranges far into the image fail.",
    "sizes-differ": "HEAD and GET give different sizes: two versions, or a cache with an old one.",
    "validator-changing": "Two responses are of two versions: servers behind the address "
    "disagree, or the image changes all the time. Reading ends with an error then, so that "
    "versions never mix.",
    "validator-weak": "A weak ETag proves nothing about bytes, so versions cannot be told apart: "
    "the cache lasts for the session only.",
    "validator-missing": "Without a readable ETag or Last-Modified versions cannot be told apart: "
    "the cache lasts for the session only.",
    "validator-new": "Last-Modified proves nothing within a second of the change (RFC 9110 "
    "§8.8.2.2), or within a minute where the page cannot read Date. Until then blocks are kept "
    "for the session only.",
    "validator-date": "Last-Modified works unless two versions are of the same second. An ETag "
    "would be exact. It is not sent, or the page may not read it.",
    "range-limit": "Longer ranges are refused, so a sequential read takes more requests. Set "
    "maxRequestBytes to the limit.",
    "not-raw": "The file is not a raw disk image.",
    "odd-size": "The size is not a multiple of 512 bytes, as that of every disk is: the file may "
    "be cut off.",
    "head-refused": "HEAD does not work as GET does. Opening takes one more request.",
    "ranges-denied": "Accept-Ranges says `none`, so clients may not even try.",
    "errors-unreadable": "An error of the server lacks CORS headers, so the page cannot tell what "
    "went wrong when something does.",
    "end-odd": "A range past the end should be refused with 416.",
    "slow": "Each read that is not cached waits at least this long.",
    "not-isolated": "The page is not cross-origin isolated, so there is no shared memory: an "
    "emulator's cached reads go through messages.",
}
_REMEDIES: Final[Mapping[str, Mapping[str, str]]] = {
    "mixed-content": _TLS,
    "cors": _ALLOW,
    "unreachable": _ALLOW,
    "wants-credentials": _ACCESS,
    "not-found": _UPLOAD_RAW,
    "busy": {
        "nginx": "limit_req zone=… burst=100 nodelay;  # or none for images",
        "s3": "nothing to add: put a CDN before the bucket",
        "cloudfront": "AWS WAF → the rate rule: leave images out",
        "caddy": "no rate_limit for images",
        "service": "[limits] requests_per_s = 100",
    },
    "ranges-ignored": _RANGES,
    "ranges-denied": _RANGES,
    "multipart": _RANGES,
    "content-range-wrong": _RANGES,
    "compressed": _NO_COMPRESSION,
    "maybe-compressed": _NO_COMPRESSION,
    "content-range-unreadable": _EXPOSE,
    "size-unknown": _RANGES,
    "length-wrong": _NO_COMPRESSION,
    "sizes-differ": _UPLOAD_RAW,
    "empty": _UPLOAD_RAW,
    "not-raw": _UPLOAD_RAW,
    "odd-size": _UPLOAD_RAW,
    "validator-changing": _ETAG,
    "validator-weak": _ETAG,
    "validator-missing": {**_ETAG, "nginx": f"{_ETAG['nginx']} {_EXPOSE['nginx']}"},
    "validator-date": _EXPOSE,
    "validator-new": _ETAG,
    "range-limit": _LARGER_RANGES,
    "errors-unreadable": _ALLOW,
    "not-isolated": _ISOLATE,
}


# What is seen without a page is not the doing of a browser.
_MEANINGS_WITHOUT_PAGE: Final[Mapping[str, str]] = {
    "unreachable": "The name is wrong, the server is down, or something in between refuses the "
    "connection.",
    "redirected": "The address redirects to another: use the last address.",
    "content-range-unreadable": "Without Content-Range nothing proves which bytes a response has.",
    "validator-new": "Last-Modified proves nothing within a second of the change (RFC 9110 "
    "§8.8.2.2). Until then blocks are kept for the session only.",
    "validator-date": "Last-Modified works unless two versions are of the same second. An ETag "
    "would be exact.",
}
_REMEDIES_WITHOUT_PAGE: Final[Mapping[str, Mapping[str, str]]] = {
    "unreachable": {},
    "content-range-unreadable": _RANGES,
    "validator-missing": _ETAG,
    "validator-date": _ETAG,
}


def meaning_of(code: str, origin: str | None) -> str:
    """What a finding of this code means; empty if there is nothing to explain.

    `origin` is that of the page, None where a program looks without one.
    """
    if origin is None and code in _MEANINGS_WITHOUT_PAGE:
        return _MEANINGS_WITHOUT_PAGE[code]
    return _MEANINGS.get(code, "")


def remedy_of(code: str, origin: str | None) -> dict[str, str]:
    """The line to add, by server: nginx, s3, cloudfront, caddy, service.

    `origin` is that of the page, None without one. For `not-isolated` it is the page's server that
    needs the line.
    """
    lines = _REMEDIES.get(code, {})
    if origin is None:
        lines = _REMEDIES_WITHOUT_PAGE.get(code, lines)
    return {
        server: line.replace("{origin}", origin or _EXAMPLE_ORIGIN)
        for server, line in lines.items()
    }
