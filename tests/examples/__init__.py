"""The examples run, and the recipes among them have the released constants."""
