"""The Python API, behind the names of the package `legion`: thin, over the same modules as the command line."""
