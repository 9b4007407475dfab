"""The cases of testdata/interop in hand-built JSON, signed with securesystemslib's signers.

make_interop.py runs them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from interop import (
    GO_CANNOT,
    PYTHON_CANNOT,
    SSLIB,
    Case,
    Json,
    Raw,
    case,
    hello,
    refused,
    signer,
)
from securesystemslib.signer import CryptoSigner


def raw(name: str, about: str, consistent: bool = True, **options: Any) -> Raw:
    """Begin a case; options that are not the Case's change the keys of the top-level roles."""
    fields = {k: options.pop(k) for k in ("expect", "spec") if k in options}
    return Raw(Case(f"sslib-{name}", about, SSLIB, consistent=consistent, **fields), **options)


@case
def optional_fields() -> None:
    """Optional fields left out, and the other way round."""
    repo = raw(
        "no-consistent-snapshot",
        "root without consistent_snapshot",
        False,
        expect=GO_CANNOT,
        spec="4.3",
    )
    del repo.trees["root"]["consistent_snapshot"]
    hello(repo)
    repo.publish()
    repo = raw("length-only", "metadata files described by length without hashes", spec="4.4")
    hello(repo)
    repo.publish(lambda data: {"length": len(data)})
    repo = raw("hashes-only", "metadata files described by hashes without length", spec="4.4")
    hello(repo)
    repo.publish(lambda data: {"hashes": {"sha512": hashlib.sha512(data).hexdigest()}})
    # Listed as required, left out in the specification's own example; no engine can read it.
    neither = {m: {"code": "unrepresentable"} for m in ("go", "python")}
    neither |= {"auto": {"code": "engines_failed"}, "dual": {"code": "unable_in_dual"}}
    repo = raw("no-terminating", "a delegation without terminating", spec="4.5", expect=neither)
    del repo.delegate("more", signer("ed25519-4"))["terminating"]
    hello(repo, "more")
    repo.publish()
    repo = raw(
        "delegation-without-paths",
        "a role trusted with no path at all",
        spec="4.5",
        expect=PYTHON_CANNOT,
    )
    repo.delegate("none", signer("ed25519-4"), note="neither paths nor path_hash_prefixes")
    hello(repo)
    repo.publish()
    repo = raw("delegation-empty-paths", "a role with an empty list of paths", spec="4.5")
    repo.delegate("none", signer("ed25519-4"), paths=[])
    hello(repo)
    repo.publish()
    repo = raw("delegation-without-keys", "a role that nobody can sign, not on the way", spec="4.5")
    repo.delegate("nobody", signer("ed25519-4"), paths=["elsewhere/*"])["keyids"] = []
    hello(repo)
    repo.publish()
    repo = raw(
        "mirrors", "a root with the optional role mirrors", spec="4.3 ROLE", expect=PYTHON_CANNOT
    )
    repo.trees["root"]["roles"]["mirrors"] = repo.trees["root"]["roles"]["targets"]
    hello(repo)
    repo.publish()


@case
def numbers_and_names() -> None:
    """JSON that not every parser carries through."""
    big = 2**53 + 1
    repo = raw("big-custom", "integers above 2^53 in custom", spec="4.5 CUSTOM", expect=GO_CANNOT)
    repo.add("targets", "big", b"big\n", {"exact": big, "huge": 2**64, "negative": -big})
    repo.publish()
    repo = raw(
        "big-unknown", "an integer above 2^53 in an unknown field", spec="4", expect=GO_CANNOT
    )
    repo.trees["targets"]["x-big"] = big
    hello(repo)
    repo.publish()
    repo = raw("big-version", "a timestamp and targets version above 2^53", spec="4.3 VERSION")
    repo.trees["timestamp"]["version"] = repo.trees["targets"]["version"] = big
    hello(repo)
    repo.publish()
    repo = raw(
        "case-variants",
        "unknown fields that differ from known ones in case",
        spec="4",
        expect=GO_CANNOT,
    )
    hello(repo)
    repo.trees["targets"] |= {"Version": 99, "EXPIRES": "1970-01-01T00:00:00Z", "Targets": {}}
    repo.publish()
    about = "spec_version 1.0 and keyid_hash_algorithms, as in 2019"
    repo = raw("old-spec-version", about, keyid_hash_algorithms=["sha256", "sha512"], spec="4.3")
    for tree in repo.trees.values():
        tree["spec_version"] = "1.0"
    hello(repo)
    repo.publish()
    repo = raw(
        "layout",
        "tabs, CRLF, escapes, any order, unknown fields beside signed",
        spec="4.2",
    )
    hello(repo)
    repo.edit_file = lambda role, file: file.update({"x-unsigned": {"who": role}})

    def spread(file: Json) -> bytes:
        text = json.dumps(dict(reversed(file.items())), indent="\t").replace("\n", "\r\n")
        return (text.replace('"version"', '"v\\u0065rsion"') + "\r\n\r\n").encode()

    repo.dump = spread
    repo.publish()


@case
def signatures() -> None:
    """Signatures and keys beside those that count."""
    stranger = {"keyid": "ab" * 32, "sig": "cd" * 64}
    repo = raw(
        "stranger", "a signature of a key that nobody knows, in every file", spec="4.2, 5.3.4"
    )
    hello(repo)
    repo.edit_file = lambda _role, file: file["signatures"].insert(0, stranger)
    repo.publish()
    repo = raw(
        "stranger-not-hex",
        "a signature entry that is not hex: not signed, anybody can add it",
        spec="4.2",
        expect=GO_CANNOT,
    )
    hello(repo)
    repo.edit_file = lambda _role, file: file["signatures"].append({**stranger, "sig": "not hex"})
    repo.publish()
    repo = raw(
        "two-faults",
        "one key under two keyids for threshold 2, and a signature that is not hex",
        spec="5.6.3",
        expect={**refused("unsigned", "5.6.3"), "go": {"code": "unrepresentable"}},
    )
    twice(repo)
    repo.edit_file = lambda _role, file: file["signatures"].append({**stranger, "sig": "not hex"})
    repo.publish()
    repo = raw(
        "twice",
        "one key under two keyids for threshold 2",
        spec="5.6.3",
        expect=refused("unsigned", "5.6.3"),
    )
    twice(repo)
    repo.publish()


def spelled() -> CryptoSigner:
    """Return signer("p256-0") with white space around its PEM."""
    public = signer("p256-0").public_key.keyval["public"]
    return signer("p256-0", keyval={"public": f"\n{public}\n\n"})


def twice(repo: Raw) -> None:
    """Let one key sign targets under two keyids, for a threshold of two."""
    root, both = repo.trees["root"], [signer("p256-0"), spelled()]
    root["keys"] |= {s.public_key.keyid: s.public_key.to_dict() for s in both}
    keyids = [s.public_key.keyid for s in both]
    root["roles"]["targets"] = {"keyids": keyids, "threshold": 2}
    repo.signers["targets"] = both
    hello(repo)


@case
def keys() -> None:
    """Keys that cannot count, and keys that are not used."""
    future = {
        "keytype": "ml-dsa-65",
        "scheme": "ml-dsa-65/1",
        "keyval": {"public": "AAAA", "x": [1]},
    }
    repo = raw("unknown-key-unused", "a key of an unknown type that no role uses", spec="4.2.1")
    repo.trees["root"]["keys"]["11" * 32] = future
    hello(repo)
    repo.publish()
    repo = raw(
        "unknown-key-in-role", "1 of 2 keys, one of them of an unknown type", spec="4.2.1, 5.6.3"
    )
    repo.trees["root"]["keys"]["11" * 32] = future
    repo.trees["root"]["roles"]["targets"]["keyids"].insert(0, "11" * 32)
    hello(repo)
    repo.publish()
    repo = raw(
        "unknown-key-needed",
        "2 of 2 keys, one of them of an unknown type",
        spec="5.6.3",
        expect=refused("unsigned", "5.6.3"),
    )
    repo.trees["root"]["keys"]["11" * 32] = future
    repo.trees["root"]["roles"]["targets"]["keyids"].insert(0, "11" * 32)
    repo.trees["root"]["roles"]["targets"]["threshold"] = 2
    repo.edit_file = lambda _role, file: file["signatures"].append(
        {"keyid": "11" * 32, "sig": "00" * 64}
    )
    hello(repo)
    repo.publish()
    repo = raw("missing-key", "a role names a keyid that has no key; another signs", spec="4.3")
    repo.trees["root"]["roles"]["targets"]["keyids"].insert(0, "22" * 32)
    hello(repo)
    repo.publish()
    repo = raw("spelled-key-unused", "an unused key, listed in two spellings", spec="4.3")
    for s in (signer("p256-0"), spelled()):
        repo.trees["root"]["keys"][s.public_key.keyid] = s.public_key.to_dict()
    hello(repo)
    repo.publish()


@case
def role_names() -> None:
    """Names of delegated roles that could lead a client astray."""
    names = {
        "slash": "team/project",
        "dots": "../../escape",
        "dotdot": "..",
        "percent": "100%25/%2e%2e",
        "space": " a role ",
        "unicode": "équipe/日本",
        "version-like": "1.targets",
        "json-like": "targets.json",
        "long": "/".join(["a-rather-long-part-of-a-name"] * 12),
        "wide": "w" * 300,
        "device": 'con:?*|<>"',
        "tilde": "~root",
        "dash": "-rf",
    }
    for name, role in names.items():
        for consistent in (True, False) if name in ("slash", "version-like") else (True,):
            suffix = "" if consistent else "-inconsistent"
            repo = raw(
                f"role-{name}{suffix}",
                f"a delegated role named {role!r:.60}",
                consistent,
                spec="4.5 ROLENAME",
            )
            repo.delegate(role, signer("ed25519-4"))
            hello(repo)
            hello(repo, role, "from/role")
            repo.publish()


@case
def target_names() -> None:
    """Names of targets that need care in URLs and on disks."""
    names = (
        "with space",
        "plus+at@",
        "q?a=b&c",
        "hash#part",
        "semi;colon:comma,",
        "tilde~",
        "a'quote\"",
        "dir.d/x",
        ".hidden",
        "...",
        "100%",
        "star*[x]",
        "日本/語",
        "e\u0301",
        "-rf",
        "long/" + "n" * 180,
    )
    for name, consistent in (("target-names", True), ("target-names-inconsistent", False)):
        repo = raw(
            name,
            "target names with everything that RFC 3986 reserves, and more",
            consistent,
            spec="4.5 TARGETPATH",
        )
        for path in names:
            hello(repo, path=path)
        repo.publish()
