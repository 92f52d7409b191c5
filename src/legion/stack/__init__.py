"""The team stack as one command: MLflow's server and a gateway, started, watched and ended together."""
