"""Planes on KServe: what a service shall be, as InferenceServices and routes of a cluster."""
