"""The console command ``fsr``: training, scores, masks, data sets, all from a shell.

The only room of the package that prints. ``fsr --help`` lists the commands, ``fsr COMMAND --help``
the options of one; ``python -m fsr`` is the same command.
"""

from fsr.cli._main import main

__all__ = ["main"]
