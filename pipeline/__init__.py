"""The stages in order, and everything that a photo needs and a generator does not."""
