"""What `scripts/build` is made of: the site, its wheels, the memory snapshot, the references."""
