"""Updates image to image, and the loops that repeat them."""
