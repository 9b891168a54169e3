"""pandas over s3fs, and pyarrow with its own S3 client: programs that know nothing of us.

They want other versions of botocore than we do, so they live in a virtual environment of their own,
`.venv-tables`, which tests/run.py makes.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.processes import python_environment

PROGRAM = Path(__file__).resolve().parents[2] / ".venv-tables" / "bin" / "python"


def why_no_tables() -> str | None:
    """Return the reason why they can't be run here, or None if they can."""
    return None if PROGRAM.exists() else "pandas needs .venv-tables, which tests/run.py makes"


def run_there(program: str, *words: str) -> Any:
    """Run a program there, with no credentials to be found; return what it prints as JSON."""
    done = subprocess.run(
        [PROGRAM, "-c", program, *words],
        env=python_environment(AWS_EC2_METADATA_DISABLED="true") | {"PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
