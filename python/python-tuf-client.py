#!/usr/bin/env python3
"""The python-tuf client: a worker for a Go host, and a command of its own."""

from __future__ import annotations

import sys

try:
    import tuf
except ImportError:
    sys.stderr.write(
        "Missing python-tuf dependency: "
        "python -m pip install --require-hashes -r requirements.txt\n"
    )
    sys.exit(56)

if __name__ == "__main__":
    sys.stdout.write(f"python-tuf {tuf.__version__}\n")
