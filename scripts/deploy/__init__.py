"""What operators need: nginx templates, the container, and a check of a deployment."""
