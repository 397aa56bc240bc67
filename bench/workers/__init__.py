"""Processes that make load or stand in for something, each run as `python -m bench.workers.NAME` by bench.worker."""
