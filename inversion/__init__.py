"""Inversion: from an aligned crop to the latent that shows it."""
