"""What the worker accepts and refuses: real repositories, real signatures."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from conftest import LATER, NOW, Host, Repo, client, sha256
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP521R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, Targets


def refresh(host: Host, repo: Repo, **more: Any) -> Any:
    return host.ask("refresh", repo.params(**more), repo.fetch)


def names(reply: Any) -> list[tuple[str, str, int]]:
    verified = reply["result"] if reply["ok"] else reply["error"]["detail"]
    return [(v["role"], v["delegator"], v["version"]) for v in verified["verified"]]


def refused(reply: Any, code: str, role: str = "") -> dict[str, Any]:
    assert not reply["ok"], reply
    error: dict[str, Any] = reply["error"]
    assert error["code"] == code, error
    assert error.get("role", "") == role, error
    assert isinstance(error["detail"]["verified"], list)
    return error


TOP_ROLES = [(role, "root", 1) for role in ("timestamp", "snapshot", "targets")]


def test_init_checks_the_root(shared_host: Host, repo: Repo) -> None:
    reply = shared_host.ask("init", repo.params(), repo.fetch)
    assert reply["result"] == {"version": 1}


def test_refresh_lists_what_was_verified(shared_host: Host, repo: Repo) -> None:
    reply = refresh(shared_host, repo)
    assert names(reply) == TOP_ROLES
    digests = [v["sha256"] for v in reply["result"]["verified"]]
    assert digests[0] == sha256(repo.files["timestamp.json"])
    assert digests[2] == sha256(repo.files["1.targets.json"])


def test_lookup_tells_role_and_content(shared_host: Host, repo: Repo) -> None:
    repo.delegate("team", ["team/*"])
    repo.add_target("team/tool", b"tool", role="team")
    repo.add_target("team/none", b"", custom={"a": [1, None]}, role="team")
    repo.publish()
    targets = ["app.tar.gz", "team/tool", "team/none", "team/x", "nothing"]
    reply = shared_host.ask("lookup", repo.params(targets=targets), repo.fetch)
    answers = reply["result"]["answers"]
    assert answers["team/tool"] == {
        "role": "team",
        "length": 4,
        "hashes": {"sha256": sha256(b"tool")},
    }
    assert answers["app.tar.gz"]["role"] == "targets"
    assert answers["app.tar.gz"]["custom"] == {"channel": "stable"}
    assert answers["team/none"]["custom"] == {"a": [1, None]}
    assert answers["team/x"] is None and answers["nothing"] is None
    assert names(reply) == [*TOP_ROLES, ("team", "targets", 1)]


def test_the_walk_uses_the_globs_of_the_specification(shared_host: Host, repo: Repo) -> None:
    repo.delegate("odd", ["[^a]x", "\\*"])
    repo.add_target("ax", b"no", role="odd")
    repo.add_target("bx", b"yes", role="odd")
    repo.add_target("*", b"yes", role="odd")
    repo.publish()
    reply = shared_host.ask("lookup", repo.params(targets=["ax", "bx", "*"]), repo.fetch)
    found = {path: bool(answer) for path, answer in reply["result"]["answers"].items()}
    assert found == {"ax": False, "bx": True, "*": True}


def test_list_loads_every_role_once_for_each_delegator(shared_host: Host, repo: Repo) -> None:
    repo.delegate("a", ["a/*"])
    repo.delegate("b", ["b/*"], terminating=True)
    repo.delegate("b", ["b/*"], parent="a")
    repo.delegate("a", ["a/*"], parent="b")
    repo.publish()
    reply = shared_host.ask("list", repo.params(), repo.fetch)
    delegated = [("a", "targets", 1), ("b", "a", 1), ("a", "b", 1), ("b", "targets", 1)]
    assert names(reply) == [*TOP_ROLES, *delegated]


def test_list_walks_succinct_bins_within_the_bound(shared_host: Host, repo: Repo) -> None:
    repo.delegate_bins(2)
    repo.publish()
    reply = shared_host.ask("list", repo.params(max_roles=5), repo.fetch)
    assert [n[0] for n in names(reply)[3:]] == ["bin-0", "bin-1", "bin-2", "bin-3"]
    refused(shared_host.ask("list", repo.params(max_roles=4), repo.fetch), "too_many", "bin-2")


def test_local_copies_are_used_and_reported(shared_host: Host, repo: Repo) -> None:
    repo.keep("timestamp", "snapshot", "targets")
    asked = []

    def answer(fetch: dict[str, Any]) -> dict[str, Any]:
        asked.append((fetch["role"], fetch.get("local", False)))
        return repo.fetch(fetch)

    reply = shared_host.ask("refresh", repo.params(), answer)
    assert names(reply) == TOP_ROLES
    remote = [role for role, local in asked if not local]
    assert remote == ["root", "timestamp"]


def test_damaged_local_copies_do_no_harm(shared_host: Host, repo: Repo) -> None:
    repo.local = {"timestamp": b"", "snapshot": b"[]", "targets": b"\0" * 100}
    assert names(refresh(shared_host, repo)) == TOP_ROLES


def test_an_expired_local_timestamp_is_only_a_floor(shared_host: Host, repo: Repo) -> None:
    repo.timestamp.expires = NOW - timedelta(days=1)
    repo.timestamp.version = 3
    repo.publish()
    repo.keep("timestamp")
    repo.timestamp.expires = LATER
    repo.timestamp.version = 2
    repo.publish()
    error = refused(refresh(shared_host, repo), "rollback", "timestamp")
    assert (error["detail"]["trusted"], error["detail"]["received"]) == (3, 2)
    assert error["detail"]["verified"] == []


def new_root(repo: Repo) -> None:
    repo.root.version += 1
    repo.publish_root()


def test_root_chain(shared_host: Host, repo: Repo) -> None:
    new_root(repo)
    new_root(repo)
    assert names(refresh(shared_host, repo)) == [
        ("root", "root", 2),
        ("root", "root", 3),
        *TOP_ROLES,
    ]


def test_more_root_versions_than_the_bound(shared_host: Host, repo: Repo) -> None:
    for _ in range(5):
        new_root(repo)
    assert refresh(shared_host, repo)["ok"]
    new_root(repo)
    error = refused(refresh(shared_host, repo), "too_many", "root")
    assert len(error["detail"]["verified"]) == 5


def test_more_roles_than_the_bound(shared_host: Host, repo: Repo) -> None:
    for n in range(8):
        repo.delegate(f"r{n}", ["x/*"])
    repo.publish()
    reply = shared_host.ask("lookup", repo.params(targets=["x/y"]), repo.fetch)
    refused(reply, "too_many", "r7")
    reply = shared_host.ask("lookup", repo.params(targets=["x/y"], max_roles=9), repo.fetch)
    assert reply["result"]["answers"] == {"x/y": None}


# --- Every way to be refused -----------------------------------------------------------


def forge_timestamp(repo: Repo) -> None:
    repo.signers["timestamp"] = [CryptoSigner.generate_ed25519()]
    repo.publish()


def forge_root(repo: Repo) -> None:
    repo.signers["root"] = [CryptoSigner.generate_ed25519()]
    new_root(repo)


def skip_root_version(repo: Repo) -> None:
    repo.root.version = 3
    repo.publish_root()
    repo.files["2.root.json"] = repo.files["3.root.json"]


def expire(role: str) -> Any:
    def change(repo: Repo) -> None:
        signed: Any = {"timestamp": repo.timestamp, "snapshot": repo.snapshot, **repo.targets}[role]
        signed.expires = NOW  # expired at the very second
        repo.publish()

    return change


def expire_root(repo: Repo) -> None:
    repo.root.expires = NOW
    new_root(repo)


def roll_back_timestamp(repo: Repo) -> None:
    repo.next_version()
    repo.keep("timestamp")
    repo.timestamp.version = 1
    repo.publish()


def roll_back_snapshot_in_timestamp(repo: Repo) -> None:
    repo.next_version()
    repo.keep("timestamp")
    repo.timestamp.version = 3
    repo.snapshot.version = 1
    repo.publish()


def roll_back_targets_in_snapshot(repo: Repo) -> None:
    repo.next_version()
    repo.keep("timestamp", "snapshot")
    repo.timestamp.version = repo.snapshot.version = 3
    repo.targets["targets"].version = 1
    repo.publish()


def drop_role_from_snapshot(repo: Repo) -> None:
    repo.snapshot.meta["gone.json"] = MetaFile(1)
    repo.publish()
    repo.keep("timestamp", "snapshot")
    del repo.snapshot.meta["gone.json"]
    repo.timestamp.version = repo.snapshot.version = 2
    repo.publish()


def announce_other_snapshot(repo: Repo) -> None:
    repo.timestamp.snapshot_meta = MetaFile(2)
    repo.files["2.snapshot.json"] = repo.files["1.snapshot.json"]
    repo.files["timestamp.json"] = repo.sign("timestamp", repo.timestamp)


def announce_other_targets(repo: Repo) -> None:
    repo.snapshot.meta["targets.json"] = MetaFile(2)
    repo.files["2.targets.json"] = repo.files["1.targets.json"]
    repo.files["1.snapshot.json"] = repo.sign("snapshot", repo.snapshot)


def tamper_snapshot(repo: Repo) -> None:
    data = repo.files["1.snapshot.json"]
    repo.timestamp.snapshot_meta = MetaFile(1, len(data), {"sha256": sha256(b"other")})
    repo.files["timestamp.json"] = repo.sign("timestamp", repo.timestamp)


def endless_timestamp(repo: Repo) -> None:
    repo.files["timestamp.json"] += b" " * 20000


def confuse_types(repo: Repo) -> None:
    repo.files["timestamp.json"] = repo.files["1.snapshot.json"]


def garbage(repo: Repo) -> None:
    repo.files["timestamp.json"] = b"<html>"


def deep(repo: Repo) -> None:
    repo.files["timestamp.json"] = b'{"signed":' + b"[" * 5000 + b"]" * 5000 + b"}"


def sign_what_python_drops(repo: Repo) -> None:
    """Sign a timestamp with an entry that python-tuf leaves out when it serialises again."""
    document = json.loads(repo.files["timestamp.json"])
    document["signed"]["meta"]["other.json"] = {"version": 1}
    payload = (encode_canonical(document["signed"]) or "").encode()
    document["signatures"] = [repo.signers["timestamp"][0].sign(payload).to_dict()]
    repo.files["timestamp.json"] = json.dumps(document).encode()


def vanish(repo: Repo) -> None:
    del repo.files["timestamp.json"]


def omit_targets_from_snapshot(repo: Repo) -> None:
    del repo.snapshot.meta["targets.json"]
    repo.files["1.snapshot.json"] = repo.sign("snapshot", repo.snapshot)


ATTACKS = [
    (forge_timestamp, "unsigned", "timestamp"),
    (forge_root, "unsigned", "root"),
    (skip_root_version, "bad_version", "root"),
    (expire_root, "expired", "root"),
    (expire("timestamp"), "expired", "timestamp"),
    (expire("snapshot"), "expired", "snapshot"),
    (expire("targets"), "expired", "targets"),
    (roll_back_timestamp, "rollback", "timestamp"),
    (roll_back_snapshot_in_timestamp, "rollback", "timestamp"),
    (roll_back_targets_in_snapshot, "rollback", "snapshot"),
    (drop_role_from_snapshot, "rollback", "snapshot"),
    (announce_other_snapshot, "bad_version", "snapshot"),
    (announce_other_targets, "bad_version", "targets"),
    (tamper_snapshot, "mismatch", "snapshot"),
    (endless_timestamp, "endless_data", "timestamp"),
    (confuse_types, "malformed", "timestamp"),
    (omit_targets_from_snapshot, "not_in_snapshot", "targets"),
    (garbage, "unrepresentable", "timestamp"),
    (deep, "engine_internal", "timestamp"),
    (sign_what_python_drops, "unrepresentable", "timestamp"),
    (vanish, "http_status", "timestamp"),
]


@pytest.mark.parametrize(
    ("attack", "code", "role"), ATTACKS, ids=[f"{a[1]}-{n}" for n, a in enumerate(ATTACKS)]
)
def test_refused(shared_host: Host, repo: Repo, attack: Any, code: str, role: str) -> None:
    attack(repo)
    refused(refresh(shared_host, repo), code, role)


def test_a_delegated_role_outside_the_snapshot(shared_host: Host, repo: Repo) -> None:
    repo.delegate("team", ["team/*"])
    repo.publish()
    del repo.snapshot.meta["team.json"]
    repo.files["1.snapshot.json"] = repo.sign("snapshot", repo.snapshot)
    reply = shared_host.ask("lookup", repo.params(targets=["team/x"]), repo.fetch)
    refused(reply, "not_in_snapshot", "team")
    assert names(reply) == TOP_ROLES


def test_the_hosts_error_comes_back_unchanged(shared_host: Host, repo: Repo) -> None:
    wire = {
        "code": "http_status",
        "class": "transport",
        "message": "503",
        "role": "snapshot",
        "detail": {"status": 503},
    }

    def answer(fetch: dict[str, Any]) -> dict[str, Any]:
        broken = fetch["role"] == "snapshot" and not fetch.get("local")
        return {"error": wire} if broken else repo.fetch(fetch)

    error = shared_host.ask("refresh", repo.params(), answer)["error"]
    assert [v["role"] for v in error["detail"].pop("verified")] == ["timestamp"]
    assert error == wire


def test_an_empty_file_is_not_a_missing_one(shared_host: Host, repo: Repo) -> None:
    reply = shared_host.ask("refresh", repo.params(), lambda _fetch: {})
    refused(reply, "unrepresentable", "root")


@pytest.mark.parametrize(
    "change",
    [
        {"reference_time": "yesterday"},
        {"reference_time": None},
        {"max_roots": -1},
        {"max_roots": True},
        {"max_roles": 0},
        {"lengths": {"root": "1"}},
        {"lengths": []},
        {"targets": "a"},
        {"targets": ["\ud800"]},
    ],
    ids=str,
)
def test_bad_parameters(shared_host: Host, repo: Repo, change: dict[str, Any]) -> None:
    refused(refresh(shared_host, repo, **change), "usage")


# --- Distinct keys, and keys that cannot count -----------------------------------------


def resign_root(repo: Repo, change: Any) -> None:
    """Change raw root metadata, sign it anew and trust it."""
    document = json.loads(repo.trusted_root)
    change(document["signed"])
    payload = (encode_canonical(document["signed"]) or "").encode()
    document["signatures"] = [repo.signers["root"][0].sign(payload).to_dict()]
    repo.trusted_root = json.dumps(document).encode()


def sign_as(repo: Repo, keyids: list[str], signers: list[CryptoSigner]) -> None:
    """Let signers sign the timestamp under keyids of another choice."""
    document = json.loads(repo.files["timestamp.json"])
    payload = (encode_canonical(document["signed"]) or "").encode()
    pairs = zip(keyids, signers, strict=True)
    document["signatures"] = [{"keyid": k, "sig": s.sign(payload).signature} for k, s in pairs]
    repo.files["timestamp.json"] = json.dumps(document).encode()


def key_dict(key: Any, **change: Any) -> dict[str, Any]:
    return {**key.to_dict(), **change}


def pem(key: Any, **change: Any) -> Any:
    return {"public": key.keyval["public"], **change}


def ed(signer: CryptoSigner) -> tuple[dict[str, Any], dict[str, Any]]:
    key = signer.public_key
    return key_dict(key), key_dict(key, keyval={"public": key.keyval["public"].upper()})


def with_field(signer: CryptoSigner) -> tuple[dict[str, Any], dict[str, Any]]:
    return key_dict(signer.public_key), key_dict(signer.public_key, note="x")


def ecdsa_alias(signer: CryptoSigner) -> tuple[dict[str, Any], dict[str, Any]]:
    return key_dict(signer.public_key), key_dict(signer.public_key, keytype="ecdsa-sha2-nistp256")


def pem_space(signer: CryptoSigner) -> tuple[dict[str, Any], dict[str, Any]]:
    text = signer.public_key.keyval["public"]
    return key_dict(signer.public_key), key_dict(
        signer.public_key, keyval={"public": text + 2 * "\n"}
    )


SAME_KEY = [
    (CryptoSigner.generate_ed25519, ed),
    (CryptoSigner.generate_ed25519, with_field),
    (CryptoSigner.generate_ecdsa, ecdsa_alias),
    (CryptoSigner.generate_ecdsa, pem_space),
    (CryptoSigner.generate_rsa, pem_space),
]


@pytest.mark.parametrize(("make", "spell"), SAME_KEY)
def test_one_key_under_two_keyids_counts_once(
    shared_host: Host, repo: Repo, make: Any, spell: Any
) -> None:
    signer, other = make(), CryptoSigner.generate_ed25519()
    first, second = spell(signer)

    def change(root: dict[str, Any]) -> None:
        root["keys"].update(a=first, b=second, c=key_dict(other.public_key))
        root["roles"]["timestamp"] = {"keyids": ["a", "b", "c"], "threshold": 2}

    resign_root(repo, change)
    sign_as(repo, ["a", "b"], [signer, signer])
    refused(refresh(shared_host, repo), "unsigned", "timestamp")
    sign_as(repo, ["b", "c"], [signer, other])
    assert refresh(shared_host, repo)["ok"]


class TwinSigner(Signer):
    """Signs with another signer's key under a keyid of its own."""

    def __init__(self, signer: Signer, key: Key) -> None:
        self._signer, self._key = signer, key

    @property
    def public_key(self) -> Key:
        return self._key

    @classmethod
    def from_priv_key_uri(cls, *_args: Any, **_more: Any) -> TwinSigner:
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._key.keyid, self._signer.sign(payload).signature)


def test_one_key_under_two_keyids_in_a_delegation(shared_host: Host, repo: Repo) -> None:
    signer = CryptoSigner.generate_ed25519()
    key = signer.public_key
    twin = SSlibKey("twin", key.keytype, key.scheme, dict(key.keyval))
    role = DelegatedRole("team", [key.keyid, "twin"], 2, False, ["team/*"])
    top = repo.targets["targets"]
    top.delegations = Delegations({key.keyid: key, "twin": twin}, {"team": role})
    repo.signers["team"] = [signer, TwinSigner(signer, twin)]
    repo.targets["team"] = Targets(expires=LATER)
    repo.publish()
    reply = shared_host.ask("lookup", repo.params(targets=["team/x"]), repo.fetch)
    refused(reply, "unsigned", "team")


def rsa_pem(bits: int) -> str:
    public = rsa.generate_private_key(65537, bits).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ec_pem(curve: Any) -> str:
    public = generate_private_key(curve).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


ED = "ab" * 32
P521 = ec_pem(SECP521R1())
UNCOUNTABLE: list[dict[str, Any]] = [
    {"keytype": "quantum", "scheme": "magic", "keyval": {"public": "x"}},
    {"keytype": "ed25519", "scheme": "ed25519ph", "keyval": {"public": ED}},
    {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": ED[2:]}},
    {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz" * 32}},
    {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "ab " * 32}},
    {"keytype": "ed25519", "scheme": "ed25519", "keyval": {}},
    {"keytype": "ed25519", "scheme": "ed25519"},
    {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": "-----BEGIN"}},
    {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": rsa_pem(1024)}},
    {"keytype": "rsa", "scheme": "rsassa-pkcs1v15-sha256", "keyval": {"public": rsa_pem(2048)}},
    {"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": ec_pem(SECP256R1())}},
    {
        "keytype": "ecdsa",
        "scheme": "ecdsa-sha2-nistp256",
        "keyval": {"public": P521},
    },
    {
        "keytype": "ecdsa",
        "scheme": "ecdsa-sha2-nistp521",
        "keyval": {"public": P521},
    },
    {"keytype": "mldsa", "scheme": "mldsa-44/1", "keyval": {"public": "x"}, "note": [1]},
    {"keytype": 7, "scheme": None, "keyval": {"public": 1}},
]


@pytest.mark.parametrize("raw", UNCOUNTABLE, ids=lambda raw: f"{raw['keytype']}-{raw['scheme']}")
def test_a_key_that_cannot_count_does_no_harm(
    shared_host: Host, repo: Repo, raw: dict[str, Any]
) -> None:
    keyid = repo.signers["timestamp"][0].public_key.keyid

    def change(root: dict[str, Any]) -> None:
        root["keys"]["odd"] = raw
        root["roles"]["timestamp"] = {"keyids": ["odd", keyid], "threshold": 1}

    resign_root(repo, change)
    signer = repo.signers["timestamp"][0]
    assert isinstance(signer, CryptoSigner)
    sign_as(repo, ["odd", keyid], [signer, signer])
    assert names(refresh(shared_host, repo)) == TOP_ROLES


def test_a_short_rsa_key_cannot_reach_a_threshold(shared_host: Host, repo: Repo) -> None:
    signer = CryptoSigner.generate_rsa(size=1024)

    def change(root: dict[str, Any]) -> None:
        root["keys"]["short"] = key_dict(signer.public_key)
        root["roles"]["timestamp"] = {"keyids": ["short"], "threshold": 1}

    resign_root(repo, change)
    sign_as(repo, ["short"], [signer])
    refused(refresh(shared_host, repo), "unsigned", "timestamp")


# --- Two delegators of one role --------------------------------------------------------


def test_a_role_is_held_to_the_keys_of_each_delegator(shared_host: Host, repo: Repo) -> None:
    """Two delegators trust other keys for one role: what one vouches for is not the other's."""
    repo.delegate("a", ["a/*"])
    repo.delegate("b", ["b/*"])
    repo.delegate("c", ["a/*", "b/*"], parent="a")
    repo.delegate("c", ["a/*", "b/*"], parent="b")
    other = CryptoSigner.generate_ed25519()
    owner = repo.targets["b"].delegations
    assert owner is not None and owner.roles is not None
    owner.roles["c"].keyids = [other.public_key.keyid]
    owner.keys = {other.public_key.keyid: other.public_key}
    repo.add_target("a/x", b"honest", role="c")
    repo.publish()
    reply = shared_host.ask("lookup", repo.params(targets=["a/x", "b/x"]), repo.fetch)
    refused(reply, "unsigned", "c")
    reply = shared_host.ask("lookup", repo.params(targets=["a/x"]), repo.fetch)
    assert reply["result"]["answers"]["a/x"]["role"] == "c"


def test_what_one_delegator_vouches_for_is_never_given_for_another(
    shared_host: Host, repo: Repo
) -> None:
    """The local copy satisfies one delegator, the repository's the other, both of version 1."""
    repo.delegate("a", ["a/*"])
    repo.delegate("b", ["b/*"])
    repo.delegate("c", ["?/*"], parent="a")
    repo.delegate("c", ["?/*"], parent="b")
    repo.add_target("a/x", b"honest", role="c")
    repo.publish()
    repo.keep("c")
    other = CryptoSigner.generate_ed25519()
    owner = repo.targets["b"].delegations
    assert owner is not None and owner.roles is not None
    owner.roles["c"].keyids = [other.public_key.keyid]
    owner.keys = {other.public_key.keyid: other.public_key}
    repo.signers["c"] = [other]
    repo.targets["c"].targets.clear()
    repo.add_target("a/x", b"other bytes", role="c")
    repo.add_target("a/y", b"other bytes", role="c")
    repo.publish()
    params = repo.params(targets=["a/x", "b/x", "a/y"])
    answers = shared_host.ask("lookup", params, repo.fetch)["result"]["answers"]
    assert answers["a/x"]["hashes"]["sha256"] == sha256(b"honest")
    assert answers["a/y"] is None


def entrust(repo: Repo, delegator: str, role: str) -> CryptoSigner:
    """Let a delegator trust a new key, and no other, for a role."""
    signer = CryptoSigner.generate_ed25519()
    owner = repo.targets[delegator].delegations
    assert owner is not None and owner.roles is not None
    owner.roles[role].keyids = []
    repo.targets[delegator].add_key(signer.public_key, role)
    return signer


def two_faces(repo: Repo, second: str) -> None:
    """Make c one file for delegator a, kept locally, and another for `second`; both of version 1.

    The second one trusts another key for d, and that key signs d.
    """
    repo.publish()
    repo.keep("c")
    repo.signers["c"] = [entrust(repo, second, "c")]
    repo.signers["d"] = [entrust(repo, "c", "d")]
    repo.publish()


def test_children_are_held_to_the_delegator_they_were_reached_by(
    shared_host: Host, repo: Repo
) -> None:
    repo.delegate("a", ["a/*"])
    repo.delegate("b", ["b/*"])
    repo.delegate("c", ["?/*"], parent="a")
    repo.delegate("c", ["?/*"], parent="b")
    repo.delegate("d", ["?/z"], parent="c")
    two_faces(repo, "b")
    for second in ("b/x", "b/z"):
        params = repo.params(targets=["a/x", second, "a/z"])
        refused(shared_host.ask("lookup", params, repo.fetch), "unsigned", "d")


def test_the_list_holds_children_to_their_own_delegator(shared_host: Host, repo: Repo) -> None:
    repo.delegate("a", ["a/*"])
    repo.delegate("c", ["?/*"], parent="a")
    repo.delegate("e", ["?/*"], parent="c")
    repo.delegate("d", ["?/*"], parent="c")
    repo.delegate("c", ["?/*"], parent="e")
    two_faces(repo, "e")
    refused(shared_host.ask("list", repo.params(), repo.fetch), "unsigned", "d")


def test_metadata_object_is_kept_verbatim() -> None:
    """Keys that cannot count are serialised as they were read."""
    raw = {"keytype": 7, "extra": {"b": [1, {"c": None}]}}
    key = client.key_from_dict(client.Key, "k", raw)
    assert key.to_dict() == {"keytype": 7, "extra": {"b": [1, {"c": None}]}}
