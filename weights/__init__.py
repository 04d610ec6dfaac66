"""StyleGAN2 networks, their files, and where files are kept."""
