"""Files for operators: nginx templates, the container, and a check of a deployment."""
