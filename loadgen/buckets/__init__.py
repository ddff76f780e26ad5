"""Finding what is new in the three buckets, at a cost that does not grow with what else they hold."""
