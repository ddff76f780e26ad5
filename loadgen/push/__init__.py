"""How a batch gets to a server: senders by way, retries, and what an answer means."""
