"""Data sets and training views."""
