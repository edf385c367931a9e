"""The configuration of the service: one model, filled from flags, the environment and a TOML file.

Unsafe combinations are rejected here, before the service listens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .options import (
    AuthorizationOptions,
    BytesOptions,
    CdnOptions,
    CorsOptions,
    LimitOptions,
    MetricsOptions,
    RelayOptions,
    SaveOptions,
    Section,
    ServerOptions,
    StoreOptions,
    UploadOptions,
)

ENVIRONMENT_PREFIX = "AERO_DISK_"
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


class ConfigurationError(ValueError):
    """The configuration is invalid; the message has a line for each reason."""


class Configuration(Section):
    """All options of the service."""

    mode: Literal["production", "development"] = "production"
    base_path: str = ""
    server: ServerOptions = ServerOptions()
    store: StoreOptions = StoreOptions()
    cors: CorsOptions = CorsOptions()
    bytes: BytesOptions = BytesOptions()
    metrics: MetricsOptions = MetricsOptions()
    authorization: AuthorizationOptions = AuthorizationOptions()
    limits: LimitOptions = LimitOptions()
    uploads: UploadOptions = UploadOptions()
    saves: SaveOptions = SaveOptions()
    cdn: CdnOptions = CdnOptions()
    relay: RelayOptions = RelayOptions()

    @field_validator("base_path")
    @classmethod
    def _is_base_path(cls, value: str) -> str:
        value = value.rstrip("/")
        if not _BASE_PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
            raise ValueError("must be a path such as /images, without characters to escape")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        every_origin = "*" in self.cors.allow_origins
        if every_origin and self.cors.credentials:
            raise ValueError('cors.credentials with allow_origins "*": name the origins')
        if every_origin and self.authorization.is_configured:
            raise ValueError(
                'authorization with cors.allow_origins "*": name the origins that may read private '
                "images ([] when no browser does)"
            )
        if self.mode == "production" and self.store.listing:
            raise ValueError(
                "store.listing in production: it makes every file public; write a manifest.json"
            )
        if self.bytes.accel_location and not (self.store.folder and self.server.trusted_proxies):
            raise ValueError(
                "bytes.accel_location needs store.folder, where nginx finds it too, and nginx "
                "among server.trusted_proxies"
            )
        if self.uploads.enabled and not (self.authorization.jwt and self.store.bucket):
            raise ValueError(
                "uploads.enabled needs store.bucket, and authorization.jwt to tell whose they are"
            )
        if self.saves.enabled and not self.authorization.jwt:
            raise ValueError("saves.enabled needs authorization.jwt to tell whose they are")
        if self.authorization.proxy_identity and not self.server.trusted_proxies:
            raise ValueError(
                "authorization.proxy_identity without server.trusted_proxies: anybody could write "
                "its headers"
            )
        return self


def load_configuration(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Configuration:
    """The configuration; `flags` override the environment, which overrides `file`, then `defaults`.

    Raises `ConfigurationError`, or `OSError` when the file cannot be read.
    """
    if file is not None:
        file.open("rb").close()

    class Sourced(Configuration, BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=ENVIRONMENT_PREFIX,
            env_nested_delimiter="__",
            extra="forbid",
            frozen=True,
            hide_input_in_errors=True,
        )

        # Called with keywords only.
        @classmethod
        def settings_customise_sources(  # type: ignore[override]
            cls, settings_cls: type[BaseSettings], **given: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = [given["init_settings"], given["env_settings"]]
            if file is not None:
                sources.append(TomlConfigSettingsSource(settings_cls, file))
            return (*sources, InitSettingsSource(settings_cls, dict(defaults or {})))

    _refuse_unknown_variables()
    try:
        return Sourced(**dict(flags or {}))
    except ValidationError as error:
        raise ConfigurationError("\n".join(_reasons(error))) from None
    except ValueError as error:  # TOML, or JSON in a variable; says where
        raise ConfigurationError(str(error)) from None


def _reasons(error: ValidationError) -> list[str]:
    """A line for each error, without the values, which may be secrets."""
    reasons = []
    for reason in error.errors(include_input=False, include_url=False):
        name = ".".join(map(str, reason["loc"]))
        text = reason["msg"].removeprefix("Value error, ")
        reasons.append(f"{name}: {text}" if name else text)
    return reasons


def _refuse_unknown_variables() -> None:
    """Raises for a variable with our prefix that names no field, instead of ignoring it."""
    for name in os.environ:
        if name.upper().startswith(ENVIRONMENT_PREFIX):
            field = name.upper().removeprefix(ENVIRONMENT_PREFIX).split("__", maxsplit=1)[0].lower()
            if field not in Configuration.model_fields:
                raise ConfigurationError(f"{name}: there is no such option")
