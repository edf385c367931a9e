"""The site that `scripts/demo` serves, and its check in headless Chromium."""
