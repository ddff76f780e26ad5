"""Everything that is true of logs, wherever they go."""
