"""How fast and how exact the generator is; run them, they are not part of the package."""
