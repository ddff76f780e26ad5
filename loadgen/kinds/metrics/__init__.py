"""Everything that is true of metrics, wherever they go."""
