"""Builds the service from its configuration."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from starlette.routing import Route

from .access.authorization import Authority, Gate
from .access.leases import Leases
from .access.proxy_identity import ProxyIdentity
from .access.signed_urls import SignedUrls
from .app import Service
from .configuration import Configuration, ConfigurationError
from .http.access_log import AccessLog
from .http.client_limits import Allowance, ClientLimits, LocalLimits
from .http.metrics import Metrics
from .options import JwtOptions, RelayOptions, SaveOptions, ServerOptions
from .relay.listed import ListedServer, Prefix
from .stores.folder_store import FolderStore
from .stores.image_store import ImageStore
from .stores.manifest import MANIFEST
from .stores.prepared_store import PreparedStore

if TYPE_CHECKING:
    from .relay.upstream import Upstream
    from .saves.save_store import SaveStore
    from .service_part import ServicePart
    from .stores.bucket import BucketAddress
    from .stores.object_store import ObjectStore
    from .uploads.uploaded_images import UploadedImages


class Assembly:
    """The parts of a service; making it raises `ValueError` or `OSError`."""

    def __init__(self, configuration: Configuration, log: AccessLog) -> None:
        self.configuration = configuration
        self._log = log
        options = configuration.authorization
        # Check everything before opening anything that would have to be closed.
        _check_tls(configuration.server)
        self.urls = (
            None if options.signing_keys_file is None else SignedUrls(options.signing_keys_file)
        )
        authorities = _authorities(configuration, self.urls)
        self.metrics = Metrics() if configuration.metrics.enabled else None
        self.limits = _limits(configuration, log)
        self._upstreams = _upstreams(configuration.relay)
        self.gate = Gate(authorities)
        self.store: ImageStore
        self.parts: list[ServicePart] = []
        self._upload_routes: list[Route] = []
        if configuration.uploads.enabled:
            self.store, self._upload_routes = _with_uploads(configuration, log)
        else:
            self.store = open_store(configuration, log)
        self.store = PreparedStore(self.store, configuration.store.prepared_cache_bytes)
        if configuration.saves.enabled:
            self.parts.append(_saves(configuration, log, self.metrics))

    def close(self) -> None:
        """Closes what it opened; a service does that itself."""
        for part in self.parts:
            part.close()
        self.store.close()

    def service(self) -> Service:
        """The ASGI application."""
        configuration = self.configuration
        leases = None
        if self.urls is not None:
            lifetime_s = configuration.authorization.lease_s
            leases = Leases(self.store, self.urls, lifetime_s, _address(configuration))
        return Service(
            self.store,
            configuration,
            self._log,
            gate=self.gate,
            limits=self.limits,
            metrics=self.metrics,
            leases=leases,
            more_routes=[
                *self._upload_routes,
                *_cdn_routes(configuration, self.store),
                *self._relay_routes(leases),
            ],
            parts=self.parts,
        )

    def _relay_routes(self, leases: Leases | None) -> list[Route]:
        configuration = self.configuration
        if not configuration.relay.servers:
            return []
        from .relay.relay import Relay

        return Relay(
            self._upstreams,
            configuration.bytes,
            self._log,
            address=_address(configuration),
            body_s=configuration.relay.body_s,
            metrics=self.metrics,
            leases=leases,
        ).routes

    async def reload(self) -> None:
        """Reads the manifest and the keys again. Invalid ones are logged and not used."""
        await self.store.refresh()
        try:
            self.gate.reload()
        except ValueError as error:
            self._log.event("keys_rejected", reason=str(error))
        self._log.event("reloaded")


def open_store(configuration: Configuration, log: AccessLog) -> ImageStore:
    """The store of the images; raises `ConfigurationError`, `ManifestError` or `OSError`."""
    options = configuration.store
    if options.bucket is not None:
        return _open_bucket(configuration, log)
    if options.folder is None:
        raise ConfigurationError("no images: set store.folder (or --images) or store.bucket")
    accelerated = configuration.bytes.accel_location is not None
    store = FolderStore(options.folder, log.manifest_rejected, nginx_validators=accelerated)
    if not options.listing and not (options.folder / MANIFEST).exists():
        store.close()
        raise ConfigurationError(
            f"there is no {MANIFEST} in {options.folder}: write one, or in development set "
            "store.listing to make every file there public"
        )
    return store


def _open_bucket(
    configuration: Configuration, log: AccessLog, uploaded: UploadedImages | None = None
) -> ObjectStore:
    # Most services read a folder, and obstore takes a while to load.
    from .stores.bucket import open_bucket
    from .stores.object_store import ObjectStore

    bucket = open_bucket(_bucket_address(configuration))
    return ObjectStore(bucket, log.manifest_rejected, uploaded)


def _bucket_address(configuration: Configuration) -> BucketAddress:
    from .stores.bucket import BucketAddress

    options = configuration.store
    assert options.bucket is not None
    return BucketAddress(options.bucket, options.endpoint, options.region, options.anonymous)


def _with_uploads(configuration: Configuration, log: AccessLog) -> tuple[ImageStore, list[Route]]:
    """The bucket's store, which includes uploaded images, and the routes of uploads."""
    from .uploads.multipart import Multipart
    from .uploads.upload_gateway import UploadGateway
    from .uploads.upload_records import Quota, UploadRecords
    from .uploads.uploaded_images import UploadedImages
    from .uploads.uploads import Uploads

    options = configuration.uploads
    multipart = Multipart(_bucket_address(configuration), options.public_endpoint)
    records = UploadRecords(options.database.get_secret_value())
    quota = Quota(options.owner_bytes, options.owner_uploads)
    uploads = Uploads(records, multipart, options.part_bytes, options.unfinished_s, quota)
    images = UploadedImages(records)
    store = _open_bucket(configuration, log, images)
    gateway = UploadGateway(
        uploads, images, store.is_in_manifest, log, options.max_image_bytes, options.url_s
    )
    return store, [*gateway.routes]


def _saves(configuration: Configuration, log: AccessLog, metrics: Metrics | None) -> ServicePart:
    from .saves.save_records import SaveRecords
    from .saves.save_service import SaveService
    from .saves.saves import SaveQuota, Saves

    options = configuration.saves
    store = _save_store(options)
    records = SaveRecords(
        options.database.get_secret_value(), options.generations, options.unfinished_s
    )
    quota = SaveQuota(options.owner_bytes, options.owner_saves)
    saves = Saves(records, store, options.unfinished_s, quota)
    return SaveService(saves, log, _address(configuration), metrics)


def _save_store(options: SaveOptions) -> SaveStore:
    if options.folder is not None:
        from .saves.save_store import FolderSaveStore

        return FolderSaveStore(options.folder)
    from .saves.bucket_save_store import BucketSaveStore
    from .stores.bucket import BucketAddress, open_bucket

    assert options.bucket is not None
    address = BucketAddress(options.bucket, options.endpoint, options.region)
    return BucketSaveStore(open_bucket(address))


def _address(configuration: Configuration) -> str:
    """What URLs for clients begin with."""
    return (configuration.server.public_url or "") + configuration.base_path


def _cdn_routes(configuration: Configuration, store: ImageStore) -> list[Route]:
    options = configuration.cdn
    if options.url is None:
        return []
    from .access.cdn_leases import CdnLeases
    from .access.cloudfront import CdnAddress, CloudFront

    assert options.key_pair_id is not None
    assert options.private_key_file is not None
    address = CdnAddress(options.url.rstrip("/"), options.key_pair_id)
    cloudfront = CloudFront(address, options.private_key_file)
    return CdnLeases(store, cloudfront, options.lifetime_s, options.cookie_domain).routes


def _upstreams(options: RelayOptions) -> list[Upstream]:
    if not options.servers:
        return []
    try:
        from .relay.upstream import Upstream
    except ModuleNotFoundError:
        raise ConfigurationError("relay.servers needs the extra: relay") from None
    return [
        Upstream(
            ListedServer(
                name,
                Prefix.parse(server.url),
                server.public,
                tuple(Prefix.parse(prefix, wildcard=True) for prefix in server.redirects),
            ),
            permitted=options.private_networks,
            connections=options.connections,
            timeout_s=options.timeout_s,
        )
        for name, server in options.servers.items()
    ]


def _check_tls(options: ServerOptions) -> None:
    """Raises `ConfigurationError` for files that no server can use: granian panics over some."""
    if options.tls_certificate is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a password, or it would ask for one.
        context.load_cert_chain(options.tls_certificate, options.tls_key, password="")
    except OSError as error:
        raise ConfigurationError(f"server.tls_certificate, tls_key: {error.strerror}") from None
    try:
        if options.tls_client_authorities is not None:
            context.load_verify_locations(options.tls_client_authorities)
    except OSError as error:
        raise ConfigurationError(f"server.tls_client_authorities: {error.strerror}") from None


def _authorities(configuration: Configuration, urls: SignedUrls | None) -> list[Authority]:
    options = configuration.authorization
    authorities: list[Authority] = [] if urls is None else [urls]
    if options.jwt is not None:
        authorities.append(_bearer_tokens(options.jwt))
    if options.proxy_identity is not None:
        authorities.append(ProxyIdentity(options.proxy_identity))
    return authorities


def _bearer_tokens(options: JwtOptions) -> Authority:
    # Cryptography takes a while to load.
    from .access.bearer_tokens import BearerTokens
    from .access.issuer_keys import FetchedKeys, FileKeys

    if options.keys_file is not None:
        return BearerTokens(options, FileKeys(options.keys_file))
    assert options.jwks_url is not None
    return BearerTokens(options, FetchedKeys(options.jwks_url, options.jwks_max_age_s))


def _limits(configuration: Configuration, log: AccessLog) -> ClientLimits | None:
    options = configuration.limits
    allowance = Allowance(options.requests_in_flight, options.requests_per_s, options.bytes_per_s)
    if not allowance.is_limited:
        return None
    if options.redis_url is None:
        return LocalLimits(allowance)
    try:
        from .http.shared_limits import SharedLimits
    except ModuleNotFoundError:
        raise ConfigurationError("limits.redis_url needs the extra: redis") from None
    return SharedLimits(allowance, options.redis_url.get_secret_value(), log)
