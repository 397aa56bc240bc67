"""Loading config variables from files and tables of an earlier system."""
