"""Training of a generator and its encoder on a folder of aligned pictures: `python -m weights.training --help`."""
