"""python-tuf's own client as its manual shows it: URL ROOT DIR TARGET."""

import os
import sys

from tuf.ngclient import Updater


def main(url: str, root: str, directory: str, target: str) -> None:
    """Download one target with default settings."""
    metadata_dir = os.path.join(directory, "metadata")
    target_dir = os.path.join(directory, "targets")
    os.makedirs(metadata_dir, exist_ok=True)
    os.makedirs(target_dir, exist_ok=True)
    with open(root, "rb") as f:
        trusted = f.read()
    updater = Updater(
        metadata_dir=metadata_dir,
        metadata_base_url=url + "/metadata/",
        target_dir=target_dir,
        target_base_url=url + "/targets/",
        bootstrap=trusted,
    )
    updater.refresh()
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(target + " not found")
    if updater.find_cached_target(info) is None:
        updater.download_target(info)


main(*sys.argv[1:])
