"""A run under control: preparing, loading, reading back, judging, and ending it in order."""
