"""DragGAN: from a latent, handles and targets to the latent whose picture has the handles at the targets."""
