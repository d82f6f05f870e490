"""The script `benchmarks/scenes_encoder.py` under its old name, for a release."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "scenes_encoder.py"
    runpy.run_path(str(script), run_name="__main__")
