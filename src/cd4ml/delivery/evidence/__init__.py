"""What is known of a rollout's step: read from logs or from Prometheus, counted, put to the tests."""
