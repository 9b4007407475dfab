"""Makes a repository with python-tuf's API: repository.py DIR KIND.

KIND is rsa, ecdsa or ed25519. DIR gets metadata, targets and keys.
"""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

base, kind = Path(sys.argv[1]), sys.argv[2]
expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
pretty = JSONSerializer(compact=False)
for name in ("metadata", "targets", "keys"):
    (base / name).mkdir(parents=True, mode=0o700)


def signer(name):
    made = getattr(CryptoSigner, "generate_" + kind)()
    path = base / "keys" / (name + ".pem")
    path.touch(mode=0o600)
    path.write_bytes(made.private_bytes)
    return made


def write(md, name, signers):
    md.signatures.clear()
    for s in signers:
        md.sign(s, append=True)
    md.to_file(str(base / "metadata" / name), pretty)


def target(role, path, content, custom=None):
    file = TargetFile.from_data(path, content, ["sha256"])
    if custom:
        file.unrecognized_fields = {"custom": custom, "x-target": [1, None]}
    role.signed.targets[path] = file
    at = base / "targets" / path
    at = at.parent / (file.hashes["sha256"] + "." + at.name)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(content)


one, two, lost = signer("a"), signer("b"), signer("c")
online, team, second = signer("online"), signer("d"), signer("e")
root = Metadata(Root(expires=expires, consistent_snapshot=True))
root.signed.unrecognized_fields = {"x-root": {"note": "kept"}}
for s in (one, two, lost):
    root.signed.add_key(s.public_key, "root")
root.signed.roles["root"].threshold = 2
root.signed.add_key(two.public_key, "targets")
for role in ("snapshot", "timestamp"):
    root.signed.add_key(online.public_key, role)
write(root, "1.root.json", [one, two])
root.signed.version = 2
root.signed.revoke_key(lost.public_key.keyid, "root")
write(root, "2.root.json", [one, two])

targets = Metadata(Targets(expires=expires))
targets.signed.unrecognized_fields = {"x-targets": "kept"}
target(targets, "plain.txt", b"plain", {"note": "größe"})
target(targets, "plugins/acme/tool.1.0.0.tar.gz", b"tool", {"any": 1})
targets.signed.delegations = Delegations({}, {})
docs = DelegatedRole("docs", [], 1, False, ["docs/*", "docs/*/?.txt"])
docs.unrecognized_fields = {"x-delegation": "kept"}
targets.signed.delegations.roles["docs"] = docs
targets.signed.delegations.roles["team"] = DelegatedRole(
    "team", [], 2, True, ["team/*"]
)
targets.signed.add_key(team.public_key, "docs")
for s in (team, second):
    targets.signed.add_key(s.public_key, "team")
for version in (1, 2):
    targets.signed.version = version
    write(targets, f"{version}.targets.json", [two])
snapshot = Metadata(Snapshot(expires=expires))
snapshot.signed.meta["targets.json"] = MetaFile(2)
for name, signers in (("docs", [team]), ("team", [team, second])):
    role = Metadata(Targets(expires=expires))
    target(role, name + "/a.txt", name.encode(), {"of": name})
    role.signed.unrecognized_fields = {"x-role": name}
    write(role, f"1.{name}.json", signers)
    snapshot.signed.meta[name + ".json"] = MetaFile(1)
write(snapshot, "1.snapshot.json", [online])
timestamp = Metadata(Timestamp(expires=expires))
write(timestamp, "timestamp.json", [online])
