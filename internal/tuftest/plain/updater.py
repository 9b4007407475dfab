"""python-tuf's own client, as its manual shows it: one JSON request a line."""

from __future__ import annotations

import base64
import datetime
import json
import os
import sys
import traceback
from typing import Any

from tuf.ngclient.updater import Updater


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Refresh, and download the target if one is asked for."""
    os.makedirs(request["metadata_dir"], exist_ok=True)
    os.makedirs(request["targets_dir"], exist_ok=True)
    updater = Updater(
        metadata_dir=request["metadata_dir"],
        metadata_base_url=request["metadata_url"],
        target_dir=request["targets_dir"],
        target_base_url=request["targets_url"],
        bootstrap=base64.b64decode(request["root"]),
    )
    if "now" in request:
        now = datetime.datetime.fromtimestamp(request["now"], datetime.timezone.utc)
        updater._trusted_set.reference_time = now
    updater.refresh()
    if not request["target"]:
        return {"found": False}
    info = updater.get_targetinfo(request["target"])
    if info is None:
        return {"found": False}
    path = updater.find_cached_target(info) or updater.download_target(info)
    return {"found": True, "path": path}


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        try:
            answer = run(json.loads(line))
        except Exception as e:  # noqa: BLE001
            text = traceback.format_exception_only(e)[-1].strip()
            answer = {"error": text or "unknown error"}
        print(json.dumps(answer), flush=True)


main()
