"""Public names that the walk leaves out, each with the reason."""

LEFT_OUT: dict[str, str] = {}
