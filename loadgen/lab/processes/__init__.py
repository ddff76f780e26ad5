"""The processes of a lab: what runs, how it is started and stopped."""
