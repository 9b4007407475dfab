"""Publish targets with python-tuf's API, as its manual shows it: load metadata, add targets, sign, write.

Nothing is verified or synced, and no archive is looked into. The argument is a file with a job.
"""

import hashlib
import json
import sys
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer


@cache
def load(file: Path) -> CryptoSigner:
    """Load a key."""
    return CryptoSigner(load_pem_private_key(file.read_bytes(), None))


def write(job: dict[str, Any], md: Metadata[Any], role: str, key: str) -> MetaFile:
    """Sign and write a file, and describe it."""
    md.signed.version += 1
    md.signed.expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    md.sign(load(Path(job["keys"], key + ".key")))
    raw = md.to_bytes(JSONSerializer(compact=True))
    name = "timestamp.json" if role == "timestamp" else f"{md.signed.version}.{role}.json"
    Path(job["out"], name).write_bytes(raw)
    return MetaFile(md.signed.version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})


def bin_of(job: dict[str, Any], path: str) -> str:
    """Return the hash bin of a target path."""
    bits = job["bits"]
    number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") >> (32 - bits)
    return f"{job['bins']}-{number:0{(bits + 3) // 4}x}"


def main(file: str) -> None:
    """Carry out a job."""
    job = json.loads(Path(file).read_bytes())
    metadata = Path(job["metadata"])
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json"))
    snapshot = Metadata[Snapshot].from_file(str(metadata / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    roles: dict[str, Metadata[Targets]] = {}
    for t in job["targets"]:
        name = bin_of(job, t["path"]) if job["bins"] else t["role"]
        if name not in roles:
            version = snapshot.signed.meta[name + ".json"].version
            roles[name] = Metadata[Targets].from_file(str(metadata / f"{version}.{name}.json"))
        info = TargetFile.from_file(t["path"], t["file"], ["sha256"])
        info.unrecognized_fields["custom"] = t["custom"]
        roles[name].signed.targets[t["path"]] = info
    for name, role in roles.items():
        key = job["targets"][0]["role"] if job["bins"] else name
        snapshot.signed.meta[name + ".json"] = write(job, role, name, key)
    timestamp.signed.snapshot_meta = write(job, snapshot, "snapshot", "snapshot")
    write(job, timestamp, "timestamp", "timestamp")


main(*sys.argv[1:])
