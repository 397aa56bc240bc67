"""The command service: loads an aggregate, decides, appends. The only writer of secret events."""
