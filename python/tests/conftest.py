"""Repositories made with python-tuf's API, and a host that drives a real worker."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key, Signer
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

TOP = Path(__file__).resolve().parents[2]
SCRIPT = TOP / "python" / "python-tuf-client.py"
VECTORS = TOP / "testdata" / "protocol"
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
LATER = NOW + timedelta(days=30)
PATIENCE = 60


def load_client() -> ModuleType:
    """Import the script, whose file name is no module name."""
    spec = importlib.util.spec_from_file_location("python_tuf_client", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


client = load_client()


class Repo:
    """A repository in memory: files by name, made and signed anew by publish()."""

    def __init__(self) -> None:
        self.signers: dict[str, list[Signer]] = {
            role: [CryptoSigner.generate_ed25519()]
            for role in ("root", "timestamp", "snapshot", "targets")
        }
        self.root = Root(expires=LATER)
        for role, signers in self.signers.items():
            self.root.add_key(signers[0].public_key, role)
        self.timestamp = Timestamp(expires=LATER)
        self.snapshot = Snapshot(expires=LATER)
        self.targets = {"targets": Targets(expires=LATER)}
        self.files: dict[str, bytes] = {}
        self.local: dict[str, bytes] = {}
        self.add_target("app.tar.gz", b"hello", {"channel": "stable"})
        self.publish_root()
        self.trusted_root = self.files["1.root.json"]
        self.publish()

    def add_target(self, path: str, data: bytes, custom: Any = None, role: str = "targets") -> None:
        target = TargetFile.from_data(path, data, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self.targets[role].targets[path] = target

    def delegate(self, role: str, paths: list[str], parent: str = "targets", **more: Any) -> None:
        signer = CryptoSigner.generate_ed25519()
        self.signers.setdefault(role, [signer])
        owner = self.targets[parent]
        if owner.delegations is None:
            owner.delegations = Delegations({}, {})
        assert owner.delegations.roles is not None
        delegated = DelegatedRole(role, [], 1, more.get("terminating", False), paths)
        owner.delegations.roles[role] = delegated
        owner.add_key(self.signers[role][0].public_key, role)
        self.targets.setdefault(role, Targets(expires=LATER))
        self.snapshot.meta[f"{role}.json"] = MetaFile(1)

    def delegate_bins(self, bits: int) -> None:
        signer = CryptoSigner.generate_ed25519()
        succinct = SuccinctRoles([signer.public_key.keyid], 1, bits, "bin")
        keys: dict[str, Key] = {signer.public_key.keyid: signer.public_key}
        self.targets["targets"].delegations = Delegations(keys, None, succinct)
        for name in succinct.get_roles():
            self.signers[name] = [signer]
            self.targets[name] = Targets(expires=LATER)
            self.snapshot.meta[f"{name}.json"] = MetaFile(1)

    def sign(self, role: str, signed: Any) -> bytes:
        metadata: Metadata[Any] = Metadata(signed)
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def publish_root(self) -> None:
        self.files[f"{self.root.version}.root.json"] = self.sign("root", self.root)

    def publish(self) -> None:
        for role, signed in self.targets.items():
            self.snapshot.meta[f"{role}.json"] = MetaFile(signed.version)
            self.files[f"{signed.version}.{role}.json"] = self.sign(role, signed)
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.files[f"{self.snapshot.version}.snapshot.json"] = self.sign("snapshot", self.snapshot)
        self.files["timestamp.json"] = self.sign("timestamp", self.timestamp)

    def next_version(self) -> None:
        for signed in (self.timestamp, self.snapshot, *self.targets.values()):
            signed.version += 1
        self.publish()

    def keep(self, *roles: str) -> None:
        """Make the current files of these roles the trusted local copies."""
        for role in roles:
            versions = {"timestamp": "", "snapshot": f"{self.snapshot.version}."}
            prefix = versions.get(role) if role in versions else f"{self.targets[role].version}."
            self.local[role] = self.files[f"{prefix}{role}.json"]

    def fetch(self, fetch: dict[str, Any]) -> dict[str, Any]:
        """Answer a fetch of the worker."""
        version = f"{fetch['version']}." if fetch.get("version") else ""
        name = f"{version}{fetch['role']}.json"
        data = self.files.get(name)
        if fetch.get("local"):
            data = {"root": self.trusted_root, **self.local}.get(fetch["role"])
        if data is None:
            return {"error": {"code": "not_found", "class": "not_found", "message": name}}
        if sha256(data) == fetch.get("have"):
            return {"same": True}
        return {"data": base64.b64encode(data).decode()}

    def params(self, **more: Any) -> dict[str, Any]:
        return {
            "reference_time": NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "max_roots": 5,
            "max_roles": 8,
            "lengths": {"root": 512000, "timestamp": 16384},
            **more,
        }


Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Host:
    """Drives one worker process."""

    def __init__(self, *command: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self.frames: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.log: list[str] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._drain)]
        for thread in self._threads:
            thread.start()
        self.number = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.frames.put(json.loads(line))
        self.frames.put(None)

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(line.decode() for line in self.process.stderr)

    def send_raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, frame: dict[str, Any]) -> None:
        self.send_raw(json.dumps(frame).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        frame = self.frames.get(timeout=PATIENCE)
        assert frame is not None, "the worker closed its output"
        return frame

    def start(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> int:
        self.number += 1
        self.send({"id": self.number, "method": method, "params": params, **more})
        return self.number

    def ask(self, method: str, params: dict[str, Any], answer: Answer, **more: Any) -> Any:
        """Send a request, answer its fetches and return its reply."""
        number = self.start(method, params, **more)
        while "ok" not in (frame := self.receive()):
            fetch = frame["fetch"]
            self.send({"fetched": {"id": number, "seq": fetch["seq"], **answer(fetch)}})
        assert frame["id"] == number
        return frame

    def hang_up(self) -> int:
        """Close the worker's standard input and wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(timeout=PATIENCE)
        for thread in self._threads:
            thread.join(timeout=PATIENCE)
        return status

    def end(self) -> None:
        self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def repo() -> Repo:
    return Repo()


@pytest.fixture(scope="module")
def shared_host() -> Iterator[Host]:
    """One worker for many requests: what it keeps of one repository is nothing to another."""
    host = Host(sys.executable, "-I", str(SCRIPT), "worker")
    assert host.receive()["hello"]["protocol"] == 2
    yield host
    host.end()


@pytest.fixture
def host() -> Iterator[Host]:
    """A worker of one's own, greeted."""
    host = Host(sys.executable, "-I", str(SCRIPT), "worker")
    assert host.receive()["hello"]["protocol"] == 2
    yield host
    host.end()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
