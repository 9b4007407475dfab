"""python-tuf's own client as its manual shows it: URL ROOT DIR TARGET."""

import sys
from pathlib import Path

from tuf.ngclient import Updater


def main(url: str, root: str, directory: str, target: str) -> None:
    """Download one target with default settings."""
    metadata_dir = Path(directory, "metadata")
    target_dir = Path(directory, "targets")
    metadata_dir.mkdir(exist_ok=True)
    target_dir.mkdir(exist_ok=True)
    updater = Updater(
        metadata_dir=str(metadata_dir),
        metadata_base_url=url + "/metadata/",
        target_dir=str(target_dir),
        target_base_url=url + "/targets/",
        bootstrap=Path(root).read_bytes(),
    )
    updater.refresh()
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(target + " not found")
    if updater.find_cached_target(info) is None:
        updater.download_target(info)


main(*sys.argv[1:])
