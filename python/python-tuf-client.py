#!/usr/bin/env python3
"""The python-tuf client of RAGnos Vault TUF, in one file.

`python-tuf-client.py worker [BYTES [LEVEL]]` is the long-lived process that a Go host feeds over
NDJSON, with a bound of its address space and the least level that it logs (debug or info); the
wire format is documented in protocol/doc.go. It opens no file and no connection.
`python-tuf-client.py init|refresh|download|list` is a client of its own with python-tuf's
transport and disk state. Both judge with python-tuf's ngclient, tightened where that leaves the
specification: thresholds count distinct keys, keys that cannot count do no harm, and path
patterns are globs as glob(7) has them.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import logging
import os
import queue
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import argparse

PROTOCOL = 2
MAX_LINE = 96 << 20
MAX_LOG_MESSAGE = 32 << 10
MAX_IN_FLIGHT = 16
MAX_NAME = 4096
READ_SIZE = 64 << 10
# How much memory the verified metadata that is kept may take.
KEPT_BYTES = 96 << 20
KEPT_NAMES = 4096
MAX_VOUCHERS = 64

# Class and exit code of every error code used here, as in protocol.Codes.
CODES = {
    "usage": ("usage", 2),
    "not_found": ("not_found", 3),
    "invalid_name": ("usage", 4),
    "unsigned": ("verdict", 10),
    "rollback": ("verdict", 11),
    "bad_version": ("verdict", 12),
    "expired": ("verdict", 13),
    "mismatch": ("verdict", 14),
    "endless_data": ("verdict", 15),
    "malformed": ("verdict", 16),
    "not_in_snapshot": ("verdict", 19),
    "too_many": ("verdict", 21),
    "unreachable": ("transport", 30),
    "http_status": ("transport", 31),
    "not_a_repository": ("transport", 32),
    "local_io": ("local", 40),
    "disk_full": ("local", 41),
    "permissions": ("local", 42),
    "no_root": ("local", 43),
    "bad_root": ("local", 44),
    "unrepresentable": ("fault", 50),
    "engine_timeout": ("fault", 52),
    "engine_internal": ("fault", 53),
    "protocol_violation": ("fault", 54),
    "missing_dependency": ("fault", 56),
    "timeout": ("cancelled", 124),
    "cancelled": ("cancelled", 130),
}
MEND = (
    "install it with `python -m pip install --require-hashes -r requirements.txt`"
    " or `ragnos-tuf python install`"
)


def error_frame(code: str, message: str, role: str = "") -> dict[str, Any]:
    """Return an error object of the protocol."""
    frame = {"code": code, "class": CODES[code][0], "message": message}
    return {**frame, "role": role} if role else frame


class Output:
    """Writes frames to a descriptor, one whole line at a time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, frame: dict[str, Any]) -> None:
        """Write one frame. Raises ValueError if it is over the limit of a line."""
        text = json.dumps(frame, allow_nan=False, separators=(",", ":"))
        line = memoryview(text.encode() + b"\n")
        if len(line) > MAX_LINE:
            raise ValueError(f"a frame of {len(line)} bytes is over the limit of {MAX_LINE}")
        with self._lock:
            while line:
                line = line[os.write(self._fd, line) :]


def positive(text: str) -> int:
    """Parse a command line number above zero."""
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the command line, which a worker does not need."""
    import argparse

    base = os.environ.get("RAGNOS_TUF_REPO_URL", "http://localhost:8080").rstrip("/")
    parser = argparse.ArgumentParser(
        prog="python-tuf-client.py",
        description="A TUF client on python-tuf. Prints one JSON object; exits as its code says.",
    )
    add = parser.add_argument
    add(
        "--metadata-dir",
        metavar="DIR",
        type=Path,
        default=Path("python-tuf/metadata"),
        help="trusted metadata, of this client alone (default %(default)s)",
    )
    add(
        "--target-dir",
        metavar="DIR",
        type=Path,
        default=Path("python-tuf/targets"),
        help="verified targets (default %(default)s)",
    )
    add(
        "--metadata-url",
        metavar="URL",
        default=f"{base}/metadata/",
        help="default %(default)s; RAGNOS_TUF_REPO_URL names another repository",
    )
    add("--targets-url", metavar="URL", default=f"{base}/targets/", help="default %(default)s")
    add(
        "--root",
        metavar="FILE",
        type=Path,
        default=os.environ.get("RAGNOS_TUF_ROOT") or None,
        help="trusted root metadata (RAGNOS_TUF_ROOT); without it the one kept by init",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=positive,
        default=300,
        help="the whole command may take that long (default %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("init", help="check the root given with --root and keep it")
    commands.add_parser("refresh", help="update and verify the metadata")
    download = commands.add_parser("download", help="download and verify targets")
    download.add_argument("names", nargs="+", metavar="NAME", help="target path")
    commands.add_parser("list", help="list every target that can be downloaded")
    return parser


MAIN = __name__ == "__main__"
WORKER = MAIN and sys.argv[1:2] == ["worker"]
ARGS = command_line().parse_args() if MAIN and not WORKER else None
# Standard output belongs to the protocol alone: whatever an import prints goes to stderr.
OUTPUT = Output(os.dup(1))
if WORKER:
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # The host fetches. Without python-tuf's own fetcher no urllib3, socket or ssl is imported:
    # the worker has nothing to open a connection with, and starts a third faster.
    offline = ModuleType("tuf.ngclient.urllib3_fetcher")
    vars(offline)["Urllib3Fetcher"] = type("Urllib3Fetcher", (), {})
    sys.modules[offline.__name__] = offline


def unusable(why: str) -> NoReturn:
    """Say that python-tuf cannot be used, and exit."""
    frame = error_frame("missing_dependency", f"Missing python-tuf dependency: {why}; {MEND}")
    OUTPUT.send({"fatal": frame} if WORKER else {"ok": False, "error": frame})
    sys.exit(CODES["missing_dependency"][1])


try:
    import cryptography
    import securesystemslib
    import tuf
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )
    from securesystemslib.formats import encode_canonical
    from securesystemslib.signer import Key, Signature, SSlibKey
    from tuf.api import exceptions as tufexc
    from tuf.api.metadata import (
        DelegatedRole,
        Metadata,
        Root,
        Signed,
        Snapshot,
        TargetFile,
        Targets,
        Timestamp,
        VerificationResult,
    )
    from tuf.api.serialization import DeserializationError, SerializationError
    from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig
    from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
    from tuf.ngclient.config import EnvelopeType
except ImportError as _cause:
    if not MAIN:
        raise
    unusable(str(_cause))


# --- Errors ---------------------------------------------------------------------------


class FailedError(Exception):
    """An error with a code of the protocol. `wire` is one from the host, to be passed on."""

    def __init__(self, code: str, message: str, wire: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.wire = wire


class RefusedError(tufexc.RepositoryError):
    """Metadata was refused. A RepositoryError, so that python-tuf goes on where it should."""

    def __init__(self, code: str, message: str, trusted: int = 0, received: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.versions = {"trusted": trusted, "received": received} if received else {}


def describe(error: BaseException, role: str) -> dict[str, Any]:
    """Return the error object for an exception that arose while working on a role."""
    if isinstance(error, FailedError) and error.wire is not None:
        return dict(error.wire)
    if isinstance(error, FailedError | RefusedError):
        return error_frame(error.code, str(error), role)
    if isinstance(error, tufexc.DownloadLengthMismatchError):
        return error_frame("endless_data", str(error), role)
    if isinstance(error, tufexc.DownloadHTTPError):
        return error_frame("http_status", str(error), role)
    if isinstance(error, tufexc.LengthOrHashMismatchError):
        return error_frame("mismatch", str(error), role)
    logging.getLogger("worker").error("%s", "".join(traceback.format_exception(error)))
    return error_frame("engine_internal", f"{type(error).__name__}: {error}", role)


# --- Path patterns (specification, 4.5: PATHPATTERN) -----------------------------------

# A token is None for `*`, or a pair: does the set negate, and its ranges of characters.
Token = tuple[bool, tuple[tuple[str, str], ...]] | None
ANY_CHARACTER: Token = (True, ())


def parse_bracket(pattern: str, start: int) -> tuple[Token, int] | None:
    """Parse the set after a `[`; return it and where it ends, or None if it is not closed."""
    at, negate = start, False
    if pattern[at : at + 1] in ("!", "^"):
        at, negate = at + 1, True
    ranges: list[tuple[str, str]] = []
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        # A backslash between brackets stands for itself (glob(7)).
        low, at = pattern[at], at + 1
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = pattern[at + 1], at + 2
        ranges.append((low, high))
    return ((negate, tuple(ranges)), at + 1) if at < len(pattern) else None


def one_character(pattern: str, at: int) -> tuple[str, int]:
    """Read one possibly escaped character; a backslash at the very end is itself."""
    if pattern[at] == "\\" and at + 1 < len(pattern):
        at += 1
    return pattern[at], at + 1


@lru_cache(maxsize=4096)
def parse_glob(pattern: str) -> tuple[Token, ...]:
    """Parse one segment of a path pattern."""
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        bracket = parse_bracket(pattern, at + 1) if character == "[" else None
        if bracket is not None:
            token, at = bracket
        elif character in "*?":
            token, at = (None if character == "*" else ANY_CHARACTER), at + 1
        else:
            literal, at = one_character(pattern, at)
            token = (False, ((literal, literal),))
        tokens.append(token)
    return tuple(tokens)


def matches_segment(text: str, tokens: tuple[Token, ...]) -> bool:
    """Match one segment in time O(len(text) * len(tokens)): only the last star is retried."""
    at = here = 0
    star, resume = -1, 0
    while at < len(text):
        token = tokens[here] if here < len(tokens) else (False, ())
        if token is None:
            star, resume = here, at
            here += 1
        elif token[0] != any(low <= text[at] <= high for low, high in token[1]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = resume, star + 1
        else:
            return False
    return all(token is None for token in tokens[here:])


def matches_path(path: str, pattern: str) -> bool:
    """Tell whether a target path matches a path pattern, segment by segment."""
    names, globs = path.split("/"), pattern.split("/")
    return len(names) == len(globs) and all(
        matches_segment(name, parse_glob(glob)) for name, glob in zip(names, globs, strict=True)
    )


# --- Keys -----------------------------------------------------------------------------


class UncountableKey(Key):
    """A key that never verifies: it is carried along, but counts for nothing."""

    def __init__(self, keyid: str, raw: dict[str, Any]) -> None:
        super().__init__(keyid, "", "", {})
        self._raw = raw

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> UncountableKey:
        """Keep the key as it was read."""
        return cls(keyid, key_dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what was read: python-tuf serialises it again for the signed payload."""
        return self._raw

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        """Refuse every signature."""
        raise securesystemslib.exceptions.UnverifiedSignatureError(f"{self.keyid} cannot count")


CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ecdsa-sha2-nistp256": ec.SECP256R1,
    "ecdsa-sha2-nistp384": ec.SECP384R1,
}


def fingerprint(keytype: object, scheme: object, public: object) -> str:
    """Return the SHA-256 of the key's SubjectPublicKeyInfo, "" for a key that cannot count."""
    if not (isinstance(keytype, str) and isinstance(scheme, str) and isinstance(public, str)):
        return ""
    try:
        key: Any
        if (keytype, scheme) == ("ed25519", "ed25519"):
            counts = re.fullmatch("[0-9a-fA-F]{64}", public) is not None
            key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        else:
            key = load_pem_public_key(public.encode())
            if (keytype, scheme) == ("rsa", "rsassa-pss-sha256"):
                counts = isinstance(key, rsa.RSAPublicKey) and 2048 <= key.key_size <= 16384
            else:
                counts = keytype in ("ecdsa", scheme) and scheme in CURVES
                counts = counts and isinstance(key, ec.EllipticCurvePublicKey)
                counts = counts and isinstance(key.curve, CURVES[scheme])
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if counts else b""
    except Exception:  # whatever cryptography makes of broken bytes: the key cannot count
        return ""
    return hashlib.sha256(der).hexdigest() if der else ""


def key_from_dict(_cls: type[Key], keyid: str, key_dict: dict[str, Any]) -> Key:
    """Replace Key.from_dict: an unknown or broken key does not condemn the whole file."""
    keyval = key_dict.get("keyval")
    public = keyval.get("public") if isinstance(keyval, dict) else None
    if fingerprint(key_dict.get("keytype"), key_dict.get("scheme"), public):
        return SSlibKey.from_dict(keyid, key_dict)
    return UncountableKey(keyid, key_dict)


def distinct(result: VerificationResult) -> VerificationResult:
    """Keep one keyid of each distinct key that signed: a threshold counts keys, not names."""
    keys: dict[str, str] = {}
    for keyid, key in result.signed.items():
        keys.setdefault(fingerprint(key.keytype, key.scheme, key.keyval.get("public")), keyid)
    signed = {keyid: result.signed[keyid] for mark, keyid in keys.items() if mark}
    return VerificationResult(result.threshold, signed, result.unsigned)


def harden() -> None:
    """Put what this file has better in the place of python-tuf's."""
    original = Root.get_verification_result

    def counted(
        self: Root | Targets, delegated_role: str, payload: bytes, signatures: dict[str, Signature]
    ) -> VerificationResult:
        return distinct(original(self, delegated_role, payload, signatures))

    for owner, name, value in (
        (Root, "get_verification_result", counted),
        (Targets, "get_verification_result", counted),
        (Key, "from_dict", classmethod(key_from_dict)),
        (DelegatedRole, "_is_target_in_pathpattern", staticmethod(matches_path)),
        # An Updater would verify the bootstrap root a second time; JudgingUpdater brings its set.
        (sys.modules[Updater.__module__], "TrustedMetadataSet", lambda _root, _envelope: None),
    ):
        setattr(owner, name, value)


# --- What python-tuf verified ----------------------------------------------------------


def peek(data: bytes) -> tuple[str, int]:
    """Return type and version that unverified metadata claims; ("", 0) if there are none."""
    try:
        signed = json.loads(data)["signed"]
        return str(signed["_type"]), int(signed["version"])
    except Exception:  # unverified bytes may be anything
        return "", 0


def reads_back(data: bytes) -> bool:
    """Tell whether python-tuf can represent metadata: what it would verify is what was signed."""
    try:
        payload = Metadata[Root].from_bytes(data).signed_bytes
        raw = encode_canonical(json.loads(data)["signed"])
        return raw is not None and raw.encode() == payload
    except Exception:  # whatever it cannot even read, it cannot represent
        return False


class Document:
    """The bytes of a metadata file, and what has been found out about these very bytes.

    `vouchers` holds, for each delegator whose threshold of keys signed the file, the digest of
    the delegator's bytes and the name that it gives the role. Nothing but these two and the
    file's own bytes decides about a signature, so a success need not be worked out twice,
    neither in one request nor in two. A failure is never noted. All that depends on anything
    else (versions, expiry, what others announce of length, hashes and version, who delegates
    which path) python-tuf judges anew in each request.
    """

    def __init__(self, data: bytes, sha256: str) -> None:
        self.data = data
        self.sha256 = sha256
        self.vouchers: set[tuple[str, str]] = set()
        # Shared between requests. Neither python-tuf's client nor this file changes it.
        self.parsed: Metadata[Any] | None = None

    def parse(self) -> Metadata[Any]:
        """Return what python-tuf reads in the bytes."""
        return self.parsed or Metadata[Any].from_bytes(self.data)

    def vouch(self, voucher: tuple[str, str]) -> None:
        """Note that enough keys of a delegator signed the file."""
        if len(self.vouchers) >= MAX_VOUCHERS:
            self.vouchers.clear()
        self.vouchers.add(voucher)


def weight(data: bytes, parsed: bool) -> int:
    """Estimate from above what a document takes in memory: JSON's marks tell of objects."""
    marks = len(data) - len(data.translate(None, b":,[{")) if parsed else 0
    return (16 << 10) + len(data) + 104 * marks


class Store:
    """Keeps documents that were verified, by digest. Those not used for longest go first.

    What is too large to be kept as python-tuf's objects is kept without them.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Document, int]] = OrderedDict()
        self._last: OrderedDict[tuple[str, int], str] = OrderedDict()
        self.weight = 0

    def get(self, digest: str) -> Document | None:
        """Return the document of that digest."""
        with self._lock:
            if digest not in self._kept:
                return None
            self._kept.move_to_end(digest)
            return self._kept[digest][0]

    def last(self, role: str, version: int) -> Document | None:
        """Return the last document kept of a role, of that version if it is not 0."""
        with self._lock:
            digest = self._last.get((role, version), "")
        return self.get(digest)

    def keep(self, role: str, document: Document, parsed: Metadata[Any]) -> None:
        """Keep a document that has been verified as a role's."""
        known = self.get(document.sha256)
        if known is None:
            size = weight(document.data, parsed=True)
            if size <= self._limit:
                document.parsed = parsed
            else:
                size = weight(document.data, parsed=False)
            self._add(document, size)
        elif known is not document:  # two requests have met it for the first time
            for voucher in tuple(document.vouchers):
                known.vouch(voucher)
        with self._lock:
            for name in ((role, 0), (role, parsed.signed.version)):
                self._last[name] = document.sha256
                self._last.move_to_end(name)
            while len(self._last) > KEPT_NAMES:
                self._last.popitem(last=False)

    def _add(self, document: Document, size: int) -> None:
        with self._lock:
            if document.sha256 in self._kept:
                return
            self._kept[document.sha256] = document, size
            self.weight += size
            while self.weight > self._limit:
                self.weight -= self._kept.popitem(last=False)[1][1]


S = TypeVar("S", bound=Signed)


class JudgedSet(TrustedMetadataSet):
    """A TrustedMetadataSet that records what it verified and says why it refused."""

    def __init__(self, root: bytes, start: datetime, store: Store) -> None:
        self.verified: list[dict[str, Any]] = []
        self._store = store
        # By the identity of what was parsed, which they hold on to.
        self._documents: dict[int, tuple[Document, Metadata[Any]]] = {}
        self.role = Root.type
        try:
            super().__init__(root, EnvelopeType.METADATA)
        except tufexc.RepositoryError as e:
            raise self._refusal(e, root, None, False) from e
        self.reference_time = start
        self._store.keep(Root.type, *self._documents[id(self.root)])

    def update_root(self, data: bytes) -> Root:
        return self._judge(Root.type, Root.type, data, partial(super().update_root, data))

    def update_timestamp(self, data: bytes) -> Timestamp:
        return self._judge(Timestamp.type, Root.type, data, partial(super().update_timestamp, data))

    def update_snapshot(self, data: bytes, trusted: bool | None = False) -> Snapshot:
        update = partial(super().update_snapshot, data, trusted)
        return self._judge(Snapshot.type, Root.type, data, update)

    def update_delegated_targets(self, data: bytes, role_name: str, delegator_name: str) -> Targets:
        update = partial(super().update_delegated_targets, data, role_name, delegator_name)
        return self._judge(role_name, delegator_name, data, update)

    def contains(self, role: str, delegator: str) -> bool:
        """Never shortcut by name: one delegator's name may stand for two different files."""
        return False

    def document(self, role: str) -> Document:
        """Return the document that is the current version of a role."""
        return self._documents[id(self[role])][0]

    def hold(self, role: str, signed: Signed) -> None:
        """Make one verified version of a role the current one."""
        self._trusted_set[role] = signed

    def _load_trusted_root(self, data: bytes) -> None:
        self._load_data = self._read  # type: ignore[assignment]
        root, _, _ = self._read(Root, data)
        self._add(Root.type, root, Root.type)

    def _read(
        self,
        kind: type[S],
        data: bytes,
        delegator: Root | Targets | None = None,
        role: str | None = None,
    ) -> tuple[S, bytes, dict[str, Signature]]:
        """Do what python-tuf's _load_from_metadata does, but nothing twice for the same bytes.

        Without a delegator, the file has to be signed by its own keys.
        """
        digest = hashlib.sha256(data).hexdigest()
        document = self._store.get(digest) or Document(data, digest)
        parsed = document.parse()
        signed: S = parsed.signed
        if signed.type != kind.type:
            raise tufexc.RepositoryError(f"Expected '{kind.type}', got '{signed.type}'")
        self._documents[id(signed)] = document, parsed
        keys = delegator or parsed.signed
        voucher = (self._documents[id(keys)][0].sha256, role or kind.type)
        new = voucher not in document.vouchers
        # python-tuf itself verifies that a new root is signed by its own keys too.
        payload = parsed.signed_bytes if new or (delegator and kind is Root) else b""
        if new:
            keys.verify_delegate(voucher[1], payload, parsed.signatures)
            document.vouch(voucher)
        return signed, payload, parsed.signatures

    def _judge(self, role: str, delegator: str, data: bytes, update: Callable[[], S]) -> S:
        self.role = role
        before = self.get(role)
        try:
            signed = update()
        except tufexc.EqualVersionNumberError:
            raise  # python-tuf keeps the timestamp it has
        except tufexc.RepositoryError as e:
            raise self._refusal(e, data, before, self.get(role) is not before) from e
        document, parsed = self._documents[id(signed)]
        self._store.keep(role, document, parsed)
        self.verified.append(
            {
                "role": role,
                "delegator": delegator,
                "version": signed.version,
                "sha256": document.sha256,
            }
        )
        return signed

    def _refusal(
        self, error: Exception, data: bytes, before: Signed | None, loaded: bool
    ) -> RefusedError:
        """Name an error of python-tuf; `loaded` if it was kept as a floor all the same."""
        kind, received = peek(data)
        trusted = before.version if before is not None else 0
        code = "malformed"
        if isinstance(error, tufexc.UnsignedMetadataError):
            code = "unsigned" if reads_back(data) else "unrepresentable"
        elif isinstance(error, tufexc.ExpiredMetadataError):
            code = "expired"
            floors = (Root.type, Timestamp.type, Snapshot.type)
            late = (r for r in floors if r in self and self[r].is_expired(self.reference_time))
            self.role = next(late, self.role)
        elif isinstance(error, tufexc.LengthOrHashMismatchError):
            code = "mismatch"
        elif isinstance(error, tufexc.BadVersionNumberError):
            floor = not loaded and self.role in (Timestamp.type, Snapshot.type)
            code = "rollback" if before and (floor or received < trusted) else "bad_version"
        elif isinstance(error, DeserializationError | SerializationError):
            inner = isinstance(error.__cause__, RecursionError | MemoryError)
            code = "engine_internal" if inner else "unrepresentable"
        elif self.role == Snapshot.type == kind:
            code = "rollback"  # a file that the trusted snapshot lists has vanished
        cause = f": {error.__cause__!r}" if error.__cause__ is not None else ""
        versions = (trusted, received) if code in ("rollback", "bad_version") else (0, 0)
        return RefusedError(code, f"{error or code}{cause}", *versions)


@dataclass(frozen=True)
class Limits:
    """Bounds of one operation: new root versions, roles visited, bytes of a file by kind."""

    roots: int = 1024
    roles: int = 1024
    lengths: dict[str, int] = field(default_factory=dict)

    def config(self) -> UpdaterConfig:
        """Return python-tuf's configuration, one looser where this file reports the excess."""
        config = UpdaterConfig(max_root_rotations=self.roots + 1, max_delegations=self.roles)
        for kind, length in self.lengths.items():
            setattr(config, f"{kind}_max_length", length)
        return config


class JudgingUpdater(Updater):
    """An Updater that says aloud what python-tuf passes over, and which role answered."""

    def __init__(
        self,
        judged: JudgedSet,
        limits: Limits,
        metadata_dir: Path,
        metadata_url: str,
        fetcher: FetcherInterface | None = None,
    ) -> None:
        self.judged = judged
        self._limits = limits
        self._last_root = self.judged.root.version + limits.roots
        self._loaded: dict[tuple[str, str, str], Targets] = {}
        self.walked: list[str] = []
        super().__init__(
            str(metadata_dir),
            metadata_url,
            fetcher=fetcher,
            config=limits.config(),
            bootstrap=judged.document(Root.type).data,
        )

    @property
    def _trusted_set(self) -> TrustedMetadataSet:
        return self.judged

    @_trusted_set.setter
    def _trusted_set(self, _own: TrustedMetadataSet) -> None:
        """Refuse any set but the judged one."""

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        self.judged.role = rolename
        data = super()._download_metadata(rolename, length, version)
        if rolename == Root.type and version is not None and version > self._last_root:
            raise FailedError("too_many", f"more than {self._limits.roots} new root versions")
        return data

    def _load_targets(self, role: str, parent_role: str) -> Targets:
        self.judged.role = role
        if role not in self.walked:
            if len(self.walked) >= self._limits.roles:
                raise FailedError("too_many", f"more than {self._limits.roles} roles to visit")
            self.walked.append(role)
        # Another delegator may have vouched for another file of the same parent role since,
        # so what was verified is kept under the very bytes of its delegator.
        place = (role, parent_role, self.judged.document(parent_role).sha256)
        targets = self._loaded.get(place)
        if targets is None:
            if f"{role}.json" not in self.judged.snapshot.meta:
                why = f"{role} is delegated by {parent_role} but is not part of the snapshot"
                raise RefusedError("not_in_snapshot", why)
            targets = super()._load_targets(role, parent_role)
            self._loaded[place] = targets
        self.judged.hold(role, targets)
        return targets

    def _preorder_depth_first_walk(self, target_filepath: str) -> TargetFile | None:
        self.walked = []
        return super()._preorder_depth_first_walk(target_filepath)

    def load_all(self) -> set[str]:
        """Load every role that can be reached, in pre-order; return all target paths."""
        self.walked = []
        top = self._load_targets(Targets.type, Root.type)
        seen, paths = {(Targets.type, Root.type, "")}, set(top.targets)
        stack = [(Targets.type, top, delegated_names(top))]
        while stack:
            parent, delegator, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            self.judged.hold(parent, delegator)
            place = (name, parent, self.judged.document(parent).sha256)
            if place in seen:
                continue
            if len(seen) >= self._limits.roles:
                raise FailedError("too_many", f"more than {self._limits.roles} roles to visit")
            seen.add(place)
            targets = self._load_targets(name, parent)
            paths.update(targets.targets)
            stack.append((name, targets, delegated_names(targets)))
        return paths

    def answer(self, path: str) -> dict[str, Any] | None:
        """Look a target path up; return what was found and in which role."""
        target = self.get_targetinfo(path)
        if target is None:
            return None
        answer = {"role": self.walked[-1], "length": target.length, "hashes": target.hashes}
        return answer if target.custom is None else {**answer, "custom": target.custom}


def delegated_names(targets: Targets) -> Iterator[str]:
    """Yield the roles that a targets role delegates to, one by one: there may be 2^32."""
    delegations = targets.delegations
    if delegations is None:
        return iter(())
    if delegations.succinct_roles is not None:
        return delegations.succinct_roles.get_roles()
    return iter(delegations.roles or {})


def tripwires() -> list[str]:
    """Return what python-tuf lacks of the private things that this file relies on."""
    methods: dict[type, tuple[str, ...]] = {
        Updater: (
            "_download_metadata",
            "_load_local_metadata",
            "_load_root",
            "_load_targets",
            "_persist_metadata",
            "_persist_root",
            "_preorder_depth_first_walk",
            "_update_root_symlink",
        ),
        TrustedMetadataSet: (
            "update_root",
            "update_timestamp",
            "update_snapshot",
            "update_delegated_targets",
            "contains",
            "get",
            "_load_trusted_root",
        ),
        Root: ("get_verification_result", "verify_delegate"),
        Targets: ("get_verification_result", "verify_delegate"),
        Key: ("from_dict", "to_dict", "verify_signature"),
        DelegatedRole: ("_is_target_in_pathpattern",),
        FetcherInterface: ("_fetch", "download_bytes"),
    }
    missing = [
        f"{owner.__name__}.{name}"
        for owner, names in methods.items()
        for name in names
        if not callable(getattr(owner, name, None))
    ]
    used: dict[type, tuple[str, ...]] = {
        Updater: ("TrustedMetadataSet", "_trusted_set"),
        TrustedMetadataSet: ("reference_time", "_trusted_set", "_load_data", "_load_trusted_root"),
    }
    for owner, wanted in used.items():
        code = getattr(vars(owner)["__init__"], "__code__", None)
        names = code.co_names if code is not None else ()
        missing += [f"{owner.__name__}.{name}" for name in wanted if name not in names]
    known = UpdaterConfig.__dataclass_fields__
    settings = ["max_root_rotations", "max_delegations"]
    settings += [f"{kind}_max_length" for kind in KINDS]
    return missing + [f"UpdaterConfig.{name}" for name in settings if name not in known]


KINDS = (Root.type, Timestamp.type, Snapshot.type, Targets.type)


# --- The worker ------------------------------------------------------------------------


class HostRequest:
    """One running request: its deadline, its cancellation and its questions to the host."""

    def __init__(self, output: Output, number: int, deadline_ms: int, store: Store) -> None:
        self.store = store
        self._output = output
        self._number = number
        self._left = deadline_ms / 1000 if deadline_ms else None
        self._since = time.monotonic()
        self._cancelled = threading.Event()
        self._sequence = 0
        self._mail: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def cancel(self) -> None:
        """Make the request end at its next step."""
        self._cancelled.set()
        self._mail.put(None)

    def deliver(self, fetched: dict[str, Any]) -> None:
        """Hand over the host's answer to a fetch."""
        self._mail.put(fetched)

    def fetch(self, role: str, version: int, length: int, local: bool) -> bytes | None:
        """Ask the host for a file; None if there is none. Waiting does not use up the deadline."""
        self._step()
        self._sequence += 1
        kept = self.store.last(role, version)
        fetch = {
            "seq": self._sequence,
            "role": role,
            "version": version,
            "length": length,
            "local": local,
            "have": kept and kept.sha256,
        }
        fetch = {name: value for name, value in fetch.items() if value}
        self._output.send({"id": self._number, "event": "fetch", "fetch": fetch})
        answer = self._receive()
        self._since = time.monotonic()
        error = answer.get("error")
        if error is None and answer.get("same"):
            if kept is None:
                raise FailedError("engine_internal", "the host names a file that is not kept")
            return kept.data
        if error is None:
            return base64.b64decode(answer.get("data") or "", validate=True)
        if not isinstance(error, dict) or not isinstance(error.get("code"), str):
            raise FailedError("engine_internal", "the host sent an error without a code")
        if error["code"] == "not_found":
            return None
        raise FailedError(error["code"], str(error.get("message")), error)

    def _receive(self) -> dict[str, Any]:
        while True:
            answer = self._mail.get()
            if answer is None or self._cancelled.is_set():
                raise FailedError("cancelled", "cancelled by the host")
            if answer.get("seq") == self._sequence:
                return answer

    def _step(self) -> None:
        if self._cancelled.is_set():
            raise FailedError("cancelled", "cancelled by the host")
        if self._left is not None:
            self._left -= time.monotonic() - self._since
            if self._left <= 0:
                raise FailedError("engine_timeout", "the deadline passed while working")


class HostFetcher(FetcherInterface):
    """Answers python-tuf's downloads with what the host sends."""

    def __init__(self, request: HostRequest) -> None:
        self._request = request
        self.wanted = ("", 0, 0)

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._request.fetch(*self.wanted, local=False)
        if data is None:
            raise tufexc.DownloadHTTPError(f"the repository has no {url}", 404)
        return iter([data])

    def download_bytes(self, url: str, max_length: int) -> bytes:
        data = next(self._fetch(url))
        if len(data) > max_length:
            why = f"{url} has {len(data)} bytes, the limit is {max_length}"
            raise tufexc.DownloadLengthMismatchError(why)
        return data


class HostedUpdater(JudgingUpdater):
    """A JudgingUpdater that is fed by the host and keeps nothing: it touches no disk."""

    def __init__(self, request: HostRequest, start: datetime, limits: Limits) -> None:
        root = request.fetch(Root.type, 0, 0, local=True)
        if root is None:
            raise FailedError("usage", "there is no trusted root")
        self._request = request
        self._source = HostFetcher(request)
        # A path below a file cannot exist: python-tuf finds no root history there.
        judged = JudgedSet(root, start, request.store)
        super().__init__(judged, limits, Path(os.devnull, "none"), "", self._source)

    def _load_local_metadata(self, rolename: str) -> bytes:
        self.judged.role = rolename
        data = self._request.fetch(rolename, 0, 0, local=True)
        if data is None:
            raise FileNotFoundError(rolename)
        return data

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        self._source.wanted = (rolename, version or 0, length)
        return super()._download_metadata(rolename, length, version)

    def _persist_metadata(self, rolename: str, data: bytes) -> None:
        """Keep nothing: the host commits what was verified."""

    def _persist_root(self, version: int, data: bytes) -> None:
        """Keep nothing: the host commits what was verified."""

    def _update_root_symlink(self) -> None:
        """There is no root.json to keep up to date."""


def require(condition: bool, what: str) -> None:
    """Refuse a request that cannot be understood."""
    if not condition:
        raise FailedError("usage", what)


def is_count(value: object, least: int) -> bool:
    """Tell whether a JSON value is an integer of at least that much."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_text(value: object) -> bool:
    """Tell whether a JSON value is a string without unpaired surrogates."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def parse_time(text: object) -> datetime:
    """Parse an RFC 3339 time in UTC."""
    for layout in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"):
        with contextlib.suppress(ValueError):
            return datetime.strptime(str(text), layout).replace(tzinfo=timezone.utc)
    raise FailedError("usage", "reference_time is not an RFC 3339 time in UTC")


def serve(request: HostRequest, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Run one request for metadata and return its reply, without the id."""
    logging.getLogger("worker").debug("%s begins", method)
    updater: HostedUpdater | None = None
    try:
        start, limits = parse_params(params)
        updater = HostedUpdater(request, start, limits)
        result = judge(updater, method, params.get("targets") or [])
        return {"ok": True, "result": result}
    except Exception as e:  # every failure has an answer
        error = describe(e, updater.judged.role if updater else role_at_start(e))
        detail = error.get("detail")
        verified = updater.judged.verified if updater else []
        versions = e.versions if isinstance(e, RefusedError) else {}
        error["detail"] = {
            **(detail if isinstance(detail, dict) else {}),
            **versions,
            "verified": verified,
        }
        return {"ok": False, "error": error}


def role_at_start(error: Exception) -> str:
    """Return the role of an error that came before the trusted root was loaded."""
    return Root.type if isinstance(error, RefusedError) else ""


def parse_params(params: dict[str, Any]) -> tuple[datetime, Limits]:
    """Check the parameters of a request for metadata."""
    targets, lengths = params.get("targets"), params.get("lengths")
    targets, lengths = [] if targets is None else targets, {} if lengths is None else lengths
    require(isinstance(targets, list) and all(map(is_text, targets)), "targets is no list of paths")
    require(isinstance(lengths, dict), "lengths is no object")
    for kind in KINDS:
        require(kind not in lengths or is_count(lengths[kind], 1), f"lengths.{kind} is no length")
    require(is_count(params.get("max_roots"), 0), "max_roots is no bound")
    require(is_count(params.get("max_roles"), 1), "max_roles is no bound")
    known = {kind: lengths[kind] for kind in KINDS if kind in lengths}
    limits = Limits(params["max_roots"], params["max_roles"], known)
    return parse_time(params.get("reference_time")), limits


def judge(updater: HostedUpdater, method: str, targets: list[str]) -> dict[str, Any]:
    """Walk the client workflow (specification, section 5) as far as the method asks."""
    if method == "init":
        return {"version": updater.judged.root.version}
    updater.refresh()
    result: dict[str, Any] = {"verified": updater.judged.verified}
    if method == "list":
        updater.load_all()
    elif method == "lookup":
        result["answers"] = {path: updater.answer(path) for path in targets}
    return result


class ViolationError(Exception):
    """The host broke the protocol."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its members and refuse duplicate names."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate name")
    return made


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which are not JSON."""
    raise ValueError(f"{name} is not JSON")


def parse_frame(line: bytes) -> dict[str, Any]:
    """Parse and check one frame of the host. Raises ViolationError."""
    try:
        text = line.decode("utf-8")
        frame = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as e:
        raise ViolationError(f"a line is no JSON: {e}") from e
    if not isinstance(frame, dict):
        raise ViolationError("a line is no JSON object")
    fetched = frame.get("fetched")
    if fetched is not None:
        sound = isinstance(fetched, dict) and isinstance(fetched.get("data") or "", str)
        sound = sound and isinstance(fetched.get("same") or False, bool)
        if not sound or not all(is_count(fetched.get(name), 1) for name in ("id", "seq")):
            raise ViolationError("fetched is no answer to a fetch")
        return frame
    params, deadline = frame.get("params"), frame.get("deadline_ms")
    sound = is_count(frame.get("id"), 1) and isinstance(frame.get("method"), str)
    sound = sound and (params is None or isinstance(params, dict))
    if not sound or not (deadline is None or is_count(deadline, 0)):
        raise ViolationError("a line is no request")
    return frame


def read_lines(fd: int) -> Iterator[bytes]:
    """Yield lines without their newline, never holding more than one line and one read."""
    buffer = bytearray()
    while chunk := os.read(fd, READ_SIZE):
        start = len(buffer)
        buffer += chunk
        while (end := buffer.find(b"\n", start)) >= 0:
            if end >= MAX_LINE:
                break
            with memoryview(buffer) as view:
                yield bytes(view[:end])
            del buffer[: end + 1]
            start = 0
        if len(buffer) >= MAX_LINE:
            raise ViolationError(f"a line is longer than {MAX_LINE} bytes")
    if buffer:
        raise ViolationError("the last line has no end")


class Worker:
    """Reads frames and runs each request in a thread of its own."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._running: dict[int, HostRequest] = {}
        self._store = Store()

    def run(self) -> None:
        """Serve until the end of standard input or a shutdown. Raises ViolationError."""
        for line in read_lines(0):
            if not self._take(line):
                return
            del line  # it may be long, and the wait for the next one too

    def _take(self, line: bytes) -> bool:
        frame = parse_frame(line)
        if frame.get("fetched") is None:
            return self._dispatch(frame)
        self._deliver(frame["fetched"])
        return True

    def _dispatch(self, frame: dict[str, Any]) -> bool:
        number, method, params = frame["id"], frame["method"], frame.get("params") or {}
        if method in ("init", "refresh", "lookup", "list"):
            trace = parse_traceparent(frame.get("traceparent"))
            self._start(number, method, params, frame.get("deadline_ms") or 0, trace)
        elif method == "cancel":
            with self._lock:
                request = self._running.get(params.get("id") or 0)
            if request is not None:
                request.cancel()
            self._reply(number, {"ok": True, "result": {}})
        elif method in ("ping", "shutdown"):
            self._reply(number, {"ok": True, "result": {}})
        else:
            self._refuse(number, "usage", f"unknown method {method[:100]!r}")
        return bool(method != "shutdown")

    def _start(
        self,
        number: int,
        method: str,
        params: dict[str, Any],
        deadline_ms: int,
        trace: dict[str, str],
    ) -> None:
        with self._lock:
            if number in self._running:
                raise ViolationError(f"id {number} is in use")
            full = len(self._running) >= MAX_IN_FLIGHT
            if not full:
                request = HostRequest(self._output, number, deadline_ms, self._store)
                self._running[number] = request
        if full:
            self._refuse(number, "usage", f"more than {MAX_IN_FLIGHT} requests at a time")
            return
        work = threading.Thread(
            target=self._work, args=(request, number, method, params, trace), daemon=True
        )
        try:
            work.start()
        except (RuntimeError, MemoryError) as e:
            self._finish(number)
            self._refuse(number, "engine_internal", f"cannot start a thread: {e}")

    def _work(
        self,
        request: HostRequest,
        number: int,
        method: str,
        params: dict[str, Any],
        trace: dict[str, str],
    ) -> None:
        TRACE.set(trace)  # of this thread
        reply = serve(request, method, params)
        self._finish(number)
        self._reply(number, reply)

    def _finish(self, number: int) -> None:
        with self._lock:
            del self._running[number]

    def _deliver(self, fetched: dict[str, Any]) -> None:
        with self._lock:
            request = self._running.get(fetched["id"])
        if request is not None:  # the answer to a request that was cancelled comes too late
            request.deliver(fetched)

    def _refuse(self, number: int, code: str, message: str) -> None:
        self._reply(number, {"ok": False, "error": error_frame(code, message)})

    def _reply(self, number: int, reply: dict[str, Any]) -> None:
        try:
            self._output.send({"id": number, **reply})
        except OSError:
            os._exit(CODES["cancelled"][1])  # nobody reads any more: the host is gone
        except (ValueError, MemoryError) as e:
            self._refuse(number, "engine_internal", f"the reply cannot be sent: {e}")


# The trace and span that the log lines of this thread belong to.
TRACE: ContextVar[dict[str, str] | None] = ContextVar("trace", default=None)
TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def parse_traceparent(value: object) -> dict[str, str]:
    """Return what log lines say of a traceparent, nothing if it is none."""
    found = TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or not all(part.strip("0") for part in found.groups()):
        return {}
    return {"trace_id": found[1], "span_id": found[2]}


class JSONFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)[: MAX_LOG_MESSAGE // 6]
        line = {"level": record.levelname.lower(), "logger": record.name, "message": message}
        return json.dumps({**line, **(TRACE.get() or {})})


def log_as_json(level: int) -> None:
    """Send logging and warnings to standard error as NDJSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(True)
    logging.getLogger("securesystemslib").handlers.clear()


def work(memory_limit: int, level: int) -> NoReturn:
    """Greet the host, serve it and exit."""
    log_as_json(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the host to handle
    if memory_limit:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))
    status = 0
    try:
        OUTPUT.send(
            {
                "hello": {
                    "protocol": PROTOCOL,
                    "pid": os.getpid(),
                    "python": sys.version.split()[0],
                    "tuf": tuf.__version__,
                    "securesystemslib": securesystemslib.__version__,
                    "cryptography": cryptography.__version__,
                }
            }
        )
        Worker(OUTPUT).run()
    except ViolationError as e:
        status = CODES["protocol_violation"][1]
        logging.getLogger("worker").error("the host broke the protocol: %s", e)
    except OSError:
        status = CODES["cancelled"][1]
    # Not sys.exit: a thread that is still busy must not keep a dead host's worker alive.
    os._exit(status)


# --- The one-shot commands --------------------------------------------------------------


class OutOfTimeError(BaseException):
    """The time for the whole command is over; python-tuf must not catch it."""


LOCAL_CODES = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EACCES: "permissions",
    errno.EPERM: "permissions",
    errno.EROFS: "permissions",
}


class OneShot:
    """One command on python-tuf's own transport and disk state."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._updater: JudgingUpdater | None = None
        self._url: str = args.metadata_url

    def run(self) -> dict[str, Any]:
        """Run the command and return its result."""
        if self._args.command == "init":
            require(self._args.root is not None, "init needs --root FILE")
            return {"versions": {Root.type: self._open().judged.root.version}}
        if self._args.command == "download":
            names = [check_name(name) for name in self._args.names]
            updater = self._refreshed()
            return {"targets": [self._download(updater, name) for name in names]}
        updater = self._refreshed()
        if self._args.command == "list":
            answers = {path: updater.answer(path) for path in sorted(updater.load_all())}
            return {"targets": [{"name": p, **a} for p, a in answers.items() if a is not None]}
        judged = updater.judged
        return {"versions": {kind: judged[kind].version for kind in KINDS}}

    def error(self, error: BaseException) -> dict[str, Any]:
        """Return the error object for what went wrong."""
        from urllib3.exceptions import HTTPError

        if isinstance(error, OutOfTimeError):
            return error_frame("timeout", f"not done within {self._args.timeout} s")
        if isinstance(error, KeyboardInterrupt):
            return error_frame("cancelled", "cancelled")
        if isinstance(error, tufexc.DownloadLengthMismatchError):
            return describe(error, self._role())
        if isinstance(error, tufexc.DownloadError | HTTPError):
            code = "http_status" if isinstance(error, tufexc.DownloadHTTPError) else "unreachable"
            message = f"repository not accessible: {self._url}: {error.__cause__ or error}"
            return error_frame(code, message, self._role())
        if isinstance(error, OSError):
            return error_frame(LOCAL_CODES.get(error.errno or 0, "local_io"), str(error))
        frame = describe(error, self._role())
        if frame["code"] == "unrepresentable":  # there is no second engine to ask
            inner = getattr(error.__cause__, "__cause__", None)
            html = isinstance(inner, json.JSONDecodeError | UnicodeDecodeError)
            frame["code"] = "not_a_repository" if html else "malformed"
            frame["class"] = CODES[frame["code"]][0]
        return frame

    def _role(self) -> str:
        return self._updater.judged.role if self._updater else ""

    def _open(self) -> JudgingUpdater:
        directory: Path = self._args.metadata_dir
        path = Path(self._args.root or directory / "root.json")
        try:
            root = path.read_bytes()
        except FileNotFoundError as e:
            raise FailedError("no_root", f"{path} does not exist; give --root FILE once") from e
        start = datetime.now(timezone.utc)
        try:
            judged = JudgedSet(root, start, Store())
        except RefusedError as e:
            raise FailedError("bad_root", f"{path} is no trusted root: {e}") from e
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return JudgingUpdater(judged, Limits(), directory, self._args.metadata_url)

    def _refreshed(self) -> JudgingUpdater:
        self._updater = self._open()
        self._updater.refresh()
        return self._updater

    def _download(self, updater: JudgingUpdater, name: str) -> dict[str, Any]:
        answer, target = updater.answer(name), updater.get_targetinfo(name)
        if answer is None or target is None:
            raise FailedError("not_found", f"verified metadata does not list {name}")
        if not {"sha256", "sha512"} & set(target.hashes):
            raise FailedError("malformed", f"{name} has no hash of a known algorithm")
        directory: Path = self._args.target_dir
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / hashlib.sha256(name.encode()).hexdigest() / name.rpartition("/")[2]
        cached = updater.find_cached_target(target, str(path)) is not None
        if not cached:
            self._url = self._args.targets_url
            with tempfile.TemporaryDirectory(dir=directory, prefix=".partial-") as partial:
                file = str(Path(partial, "target"))
                updater.download_target(target, file, self._args.targets_url)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                Path(file).replace(path)
        return {"name": name, "path": str(path), "cached": cached, **answer}


def check_name(name: str) -> str:
    """Refuse a target path that no file name or URL should be made of."""
    parts = name.split("/")
    odd = re.search(r"[\x00-\x1f\x7f%\\?#\ud800-\udfff]", name)
    if odd or len(name) > MAX_NAME or any(part in ("", ".", "..") for part in parts):
        raise FailedError("invalid_name", f"{name!r} is no acceptable target path")
    return name


def out_of_time(_signal: int, _frame: object) -> NoReturn:
    """End the command from the alarm's signal handler."""
    raise OutOfTimeError


def one_shot(args: argparse.Namespace) -> int:
    """Run a command, print its one JSON object and return the exit code."""
    logging.getLogger("securesystemslib").handlers.clear()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(args.timeout)
    command = OneShot(args)
    try:
        result = command.run()
        signal.alarm(0)
    except (Exception, KeyboardInterrupt, OutOfTimeError) as e:
        signal.alarm(0)
        error = command.error(e)
        OUTPUT.send({"ok": False, "error": error})
        return CODES[error["code"]][1]
    OUTPUT.send({"ok": True, "result": result})
    return 0


def main() -> int:
    """Check what this file relies on and run the command."""
    missing = tripwires()
    if missing:
        unusable(f"python-tuf {tuf.__version__} lacks {', '.join(missing)}")
    harden()
    if ARGS is None:
        level = logging.DEBUG if sys.argv[3:4] == ["debug"] else logging.INFO
        work(int(sys.argv[2]) if sys.argv[2:] else 0, level)
    return one_shot(ARGS)


if MAIN:
    sys.exit(main())
