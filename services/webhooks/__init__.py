"""Tells addresses of events. Talks to strangers, and therefore holds nothing that is secret."""
