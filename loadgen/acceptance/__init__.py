"""``loadgen check``: acceptance of a deployed stack, without load.

Probes ask (`probes`), each into a frozen fact of `facts`; checks judge those facts (`checks`), pure. What could not be
asked is unknown, what does not apply here is skipped, and both say why.
"""
