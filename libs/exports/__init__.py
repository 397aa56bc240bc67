"""Formats that the audit log is exported in beside its own, made from the stored bytes.

What writes an export and what checks one share this code, so that each row can be made again and compared.
"""
