"""Code that several scripts share: paths, set-up, browsers and servers."""
