"""The worker as a process: its protocol, its limits and its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, SCRIPT, TOP, Host, Repo, client

WORKER = (sys.executable, "-I", str(SCRIPT), "worker")


def test_greeting_and_shutdown() -> None:
    host = Host(*WORKER)
    hello = host.receive()["hello"]
    assert hello["protocol"] == 2 and hello["pid"] == host.process.pid
    assert hello["tuf"] == client.tuf.__version__
    host.start("shutdown")
    assert host.receive() == {"id": 1, "ok": True, "result": {}}
    assert host.wait() == 0
    host.end()


def test_end_of_input_ends_a_busy_worker(repo: Repo) -> None:
    host = Host(*WORKER, str(4 << 30))
    host.receive()
    host.start("refresh", repo.params())
    assert host.receive()["event"] == "fetch"
    assert host.hang_up() == 0
    host.end()


def test_unknown_methods_and_fields(host: Host, repo: Repo) -> None:
    host.send({"id": 1, "method": "dance", "grease": {"x": [None]}})
    assert host.receive()["error"]["code"] == "usage"
    host.number = 1
    params = repo.params(grease=1, lengths={"root": 512000, "grease": "x"})
    reply = host.ask("refresh", params, lambda f: {**repo.fetch(f), "grease": 0}, grease=[])
    assert reply["ok"]


def test_log_lines_belong_to_the_trace_of_their_request(repo: Repo) -> None:
    host = Host(*WORKER, "0", "debug")
    host.receive()
    trace, first, second = "0af7651916cd43dd" * 2, "b7ad6b7169203331", "00f067aa0ba902b7"
    for parent in (f"00-{trace}-{first}-01", f"00-{trace}-{second}-00", None, "ff-0-0", 7, ["x"]):
        assert host.ask("refresh", repo.params(), repo.fetch, traceparent=parent)["ok"]
    no_trace, no_span = f"00-{'0' * 32}-{first}-01", f"00-{trace}-{'0' * 16}-01"
    for parent in (no_trace, no_span, f"00-{trace}-{first}-01-more"):
        assert host.ask("refresh", repo.params(), repo.fetch, traceparent=parent)["ok"]
    assert host.hang_up() == 0
    begun = [line for line in map(json.loads, host.log) if line["message"] == "refresh begins"]
    spans = [line.get("span_id") for line in begun]
    assert spans == [first, second, None, None, None, None, None, None, None]
    assert all(line["trace_id"] == trace for line in begun[:2])
    assert all(line["level"] == "debug" for line in begun)
    host.end()


def test_debugging_is_not_logged_unasked(host: Host, repo: Repo) -> None:
    assert host.ask("refresh", repo.params(), repo.fetch)["ok"]
    assert host.hang_up() == 0
    assert host.log == []


def test_a_long_request_a_ping_and_a_cancel_coexist(host: Host, repo: Repo) -> None:
    busy = host.start("refresh", repo.params())
    assert host.receive()["fetch"] == {"seq": 1, "role": "root", "local": True}
    ping = host.start("ping")
    assert host.receive() == {"id": ping, "ok": True, "result": {}}
    cancel = host.start("cancel", {"id": busy})
    replies = {frame["id"]: frame for frame in (host.receive(), host.receive())}
    assert replies[cancel]["ok"]
    assert replies[busy]["error"]["code"] == "cancelled"
    late = {"id": busy, "seq": 1, "data": ""}
    host.send({"fetched": late})
    assert host.ask("refresh", repo.params(), repo.fetch)["ok"]
    host.start("cancel", {"id": 999})
    assert host.receive()["ok"]


def test_the_deadline_leaves_out_the_waiting(host: Host, repo: Repo) -> None:
    repo.publish()
    assert host.ask("refresh", repo.params(), repo.fetch, deadline_ms=60000)["ok"]
    for n in range(1000):  # files that the worker has not seen yet, and work for it
        repo.add_target(f"a/{n}", b"x")
    for signed in (repo.timestamp, repo.snapshot, *repo.targets.values()):
        signed.version += 1
    repo.delegate("team", ["a/*"])
    repo.publish()
    params = repo.params(targets=["a/x"])
    reply = host.ask("lookup", params, repo.fetch, deadline_ms=1)
    assert reply["error"]["code"] == "engine_timeout"


def test_deadline_counts_only_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(client.time, "monotonic", lambda: now[0])
    sent: list[dict[str, Any]] = []

    class Output:
        def send(self, frame: dict[str, Any]) -> None:
            sent.append(frame)
            now[0] += 3600  # the host takes an hour
            request.deliver({"seq": 999})
            request.deliver({"seq": len(sent), "data": "aGk="})

    request = client.HostRequest(Output(), 1, 100, client.Store())
    for _ in range(3):
        now[0] += 0.03
        assert request.fetch("root", 2, 10, False) == b"hi"
    now[0] += 0.03
    with pytest.raises(client.FailedError) as caught:
        request.fetch("root", 2, 10, False)
    assert caught.value.code == "engine_timeout"


def test_one_request_too_many(host: Host, repo: Repo) -> None:
    for _ in range(client.MAX_IN_FLIGHT):
        host.start("refresh", repo.params())
        assert host.receive()["event"] == "fetch"
    extra = host.start("refresh", repo.params())
    reply = host.receive()
    assert (reply["id"], reply["error"]["code"]) == (extra, "usage")
    host.start("ping")
    assert host.receive()["ok"]


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"\n",
        b'{"id":1,"method":"ping"',
        b'{"fetched":{}}\n',
        b"\xff\n",
        b"[" * 9999 + b"\n",
    ],
    ids=range(6),
)
def test_a_host_that_breaks_the_protocol(line: bytes) -> None:
    host = Host(*WORKER)
    host.receive()
    host.send_raw(line)
    assert host.hang_up() == client.CODES["protocol_violation"][1]
    assert any("broke the protocol" in json.loads(entry)["message"] for entry in host.log)
    host.end()


def test_an_id_in_use(host: Host, repo: Repo) -> None:
    host.start("refresh", repo.params())
    host.send({"id": 1, "method": "refresh", "params": repo.params()})
    assert host.wait() == client.CODES["protocol_violation"][1]


def test_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_LINE", 8)
    monkeypatch.setattr(client, "READ_SIZE", 3)

    def lines(data: bytes) -> list[bytes]:
        read, write = os.pipe()
        os.write(write, data)
        os.close(write)
        try:
            return list(client.read_lines(read))
        finally:
            os.close(read)

    assert lines(b"1234567\n\na\n") == [b"1234567", b"", b"a"]
    for data in (b"12345678\n", b"123456789", b"a\n12345678\n"):
        with pytest.raises(client.ViolationError, match="longer than"):
            lines(data)
    with pytest.raises(client.ViolationError, match="has no end"):
        lines(b"rest")
    with pytest.raises(ValueError, match="over the limit"):
        client.Output(-1).send({"a": "123456"})


def test_an_over_long_line_is_refused_while_it_comes(host: Host) -> None:
    chunk = b"x" * (1 << 20)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            host.send_raw(chunk)
    assert host.wait() == client.CODES["protocol_violation"][1]


# --- A python that cannot work ---------------------------------------------------------


def run(*command: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        command, capture_output=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, json.loads(done.stdout), done.stderr.decode()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A virtual environment without python-tuf."""
    directory = tmp_path_factory.mktemp("bare")
    venv.create(directory, with_pip=False, symlinks=True)
    return str(directory / "bin" / "python")


@pytest.mark.parametrize("command", ["worker", "refresh"])
def test_missing_dependency(bare_python: str, command: str) -> None:
    status, frame, _ = run(bare_python, "-I", str(SCRIPT), command)
    error = frame["fatal"] if command == "worker" else frame["error"]
    assert status == 56 and error["code"] == "missing_dependency"
    assert error["message"].startswith("Missing python-tuf dependency")
    assert "python -m pip install --require-hashes -r requirements.txt" in error["message"]


def patched(tmp_path: Path, change: str) -> tuple[str, ...]:
    """Return the command of a worker in a python where something was changed first."""
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text(
        "import runpy, sys\n"
        f"{change}\n"
        f"sys.argv = [{str(SCRIPT)!r}, 'worker']\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    )
    return (sys.executable, "-I", str(wrapper))


TRUSTED = "from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet as T\n"
TRIPS = [
    ("from tuf.ngclient import Updater\ndel Updater._load_targets", "Updater._load_targets"),
    (TRUSTED + "T.__init__ = lambda *a: None", "TrustedMetadataSet.reference_time"),
    (TRUSTED + "T.__init__ = lambda *a: None", "TrustedMetadataSet._load_data"),
    ("from tuf.ngclient import Updater as U\nU.__init__ = lambda *a: None", "Updater._trusted_set"),
    ("from tuf.api.metadata import DelegatedRole as D\nD._is_target_in_pathpattern = 7",
     "DelegatedRole._is_target_in_pathpattern"),
    ("import tuf.ngclient\ndel tuf.ngclient.UpdaterConfig.__dataclass_fields__['max_delegations']",
     "UpdaterConfig.max_delegations"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "lacks"), TRIPS, ids=[trip[1] for trip in TRIPS])
def test_tripwires(tmp_path: Path, change: str, lacks: str) -> None:
    status, frame, _ = run(*patched(tmp_path, change))
    assert status == 56
    assert lacks in frame["fatal"]["message"]


def test_a_worker_has_nothing_to_open_a_connection_with(tmp_path: Path) -> None:
    change = (
        "import os\n"
        "def tell(status, end=os._exit):\n"
        "    print(*sys.modules, file=sys.stderr); end(status)\n"
        "os._exit = tell"
    )
    status, _, log = run(*patched(tmp_path, change))
    modules = set(log.split())
    assert status == 0 and "tuf.ngclient.updater" in modules
    network = {"socket", "_socket", "ssl", "_ssl", "http", "http.client", "urllib3", "requests"}
    assert not modules & (network | {"argparse"})


def test_a_stray_print_does_not_reach_the_host(tmp_path: Path) -> None:
    change = (
        "import os, tuf.ngclient\n"
        "class Loud(type(tuf)):\n"
        "    @property\n"
        "    def __version__(self):\n"
        "        print('stray'); os.write(1, b'raw\\n'); return 'loud'\n"
        "del tuf.__version__\n"
        "tuf.__class__ = Loud"
    )
    status, frame, log = run(*patched(tmp_path, change))
    assert status == 0 and frame["hello"]["tuf"] == "loud"
    assert "stray" in log and "raw" in log


def test_the_lock_names_no_host_and_no_machine() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (TOP / name).read_text()
        assert "://" not in text and "find-links" not in text and "/tmp" not in text  # noqa: S108
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pins and all(line.endswith("\\") for line in pins)
        assert "--hash=sha256:" in text
