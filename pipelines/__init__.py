"""The pipelines; `python -m pipelines` compiles them."""
