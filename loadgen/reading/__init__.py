"""Reading back: what each signal's batches look like once they are stored, and how that is asked for."""
