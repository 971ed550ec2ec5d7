"""What is computed, pixel by pixel: pure functions on arrays, and the tile methods made of them."""
