"""Legion takes a machine-learning model from a training project to production."""

__version__ = "0.1.0"
