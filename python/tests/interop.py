"""Builders for testdata/interop: repositories as Python tools write them.

make_interop.py holds the cases; nothing here is a test.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import securesystemslib
import tuf
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

HERE = Path(__file__).resolve().parents[2] / "testdata" / "interop"
NOW = "2024-06-01T00:00:00Z"
EXPIRES = datetime(2025, 1, 1, tzinfo=timezone.utc)
EXPIRED = datetime(2024, 6, 1, tzinfo=timezone.utc)
PYTHON_TUF = f"python-tuf {tuf.__version__}, metadata API"
SSLIB = f"securesystemslib {securesystemslib.__version__}, hand-built JSON"
MODES = ("auto", "go", "python", "dual")
Json = dict[str, Any]
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)

# What may be expected of the four modes.
GOOD: Json = {
    "auto": {"engine": "go"},
    "go": {"engine": "go"},
    "python": {"engine": "python"},
    "dual": {"engine": "go+python"},
}
UNABLE: Json = {"code": "unrepresentable"}
GO_CANNOT: Json = {
    **GOOD,
    "auto": {"engine": "python"},
    "go": UNABLE,
    "dual": {"code": "unable_in_dual"},
}
PYTHON_CANNOT: Json = {**GOOD, "python": UNABLE, "dual": {"code": "unable_in_dual"}}


def refused(code: str, spec: str) -> Json:
    """Expect the same verdict in every mode."""
    return {mode: {"code": code, "spec": spec} for mode in MODES}


def signer(name: str, scheme: str | None = None, **changes: Any) -> CryptoSigner:
    """Return the signer of a test key, such as ed25519-0, perhaps in another spelling."""
    private = load_pem_private_key((HERE / "keys" / f"{name}.pem").read_bytes(), None)
    public = SSlibKey.from_crypto(private.public_key(), scheme=scheme)
    return CryptoSigner(private, rekeyed(public, **changes) if changes else public)


def rekeyed(key: SSlibKey, **changes: Any) -> SSlibKey:
    """Return the key in another spelling, under the keyid that belongs to it."""
    tree = {**key.to_dict(), **changes}
    keyid = hashlib.sha256((encode_canonical(tree) or "").encode()).hexdigest()
    return SSlibKey.from_dict(keyid, tree)


def disk_name(path: str) -> str:
    """Return where a path of the repository lies on disk: the server does the same."""

    def escape(segment: str) -> str:
        text = "".join(
            c if re.fullmatch(r"[A-Za-z0-9._-]", c) else "".join(f"%{b:02X}" for b in c.encode())
            for c in segment
        )
        if text.endswith("."):
            text = text[:-1] + "%2E"
        return text if len(text) <= 120 else "long-" + hashlib.sha256(segment.encode()).hexdigest()

    return "/".join(escape(s) for s in path.split("/"))


@dataclass
class Case:
    """One repository on its way to disk."""

    name: str
    about: str
    tool: str
    spec: str = "4"
    expect: Json = field(default_factory=lambda: GOOD)
    consistent: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    targets: list[Json] = field(default_factory=list)

    def metadata(self, role: str, version: int, data: bytes) -> None:
        """Put a metadata file where the repository serves it."""
        prefixed = role == "root" or (self.consistent and role != "timestamp")
        self.files[f"metadata/{version}.{role}.json" if prefixed else f"metadata/{role}.json"] = (
            data
        )

    def target(
        self, role: str, path: str, data: bytes, hashes: dict[str, str], custom: Json | None
    ) -> None:
        """Put a target file, one copy for each hash, and expect clients to get it."""
        folder, _, name = path.rpartition("/")
        folder = f"targets/{folder}/" if folder else "targets/"
        for digest in hashes.values() if self.consistent else ():
            self.files[f"{folder}{digest}.{name}"] = data
        if not self.consistent:
            self.files[f"{folder}{name}"] = data
        digest = hashlib.sha256(data).hexdigest()
        entry: Json = {"name": path, "role": role, "length": len(data), "sha256": digest}
        self.targets.append({**entry, "custom": custom} if custom is not None else entry)

    def absent(self, *paths: str) -> None:
        """Expect clients not to find the paths, or to be refused like for the rest."""
        self.targets += [{"name": path, "absent": True} for path in paths]

    def save(self) -> None:
        """Write the case to disk."""
        home = HERE / self.name
        shutil.rmtree(home, ignore_errors=True)
        for path, data in self.files.items():
            file = home / disk_name(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        (home / "1.root.json").write_bytes(self.files["metadata/1.root.json"])
        case: Json = {"about": self.about, "tool": self.tool, "spec": self.spec, "now": NOW}
        case |= {"expect": self.expect, "targets": self.targets, "plain": {}}
        text = json.dumps(case, indent=2, ensure_ascii=False)
        (home / "case.json").write_text(text + "\n", encoding="utf-8")


class Api:
    """A repository made with python-tuf's metadata API."""

    def __init__(self, case: Case, pretty: bool = False, hashed: bool = False, **keys: Any) -> None:
        self.case, self.hashed = case, hashed
        self.serializer = JSONSerializer(compact=not pretty)
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.root = Root(expires=EXPIRES, consistent_snapshot=case.consistent)
        self.timestamp, self.snapshot = Timestamp(expires=EXPIRES), Snapshot(expires=EXPIRES)
        self.roles = {"targets": Targets(expires=EXPIRES)}
        for n, role in enumerate(("root", "timestamp", "snapshot", "targets")):
            self.authorize(role, keys.get(role, [signer(f"ed25519-{n}")]))

    def authorize(self, role: str, signers: Sequence[CryptoSigner], threshold: int = 1) -> None:
        """Replace the keys of a top-level role."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        for s in signers:
            self.root.add_key(s.public_key, role)
        self.root.roles[role].threshold = threshold
        self.signers[role] = list(signers)

    def delegate(
        self, parent: str, role: DelegatedRole | SuccinctRoles, signers: Sequence[CryptoSigner]
    ) -> None:
        """Delegate to a role, or to hash bins."""
        targets = self.roles[parent]
        if isinstance(role, SuccinctRoles):
            names = list(role.get_roles())
            targets.delegations = Delegations({}, succinct_roles=role)
        else:
            names = [role.name]
            targets.delegations = targets.delegations or Delegations({}, {})
            assert targets.delegations.roles is not None
            targets.delegations.roles[role.name] = role
        for s in signers:
            targets.add_key(s.public_key, names[0])
        for name in names:
            self.roles.setdefault(name, Targets(expires=EXPIRES))
            self.signers[name] = list(signers)

    def add(
        self,
        role: str,
        path: str,
        data: bytes,
        custom: Json | None = None,
        algorithms: list[str] | None = None,
    ) -> TargetFile:
        """Add a target file to a role."""
        target = TargetFile.from_data(path, data, algorithms)
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self.roles[role].targets[path] = target
        self.case.target(role, path, data, target.hashes, custom)
        return target

    def sign(self, signed: S, signers: Sequence[CryptoSigner]) -> bytes:
        """Sign and serialize."""
        md: Metadata[S] = Metadata(signed)
        for s in signers:
            md.sign(s, append=True)
        return md.to_bytes(self.serializer)

    def publish_root(self, *former: CryptoSigner) -> None:
        """Publish a root, signed by former keys too, and prepare the next version."""
        signers = [*self.signers["root"], *former]
        self.case.metadata("root", self.root.version, self.sign(self.root, signers))
        self.root.version += 1

    def meta(self, version: int, data: bytes) -> MetaFile:
        """Describe a metadata file."""
        if self.hashed:
            return MetaFile.from_data(version, data, ["sha256", "sha512"])
        return MetaFile(version)

    def publish(self) -> None:
        """Publish everything but the root, if that is published already."""
        if self.root.version == 1:
            self.publish_root()
        for name, role in self.roles.items():
            data = self.sign(role, self.signers[name])
            self.case.metadata(name, role.version, data)
            self.snapshot.meta[f"{name}.json"] = self.meta(role.version, data)
        data = self.sign(self.snapshot, self.signers["snapshot"])
        self.case.metadata("snapshot", self.snapshot.version, data)
        self.timestamp.snapshot_meta = self.meta(self.snapshot.version, data)
        data = self.sign(self.timestamp, self.signers["timestamp"])
        self.case.metadata("timestamp", self.timestamp.version, data)
        self.case.save()


class Raw:
    """A repository of plain JSON trees, signed with securesystemslib's signers."""

    def __init__(self, case: Case, **changes: Any) -> None:
        self.case = case
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.trees: dict[str, Json] = {}
        self.edit_file: Callable[[str, Json], None] = lambda role, file: None
        self.dump: Callable[[Json], bytes] = lambda file: json.dumps(file).encode()
        root = self.tree("root", keys={}, roles={}, consistent_snapshot=case.consistent)
        for n, role in enumerate(("root", "timestamp", "snapshot", "targets")):
            s = signer(f"ed25519-{n}", **changes)
            root["roles"][role] = {"keyids": [s.public_key.keyid], "threshold": 1}
            root["keys"][s.public_key.keyid] = s.public_key.to_dict()
            self.signers[role] = [s]
        self.tree("targets", targets={})
        self.tree("snapshot", meta={})
        self.tree("timestamp", meta={})

    def tree(self, role: str, **fields: Any) -> Json:
        """Make the signed part of a role."""
        kind = role if role in ("root", "snapshot", "timestamp") else "targets"
        common = {"_type": kind, "spec_version": "1.0.31", "version": 1}
        self.trees[role] = {**common, "expires": EXPIRES.strftime("%Y-%m-%dT%H:%M:%SZ"), **fields}
        return self.trees[role]

    def delegate(self, name: str, s: CryptoSigner, parent: str = "targets", **fields: Any) -> Json:
        """Delegate to a role, for all paths if nothing else is said."""
        keyid = s.public_key.keyid
        role = {"name": name, "keyids": [keyid], "threshold": 1, "terminating": False}
        role |= fields or {"paths": ["*", "*/*"]}
        tree = self.trees[parent].setdefault("delegations", {"keys": {}, "roles": []})
        tree["keys"][keyid] = s.public_key.to_dict()
        tree["roles"].append(role)
        self.tree(name, targets={})
        self.signers[name] = [s]
        return role

    def add(self, role: str, path: str, data: bytes, custom: Json | None = None) -> Json:
        """Add a target file to a role."""
        hashes = {"sha256": hashlib.sha256(data).hexdigest()}
        entry: Json = {"length": len(data), "hashes": hashes}
        if custom is not None:
            entry["custom"] = custom
        self.trees[role]["targets"][path] = entry
        self.case.target(role, path, data, hashes, custom)
        return entry

    def write(self, role: str) -> bytes:
        """Sign a role's tree and put the file."""
        signed = copy.deepcopy(self.trees[role])
        payload = (encode_canonical(signed) or "").encode()
        signatures = [s.sign(payload).to_dict() for s in self.signers[role]]
        file = {"signatures": signatures, "signed": signed}
        self.edit_file(role, file)
        data = self.dump(file)
        self.case.metadata(role, signed["version"], data)
        return data

    def publish(self, describe: Callable[[bytes], Json] = lambda data: {}) -> None:
        """Publish everything; describe adds to what snapshot and timestamp say of a file."""
        self.write("root")
        for role in self.trees:
            if role not in ("root", "snapshot", "timestamp"):
                meta = {"version": self.trees[role]["version"], **describe(self.write(role))}
                self.trees["snapshot"]["meta"][f"{role}.json"] = meta
        data = self.write("snapshot")
        meta = {"version": self.trees["snapshot"]["version"], **describe(data)}
        self.trees["timestamp"]["meta"]["snapshot.json"] = meta
        self.write("timestamp")
        self.case.save()


def hello(repo: Api | Raw, role: str = "targets", path: str = "hello.txt") -> Any:
    """Add a target that says where it comes from."""
    return repo.add(role, path, f"{path} of {repo.case.name}\n".encode())


def delegated(
    name: str, s: CryptoSigner, paths: list[str], terminating: bool = False
) -> DelegatedRole:
    """Return a delegation by path patterns to one key."""
    return DelegatedRole(name, [s.public_key.keyid], 1, terminating, paths)


CASES: list[Callable[[], None]] = []


def case(make: Callable[[], None]) -> Callable[[], None]:
    """Register a function that writes cases."""
    CASES.append(make)
    return make
