"""Names and numbers that commands offer before anything else is known. Imports nothing, so that help is quick."""

DEFAULT_PROFILE = "homelab"
LAB = "lab"
"""The source of a target that is the local lab."""
MASTER_PORT = 5557
"""Where a master waits for workers on other machines; Locust's own default."""
