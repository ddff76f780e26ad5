"""The stack's own figures: what is scraped, and what the names mean."""
