"""Figures with their references, each measured in the same run: `make bench`, or `python -m bench NAME…`."""
