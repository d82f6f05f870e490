"""Checks, precision, optional imports, files, processes: what every room needs."""
