"""What one deployment was asked to be, as data: a plan file names its requirements and what shows each of them."""

from __future__ import annotations

from loadgen.plans.deployment import DEFAULT, Deployed, Expected, Requirement, default_plan, load_plan, parse_plan

__all__ = ["DEFAULT", "Deployed", "Expected", "Requirement", "default_plan", "load_plan", "parse_plan"]
