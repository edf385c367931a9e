"""Whatever the server, the files and the moment of death: exact bytes, or an error of ours.

`scripts/test --fuzz N` plays N rounds of each kind. By hand, and to repeat a round by its seed:
support/rounds.py.
"""

from __future__ import annotations

import os
import random

import pytest

from support.fuzz import fuzz, rounds
from support.rounds import KINDS, play


@fuzz
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of the killed
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rounds_of_the_public_api(kind):
    chance = random.Random(0) if os.environ.get("CI") else random.SystemRandom()
    for _ in range(rounds(10)):
        play(kind, chance.getrandbits(48))
