"""Ed25519 signatures, checked by the browser (Web Cryptography §25)."""

from __future__ import annotations

from ...errors import SignaturesUnavailableError
from .interop import RejectionError, call_async

_ALGORITHM = "Ed25519"


async def verify_by_web_crypto(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the signature is right; raises `SignaturesUnavailableError`."""
    import js
    from pyodide.ffi import to_js

    subtle = getattr(js.crypto, "subtle", None)
    if subtle is None:
        raise SignaturesUnavailableError("the page must be served over HTTPS or from localhost")
    key, signed, said = to_js(public_key), to_js(signature), to_js(message)
    try:
        imported = await call_async(
            subtle, "importKey", "raw", key, _ALGORITHM, False, to_js(["verify"])
        )
        return bool(await call_async(subtle, "verify", _ALGORITHM, imported, signed, said))
    except RejectionError as error:
        if error.name == "DataError":  # not a point of the curve
            return False
        raise SignaturesUnavailableError(
            f"this browser's WebCrypto has no Ed25519 ({error.name}); use a newer browser"
        ) from error
