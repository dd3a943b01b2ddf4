"""Opponents and bounds of a comparison, one policy a file."""
