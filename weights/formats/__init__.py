"""One reader a file format; no reader runs code out of a file."""
