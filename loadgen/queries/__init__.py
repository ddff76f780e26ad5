"""What people ask: panels of dashboards, a user's own queries, and when an empty answer is wrong."""
