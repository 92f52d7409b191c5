"""From a model reference to what a worker needs: fetched, unpacked, its environment made."""
