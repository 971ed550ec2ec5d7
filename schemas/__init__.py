"""What the tables look like: tile rows, result rows, blobs, grids, sensor and index facts."""
