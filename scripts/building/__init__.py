"""The parts of `scripts/build`: the site, its wheels, the memory snapshot, the references."""
