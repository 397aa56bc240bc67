"""Transparency logs: Merkle trees (RFC 6962), signed checkpoints and proofs (C2SP). No I/O.

What signs and stores a log and what checks it offline share this code, so it needs nothing but bytes and public keys.
"""
