"""Asking a deployed stack: each probe takes the target and gives facts. Nothing is raised for what the stack does."""
