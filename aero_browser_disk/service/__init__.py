"""The image streaming service (extra `service`): raw images over HTTP, read by range."""
