"""What the worker keeps between requests, and that it changes no answer."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from conftest import LATER, NOW, Host, Repo, client, sha256
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets

client.harden()


class Remembering(Repo):
    """A repository that still has the first files of each name."""

    def __init__(self) -> None:
        self.first: dict[str, bytes] = {}
        super().__init__()

    def publish(self) -> None:
        super().publish()
        self.first = {**self.files, **self.first}


@pytest.fixture
def repo() -> Remembering:
    return Remembering()


class Direct:
    """Serves requests in this process, with one store for all of them."""

    def __init__(self, repo: Repo, store: Any = None) -> None:
        self.repo = repo
        self.store = client.Store() if store is None else store
        self.sent: list[str] = []

    def ask(self, method: str, now: datetime = NOW, **params: Any) -> Any:
        """Serve one request; `sent` then names the roles whose bytes were needed."""
        self.sent = []
        direct = self

        class Output:
            def send(self, frame: dict[str, Any]) -> None:
                fetch = frame["fetch"]
                answer = direct.repo.fetch(fetch)
                if "data" in answer:
                    direct.sent.append(fetch["role"])
                request.deliver({"seq": fetch["seq"], **answer})

        request = client.HostRequest(Output(), 1, 0, self.store)
        time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        reply = client.serve(request, method, self.repo.params(reference_time=time, **params))
        return reply if not reply["ok"] else reply["result"]

    def refused(self, method: str, **params: Any) -> tuple[str, str]:
        error = self.ask(method, **params)["error"]
        return error["code"], error.get("role", "")


def team(repo: Repo) -> Repo:
    """Let a repository have delegations, and the client trusted copies of everything."""
    repo.delegate("team", ["team/*/*"])
    repo.delegate("sub", ["team/sub/*"], parent="team")
    repo.add_target("team/sub/tool", b"tool", role="sub")
    repo.publish()
    repo.keep("timestamp", "snapshot", "targets", "team", "sub")
    return repo


PATHS = ["app.tar.gz", "team/sub/tool", "nothing"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every file parsed and every signature checked."""
    noted: list[str] = []

    def note(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def noting(*args: Any) -> Any:
            noted.append(name)
            return original(*args)

        monkeypatch.setattr(owner, name, noting)

    note(Metadata, "from_bytes")
    note(SSlibKey, "verify_signature")
    return noted


def test_nothing_is_sent_parsed_or_verified_twice(repo: Repo, counted: list[str]) -> None:
    direct = Direct(team(repo))
    first = direct.ask("lookup", targets=PATHS)
    assert direct.sent == ["root", "timestamp", "snapshot", "targets", "team", "sub"]
    assert counted.count("from_bytes") == counted.count("verify_signature") == len(direct.sent)
    counted.clear()
    assert direct.ask("lookup", targets=PATHS) == first
    assert direct.sent == counted == []


def test_a_worker_is_sent_new_files_only(host: Host, repo: Repo) -> None:
    team(repo)
    sent: list[str] = []

    def answer(fetch: dict[str, Any]) -> dict[str, Any]:
        answer = repo.fetch(fetch)
        sent.extend(f"{fetch['role']}" for _ in answer.keys() & {"data"})
        return answer

    first = host.ask("lookup", repo.params(targets=PATHS), answer)["result"]
    sent.clear()
    assert host.ask("lookup", repo.params(targets=PATHS), answer)["result"] == first
    assert sent == []
    repo.targets["sub"].version = 2
    repo.snapshot.version = repo.timestamp.version = 2
    repo.publish()
    assert host.ask("lookup", repo.params(targets=PATHS), answer)["ok"]
    assert sent == ["timestamp", "snapshot", "sub"]


def test_a_new_root_is_kept_and_judged_by_itself(repo: Repo, counted: list[str]) -> None:
    direct = Direct(repo)
    repo.root.version = 2
    repo.publish_root()
    assert direct.ask("refresh")["verified"][0]["role"] == "root"
    repo.trusted_root = repo.files["2.root.json"]
    counted.clear()
    assert len(direct.ask("refresh")["verified"]) == 3
    assert direct.sent == []
    # The trusted root is held to its own keys; the others were to the new root's already.
    assert counted == ["verify_signature"]
    counted.clear()
    assert len(direct.ask("refresh")["verified"]) == 3
    assert counted == []


# --- What is kept decides nothing but signatures ---------------------------------------


def later(repo: Remembering) -> dict[str, Any]:
    return {"now": LATER}


def older(repo: Remembering) -> dict[str, Any]:
    repo.timestamp.version = 3
    repo.publish()
    repo.keep("timestamp")
    repo.files["timestamp.json"] = repo.first["timestamp.json"]
    return {}


def other_length(repo: Remembering) -> dict[str, Any]:
    repo.snapshot.version = repo.timestamp.version = 2
    repo.publish()
    repo.snapshot.meta["sub.json"] = MetaFile(1, length=7)
    repo.files["2.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    return {}


def other_hash(repo: Remembering) -> dict[str, Any]:
    repo.snapshot.version = repo.timestamp.version = 2
    repo.publish()
    repo.snapshot.meta["sub.json"] = MetaFile(1, hashes={"sha256": "0" * 64})
    repo.files["2.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    return {}


def other_version(repo: Remembering) -> dict[str, Any]:
    repo.snapshot.version = repo.timestamp.version = 2
    repo.publish()
    repo.snapshot.meta["sub.json"] = MetaFile(2)
    repo.files["2.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    repo.files["2.sub.json"] = repo.first["1.sub.json"]
    return {}


def not_listed(repo: Remembering) -> dict[str, Any]:
    # Without the trusted copies: with them, the vanished name is a rollback.
    repo.local.clear()
    del repo.snapshot.meta["sub.json"]
    repo.files["1.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    return {}


def vanished(repo: Remembering) -> dict[str, Any]:
    repo.snapshot.version = repo.timestamp.version = 2
    repo.publish()
    del repo.snapshot.meta["sub.json"]
    repo.files["2.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    return {}


def too_long(repo: Remembering) -> dict[str, Any]:
    return {"lengths": {"timestamp": 10}}


def too_many(repo: Remembering) -> dict[str, Any]:
    return {"max_roles": 2}


def other_keys(repo: Remembering) -> dict[str, Any]:
    """The delegator trusts another key now; the delegated file stays as it is."""
    owner = repo.targets["team"].delegations
    assert owner is not None and owner.roles is not None
    owner.roles["sub"].keyids = []
    repo.targets["team"].add_key(CryptoSigner.generate_ed25519().public_key, "sub")
    for signed in (repo.timestamp, repo.snapshot, repo.targets["team"]):
        signed.version = 2
    repo.publish()
    repo.files["1.sub.json"] = repo.first["1.sub.json"]
    return {}


def higher_threshold(repo: Remembering) -> dict[str, Any]:
    owner = repo.targets["team"].delegations
    assert owner is not None and owner.roles is not None
    owner.roles["sub"].keyids.append("f" * 64)
    owner.roles["sub"].threshold = 2
    for signed in (repo.timestamp, repo.snapshot, repo.targets["team"]):
        signed.version = 2
    repo.publish()
    repo.files["1.sub.json"] = repo.first["1.sub.json"]
    return {}


def other_root_keys(repo: Remembering) -> dict[str, Any]:
    repo.root.version = 2
    repo.root.roles["targets"].keyids = []
    repo.root.add_key(CryptoSigner.generate_ed25519().public_key, "targets")
    repo.publish_root()
    return {}


def under_another_name(repo: Remembering) -> dict[str, Any]:
    """The very bytes of one role stand in the place of another that has other keys."""
    repo.local.pop("team")
    repo.files["1.team.json"] = repo.files["1.sub.json"]
    return {}


Change = Callable[[Remembering], dict[str, Any]]
CHANGES: list[tuple[Change, str, str]] = [
    (later, "expired", "root"),
    (older, "rollback", "timestamp"),
    (other_length, "endless_data", "sub"),
    (other_hash, "mismatch", "sub"),
    (other_version, "bad_version", "sub"),
    (not_listed, "not_in_snapshot", "sub"),
    (vanished, "rollback", "snapshot"),
    (too_long, "endless_data", "timestamp"),
    (too_many, "too_many", "sub"),
    (other_keys, "unsigned", "sub"),
    (higher_threshold, "unsigned", "sub"),
    (other_root_keys, "unsigned", "targets"),
    (under_another_name, "unsigned", "team"),
]


@pytest.mark.parametrize(
    ("change", "code", "role"), CHANGES, ids=[change[0].__name__ for change in CHANGES]
)
@pytest.mark.parametrize("limit", [client.KEPT_BYTES, 1 << 15, 0])
def test_everything_else_is_judged_anew(
    repo: Remembering, change: Change, code: str, role: str, limit: int
) -> None:
    direct = Direct(team(repo), client.Store(limit))
    assert direct.ask("lookup", targets=PATHS)["answers"]["team/sub/tool"]["role"] == "sub"
    params = change(repo)
    for _ in range(2):
        assert direct.refused("lookup", targets=PATHS, **params) == (code, role)


def test_a_failure_is_never_kept(repo: Repo, counted: list[str]) -> None:
    direct = Direct(repo)
    direct.ask("refresh")
    honest = repo.signers["timestamp"]
    repo.signers["timestamp"] = [CryptoSigner.generate_ed25519()]
    repo.timestamp.version = 2
    repo.publish()
    forged = repo.files["timestamp.json"]
    for _ in range(2):
        counted.clear()
        assert direct.refused("refresh") == ("unsigned", "timestamp")
        assert direct.sent == ["timestamp"] and "from_bytes" in counted
        assert direct.store.get(sha256(forged)) is None
    repo.signers["timestamp"] = honest
    repo.publish()
    assert direct.ask("refresh")["verified"]


def test_an_expired_file_is_not_kept(repo: Repo) -> None:
    repo.timestamp.expires = NOW
    repo.publish()
    direct = Direct(repo)
    assert direct.refused("refresh") == ("expired", "timestamp")
    assert direct.store.get(sha256(repo.files["timestamp.json"])) is None


ODD = [
    ({"same": True}, "engine_internal", ""),  # although nothing is kept
    ({"error": {"code": "not_found"}}, "usage", ""),
    ({"data": "?"}, "engine_internal", ""),
    ({"data": "e30="}, "unrepresentable", "root"),
    ({}, "unrepresentable", "root"),
]


@pytest.mark.parametrize(("answer", "code", "role"), ODD, ids=str)
def test_odd_answers_for_the_trusted_root(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], code: str, role: str
) -> None:
    monkeypatch.setattr(repo, "fetch", lambda _fetch: answer)
    assert Direct(repo).refused("refresh") == (code, role)


def test_what_is_shared_is_never_changed(repo: Repo) -> None:
    direct = Direct(team(repo))
    direct.ask("list")
    roles = ("root", "timestamp", "snapshot", "targets", "team", "sub")
    kept = [direct.store.last(role, 0) for role in roles]
    before = [document.parsed.to_dict() for document in kept]
    for params in ({"targets": PATHS}, {"max_roles": 1}, {"now": LATER}, {"targets": ["\ud800"]}):
        for method in ("init", "refresh", "lookup", "list"):
            direct.ask(method, **params)
    repo.next_version()
    direct.ask("lookup", targets=PATHS)
    assert [document.parsed.to_dict() for document in kept] == before
    for document in kept:
        assert document.parsed.to_dict() == Metadata[Any].from_bytes(document.data).to_dict()


def test_requests_at_the_same_time_share_the_store(repo: Repo) -> None:
    store = client.Store(1 << 16)  # room for some of the files
    team(repo)
    expected = Direct(repo).ask("lookup", targets=PATHS)
    wrong: list[Any] = []

    def work() -> None:
        direct = Direct(repo, store)
        for _ in range(20):
            if (result := direct.ask("lookup", targets=PATHS)) != expected:
                wrong.append(result)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- Bounds ----------------------------------------------------------------------------


def many_targets() -> Targets:
    hashes = (sha256(str(n).encode()) for n in range(3000))
    files = {f"a/{n}.tar.gz": TargetFile(n, {"sha256": h}, "x") for n, h in enumerate(hashes)}
    return Targets(expires=LATER, targets=files)


def many_custom() -> Targets:
    targets = many_targets()
    for target in targets.targets.values():
        target.unrecognized_fields["custom"] = {"a": [], "b": [{}, [], ["x", 1.5]]}
    return targets


def many_roles() -> Targets:
    repo = Repo()
    for n in range(200):
        repo.delegate(f"role-{n}", [f"{n}/*", f"x/{n}/*"])
    return repo.targets["targets"]


def many_versions() -> Snapshot:
    return Snapshot(expires=LATER, meta={f"bin-{n}.json": MetaFile(n + 1) for n in range(3000)})


def many_keys() -> Root:
    root = Root(expires=LATER)
    for _ in range(200):
        root.add_key(CryptoSigner.generate_ed25519().public_key, "root")
    return root


@pytest.mark.parametrize(
    "make", [many_targets, many_custom, many_roles, many_versions, many_keys, Targets, Root]
)
def test_the_weight_is_an_estimate_from_above(make: Callable[[], Any]) -> None:
    text = Metadata(make()).to_bytes()
    Metadata[Any].from_bytes(text)  # what is made once and for all
    tracemalloc.start()
    try:
        document = client.Document(bytes(bytearray(text)), sha256(text))
        document.parsed = document.parse()
        for n in range(client.MAX_VOUCHERS):
            document.vouch((sha256(str(n).encode()), "targets"))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < client.weight(text, parsed=True) < 5 * size


def document(n: int, size: int = 100) -> tuple[Any, Any]:
    targets = Targets(version=n, expires=LATER, unrecognized_fields={"x": "x" * size})
    data = Metadata(targets).to_bytes()
    return client.Document(data, sha256(data)), Metadata[Any].from_bytes(data)


def test_the_store_is_bounded() -> None:
    one, _ = document(1)
    limit = 10 * client.weight(one.data, parsed=True) + 500
    store = client.Store(limit)
    for n in range(1, 31):
        store.keep("targets", *document(n))
        store.keep("targets", *document(1))  # as good as always in use
        assert 0 < store.weight <= limit
    kept = [n for n in range(1, 31) if store.last("targets", n)]
    assert kept == [1, *range(22, 31)]
    assert store.last("targets", 0).sha256 == one.sha256
    assert store.weight == sum(client.weight(store.last("targets", n).data, True) for n in kept)


def test_names_and_vouchers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "KEPT_NAMES", 4)
    store = client.Store()
    for n in range(10):
        store.keep(f"r{n}", *document(1))
    assert [n for n in range(10) if store.last(f"r{n}", 0)] == [8, 9]
    one, _ = document(1)
    for n in range(1000):
        one.vouch((str(n), ""))
        assert (str(n), "") in one.vouchers and len(one.vouchers) <= client.MAX_VOUCHERS


def test_what_is_too_large_is_kept_as_bytes(repo: Repo, counted: list[str]) -> None:
    for n in range(200):
        repo.add_target(f"a/{n}", b"x")
    repo.publish()
    data = repo.files["1.targets.json"]
    limit = client.weight(data, parsed=True) - 1
    direct = Direct(repo, client.Store(limit))
    repo.keep("timestamp", "snapshot", "targets")
    first = direct.ask("lookup", targets=["a/7"])
    assert direct.store.get(sha256(data)).parsed is None
    counted.clear()
    assert direct.ask("lookup", targets=["a/7"]) == first
    assert direct.sent == [] and counted == ["from_bytes"]
