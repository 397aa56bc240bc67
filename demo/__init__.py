"""The product's story, run for real: `make demo`."""
