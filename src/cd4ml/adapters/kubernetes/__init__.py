"""The Kubernetes API: one client, its kinds, and its answers as our errors."""
