"""The files of scripts/deploy as the tools that deploy them read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from aero_browser_disk.service.configuration import Configuration, load_configuration
from lib.project import ROOT

DEPLOY: Final = ROOT / "scripts" / "deploy"
COMPOSE: Final = DEPLOY / "compose.yaml"
INSTANCES: Final = ("disks-a", "disks-b", "disks-c")
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)(?::([?-])([^}]*))?\}|\$\$")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with these variables (compose-spec, "Interpolation")."""

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        if match[1] in variables:
            return variables[match[1]]
        assert match[2] == "-", f"compose.yaml needs {match[1]}"
        return match[3]

    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value, COMPOSE.read_text()))
    return document


def manifests() -> dict[str, dict[str, Any]]:
    """The Kubernetes manifests by kind."""
    documents = [
        document
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents)
    return kinds


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """These variables, and no other of the service's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AERO_DISK_"):
                patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def configuration(values: Mapping[str, str]) -> Configuration:
    """What the service makes of an environment; raises `ConfigurationError`."""
    with environment(values):
        return load_configuration()


def folder_of(mount: str) -> Path:
    """The file of this project that a volume of the compose file mounts."""
    return (COMPOSE.parent / mount.partition(":")[0]).resolve()
