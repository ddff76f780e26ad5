"""Everything that is true of traces, wherever they go."""
