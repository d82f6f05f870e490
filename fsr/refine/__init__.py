"""Refinement of class activation maps into pseudo labels."""
