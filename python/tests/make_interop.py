"""Write the repositories under testdata/interop that come from Python tools.

Run it by hand after a change (see testdata/interop/README.md); no test runs it. It
writes one directory for each case: metadata and targets as python-tuf's API, or
securesystemslib's signers over hand-built JSON, make them, and what the TUF
specification expects of a client.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import interop_sslib  # noqa: F401  registers its cases
from interop import (
    CASES,
    EXPIRED,
    PYTHON_TUF,
    Api,
    Case,
    Json,
    case,
    delegated,
    hello,
    refused,
    signer,
)
from tuf.api.metadata import DelegatedRole, SuccinctRoles


def api(name: str, about: str, **options: Any) -> Api:
    """Begin a case of python-tuf's API; options that are not the Case's go to Api."""
    fields = {k: options.pop(k) for k in ("expect", "spec", "consistent") if k in options}
    return Api(Case(f"python-tuf-{name}", about, PYTHON_TUF, **fields), **options)


@case
def plain_repositories() -> None:
    """Ordinary repositories, in the ways the API offers to write them."""
    for name, about, options in (
        ("consistent", "consistent snapshots, versions only in snapshot", {}),
        ("inconsistent", "no consistent snapshots", {"consistent": False}),
        ("hashed", "length, sha256 and sha512 of every metadata file", {"hashed": True}),
        (
            "pretty",
            "indented JSON, with hashes of the indented files",
            {"pretty": True, "hashed": True},
        ),
    ):
        repo = api(name, about, **options)
        hello(repo)
        hello(repo, path="plugins/acme/tool-1.0.tar.gz")
        repo.case.absent("plugins/acme/other")
        repo.publish()


@case
def key_types() -> None:
    """One key type for all top-level roles."""
    for name, about, key in (
        ("rsa", "RSA-PSS, 3072 bits", signer("rsa3072-0")),
        ("ecdsa-p256", "ECDSA P-256, keytype ecdsa", signer("p256-0")),
        (
            "ecdsa-legacy-keytype",
            "ECDSA P-256, keytype ecdsa-sha2-nistp256 as securesystemslib wrote it before 2023",
            signer("p256-0", keytype="ecdsa-sha2-nistp256"),
        ),
        ("ecdsa-p384", "ECDSA P-384, keytype ecdsa", signer("p384-0")),
    ):
        repo = api(name, about, **{r: [key] for r in ("root", "timestamp", "snapshot", "targets")})
        hello(repo)
        repo.publish()


@case
def schemes_off_the_list() -> None:
    """Schemes that the specification does not name: their keys count for nothing."""
    for name, about, key in (
        (
            "rsa-pkcs1v15",
            "targets key with scheme rsa-pkcs1v15-sha256",
            signer("rsa2048-0", "rsa-pkcs1v15-sha256"),
        ),
        (
            "rsa-pss-sha512",
            "targets key with scheme rsassa-pss-sha512",
            signer("rsa2048-0", "rsassa-pss-sha512"),
        ),
        ("ecdsa-p521", "targets key on the curve P-521", signer("p521-0")),
    ):
        repo = api(
            name, about, expect=refused("unsigned", "5.6.3"), spec="4.2.1, 5.6.3", targets=[key]
        )
        hello(repo)
        repo.publish()


@case
def threshold() -> None:
    """Two of three keys of different types."""
    three = [signer("ed25519-4"), signer("rsa2048-0"), signer("p256-0")]
    for name, about, signing, fields in (
        (
            "threshold",
            "2 of 3 keys, Ed25519, RSA and ECDSA; signed by two",
            (three[1:], three[:2]),
            {},
        ),
        ("threshold-all", "2 of 3 keys; signed by all three", (three, three), {}),
        (
            "threshold-missed",
            "2 of 3 keys; targets signed by one of them and by a key of another role",
            (three, [three[0], signer("ed25519-1")]),
            {"expect": refused("unsigned", "5.6.3"), "spec": "5.6.3"},
        ),
    ):
        repo = api(name, about, **fields)
        repo.authorize("root", three, 2)
        repo.authorize("targets", three, 2)
        repo.signers["root"], repo.signers["targets"] = list(signing[0]), list(signing[1])
        hello(repo)
        repo.publish()


def rotate(repo: Api, gap: bool = False) -> None:
    """Publish root v1 to v5: new root keys, new timestamp key, new others, threshold 2."""
    repo.publish_root()
    repo.authorize("root", [signer("p256-0")])
    repo.publish_root(signer("ed25519-0"))
    repo.authorize("timestamp", [signer("ed25519-4")])
    repo.publish_root()
    repo.authorize("snapshot", [signer("ed25519-5")])
    repo.authorize("targets", [signer("rsa2048-0")])
    repo.publish_root()
    repo.authorize("root", [signer("ed25519-6"), signer("ed25519-7")], 2)
    repo.publish_root(signer("p256-0"))
    if gap:
        del repo.case.files["metadata/3.root.json"]
    hello(repo)
    repo.publish()


@case
def rotations() -> None:
    """Root chains."""
    rotate(api("rotation", "root v1 to v5: every role gets new keys on the way", spec="5.3"))
    rotate(
        api(
            "rotation-inconsistent",
            "the same without consistent snapshots",
            consistent=False,
            spec="5.3",
        )
    )
    gap = "3.root.json is missing: the client ends at root v2, which knows the old timestamp key"
    rotate(
        api("rotation-gap", gap, expect=refused("unsigned", "5.4.2"), spec="5.3.3, 5.4.2"), gap=True
    )
    about = "root v2 is signed by its own new key only"
    repo = api("rotation-forged", about, expect=refused("unsigned", "5.3.4"), spec="5.3.4")
    repo.publish_root()
    repo.authorize("root", [signer("ed25519-4")])
    repo.publish_root()
    hello(repo)
    repo.publish()


@case
def delegations() -> None:
    """Delegations by path patterns, three levels deep."""
    for name, consistent in (("delegations", True), ("delegations-inconsistent", False)):
        repo = api(
            name,
            "path patterns, three levels, one terminating",
            consistent=consistent,
            hashed=True,
            spec="5.6.7",
        )
        four, five, six = signer("ed25519-4"), signer("p256-0"), signer("rsa2048-0")
        repo.delegate("targets", delegated("acme", four, ["acme/*", "acme/*/*"]), [four])
        repo.delegate("acme", delegated("acme-tools", five, ["acme/tools/*", "other/*"]), [five])
        repo.delegate("acme-tools", delegated("acme-beta", six, ["acme/tools/*-beta-?.zip"]), [six])
        repo.delegate("targets", delegated("closed", six, ["closed/*"], terminating=True), [six])
        repo.delegate("targets", delegated("last", five, ["*", "*/*"]), [five])
        hello(repo)
        hello(repo, "acme", "acme/one.zip")
        hello(repo, "acme-tools", "acme/tools/two.zip")
        hello(repo, "acme-beta", "acme/tools/three-beta-1.zip")
        hello(repo, "last", "any/where.zip")
        # Listed where nobody trusts the role with them, or behind a terminating role.
        for role, path in (
            ("acme-tools", "other/x"),
            ("acme", "else/x"),
            ("acme-beta", "acme/tools/beta.zip"),
        ):
            repo.roles[role].targets[path] = repo.roles["targets"].targets["hello.txt"]
            repo.case.absent(path)
        repo.roles["last"].targets["closed/x"] = repo.roles["targets"].targets["hello.txt"]
        repo.case.absent("closed/x", "nobody/has/this")
        repo.publish()


@case
def bins() -> None:
    """Hash bins: 256 prefixes over 8 roles (PEP 458), and succinct ones (TAP 15)."""
    paths = [f"packages/p{n}.whl" for n in range(6)]
    repo = api("hash-prefixes", "256 hash prefixes, 8 bins", spec="4.5 path_hash_prefixes")
    for n in range(8):
        prefixes = [f"{i:02x}" for i in range(32 * n, 32 * n + 32)]
        role = DelegatedRole(
            f"bin-{n}", [signer("ed25519-4").public_key.keyid], 1, False, None, prefixes
        )
        repo.delegate("targets", role, [signer("ed25519-4")])
    for path in paths:
        hello(repo, f"bin-{hashlib.sha256(path.encode()).digest()[0] // 32}", path)
    assert not hashlib.sha256(b"astray").hexdigest().startswith("0")
    repo.roles["bin-0"].targets["astray"] = next(iter(repo.roles["bin-1"].targets.values()))
    repo.case.absent("astray")
    repo.publish()
    for consistent in (True, False):
        name = "succinct" if consistent else "succinct-inconsistent"
        repo = api(name, "succinct hash bins, 5 bits", consistent=consistent, spec="TAP 15")
        succinct = SuccinctRoles([signer("p256-0").public_key.keyid], 1, 5, "bin.s")
        repo.delegate("targets", succinct, [signer("p256-0")])
        for path in paths:
            hello(repo, succinct.get_role_for_target(path), path)
        repo.case.absent("packages/none.whl")
        repo.publish()


@case
def unknown_fields() -> None:
    """Fields that no specification knows, in every object the API lets have them."""
    repo = api("unknown-fields", "unknown fields in every object, and custom", hashed=True)
    extra: Json = {"x-note": {"list": [1, None, True, "two"], "empty": {}}, "zz": [], "A": -7}
    custom = {
        "version": "1.0",
        "requires": ["a", "b"],
        "nested": {"deep": {"er": [[]]}},
        "big": 2**53,
    }
    repo.delegate(
        "targets", delegated("more", signer("ed25519-4"), ["more/*"]), [signer("ed25519-4")]
    )
    hello(repo, "more", "more/x")
    repo.add("targets", "custom", b"custom\n", custom).unrecognized_fields["x-also"] = 1
    top = repo.roles["targets"]
    assert top.delegations is not None
    assert top.delegations.roles is not None
    holders: list[Any] = [
        repo.root,
        repo.timestamp,
        repo.snapshot,
        *repo.roles.values(),
        top.delegations,
        *top.delegations.roles.values(),
        *repo.root.roles.values(),
    ]
    for holder in holders:
        holder.unrecognized_fields.update(extra)
    repo.publish()


@case
def non_ascii() -> None:
    """Text outside ASCII, everywhere it may stand."""
    four = signer("ed25519-4")
    custom = {
        "übung": "日本語 \U0001f512",
        "a\u2028b": 'tab\t newline\n quote" backslash\\ <&>',
        "\u007f": "é",
    }
    for name, consistent in (("non-ascii", True), ("non-ascii-inconsistent", False)):
        repo = api(name, "non-ASCII role, target names and custom", consistent=consistent)
        repo.delegate("targets", delegated("équipe-日本", four, ["été/*"]), [four])
        repo.add("targets", "größe/日本語.zip", b"one\n", custom)
        hello(repo, "équipe-日本", "été/\U0001f512.bin")
        repo.root.unrecognized_fields["ключ"] = "значение"
        repo.publish()


@case
def hash_algorithms() -> None:
    """Targets with other hashes than sha256."""
    for name, consistent in (("hashes", True), ("hashes-inconsistent", False)):
        repo = api(
            name,
            "targets with sha512 only, and with sha256 and sha512",
            consistent=consistent,
            spec="4.5, 5.7.3",
        )
        repo.add("targets", "sha512", b"sha512\n", None, ["sha512"])
        repo.add("targets", "both", b"both\n", None, ["sha256", "sha512"])
        repo.add("targets", "empty", b"")
        repo.publish()
    repo = api("no-targets", "a repository that publishes nothing", spec="4.5 TARGETPATH")
    repo.case.absent("anything")
    repo.publish()


@case
def ceremony() -> None:
    """What a signing ceremony tool leaves: notes in keys, empty signatures of absent signers."""
    repo = api(
        "ceremony", "a signer who has not signed yet stands in the list with an empty signature"
    )
    owner = {"x-tuf-on-ci-keyowner": "@someone"}
    two = [signer("ed25519-4", **owner), signer("p256-0", **owner)]
    repo.authorize("targets", two)
    repo.root.unrecognized_fields |= {
        "x-tuf-on-ci-expiry-period": 182,
        "x-tuf-on-ci-signing-period": 35,
    }
    repo.signers["targets"] = two[:1]
    hello(repo)
    original = repo.case.metadata

    def pending(role: str, version: int, data: bytes) -> None:
        file = json.loads(data)
        if role == "targets":
            file["signatures"].append({"keyid": two[1].public_key.keyid, "sig": ""})
        original(role, version, json.dumps(file).encode())

    repo.case.metadata = pending  # type: ignore[method-assign]
    repo.publish()


@case
def broken() -> None:
    """Repositories that must be refused, or targets that must be."""
    repo = api(
        "expired",
        "targets metadata that ends at the very second of the update",
        spec="5.6.5",
        expect=refused("expired", "5.6.5"),
    )
    repo.roles["targets"].expires = EXPIRED
    hello(repo)
    repo.publish()
    repo = api(
        "snapshot-hash",
        "the snapshot is not the one that the timestamp describes",
        hashed=True,
        spec="5.5.2",
        expect=refused("mismatch", "5.5.2"),
    )
    hello(repo)
    repo.publish()
    repo.snapshot.expires -= timedelta(seconds=1)
    repo.case.metadata("snapshot", 1, repo.sign(repo.snapshot, repo.signers["snapshot"]))
    repo.case.save()
    repo = api(
        "wrong-target",
        "the target file has one byte changed",
        spec="5.7.3",
        expect=refused("mismatch", "5.7.3"),
    )
    hello(repo)
    repo.publish()
    repo.case.files = {
        k: v.upper() if k.startswith("targets/") else v for k, v in repo.case.files.items()
    }
    repo.case.save()
    repo = api(
        "old-snapshot",
        "the timestamp announces snapshot 2, the server has 1",
        consistent=False,
        spec="5.5.4",
        expect=refused("bad_version", "5.5.4"),
    )
    hello(repo)
    repo.publish()
    old = repo.case.files["metadata/snapshot.json"]
    repo.snapshot.version = 2
    repo.publish()
    repo.case.files["metadata/snapshot.json"] = old
    repo.case.save()


if __name__ == "__main__":
    for make in CASES:
        make()
