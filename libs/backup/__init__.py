"""Backups: one archive of both streams and the sealed store; docs/reference/backup-format.md."""
