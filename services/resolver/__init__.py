"""The resolver: from a reference to sealed key material, for those entitled to it; current state; who uses what."""
