"""The forecast page: a form for people, that asks the endpoint as any consumer does."""
