"""Download one target with python-tuf's plain client and print what it verified."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tuf.ngclient import Updater


def main(url: str, root: str, work: str, target: str) -> None:
    """Refresh, look the target up, download it, and print one JSON object."""
    updater = Updater(
        metadata_dir=f"{work}/metadata",
        metadata_base_url=f"{url}/metadata/",
        target_dir=work,
        target_base_url=f"{url}/targets/",
        bootstrap=Path(root).read_bytes(),
    )
    updater.refresh()
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(f"{target} is not listed")
    path = updater.download_target(info)
    found = {"path": path, "length": info.length, "hashes": info.hashes, "custom": info.custom}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
