"""The rollout of a model as a state machine: values in, values out; acting is elsewhere."""
