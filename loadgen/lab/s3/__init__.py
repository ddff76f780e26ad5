"""S3 for the lab: SeaweedFS, and buckets as the servers see them."""
