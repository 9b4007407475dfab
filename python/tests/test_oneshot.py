"""The one-shot commands against a web server on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, SCRIPT, Repo, client, sha256
from tuf.api.metadata import TargetFile


class Site:
    """A repository behind a web server, and the client's directories."""

    def __init__(self, directory: Path) -> None:
        self.repo = Repo()
        soon = datetime.now(timezone.utc) + timedelta(days=1)
        repo = self.repo
        for signed in (repo.root, repo.timestamp, repo.snapshot, *repo.targets.values()):
            signed.expires = soon.replace(microsecond=0)
        repo.publish_root()
        repo.publish()
        self.directory = directory
        self.root = directory / "shipped-root.json"
        self.root.write_bytes(repo.files["1.root.json"])
        self.targets = {f"{sha256(b'hello')}.app.tar.gz": b"hello"}
        self.asked = threading.Event()
        self.silent = threading.Event()
        self.release = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.set()
                if site.silent.is_set():
                    site.release.wait(PATIENCE)
                kind, _, name = self.path.lstrip("/").partition("/")
                data = (repo.files if kind == "metadata" else site.targets).get(name)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_args: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def command(self, *args: str) -> list[str]:
        fixed = [
            "--metadata-dir", str(self.directory / "metadata"),
            "--target-dir", str(self.directory / "targets"),
            "--metadata-url", f"{self.url}/metadata/", "--targets-url", f"{self.url}/targets/",
        ]  # fmt: skip
        return [sys.executable, "-I", str(SCRIPT), *fixed, *args]

    def run(self, *args: str) -> tuple[int, dict[str, Any]]:
        env = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        done = subprocess.run(
            self.command(*args), capture_output=True, timeout=PATIENCE, check=False, env=env
        )
        return done.returncode, json.loads(done.stdout)

    def close(self) -> None:
        self.release.set()
        self.server.shutdown()
        self.thread.join(PATIENCE)
        self.server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def fails(site: Site, code: str, *args: str) -> dict[str, Any]:
    status, frame = site.run(*args)
    assert not frame["ok"], frame
    error: dict[str, Any] = frame["error"]
    assert error["code"] == code, error
    assert (error["class"], status) == client.CODES[code]
    return error


def test_init_refresh_download_list(site: Site) -> None:
    root = ["--root", str(site.root)]
    assert site.run(*root, "init") == (0, {"ok": True, "result": {"versions": {"root": 1}}})
    versions = dict.fromkeys(("root", "timestamp", "snapshot", "targets"), 1)
    assert site.run("refresh") == (0, {"ok": True, "result": {"versions": versions}})
    for cached in (False, True):
        status, frame = site.run("download", "app.tar.gz")
        target = frame["result"]["targets"][0]
        assert status == 0 and target["cached"] == cached
        assert Path(target["path"]).read_bytes() == b"hello"
        assert target["custom"] == {"channel": "stable"} and target["role"] == "targets"
    status, frame = site.run("list")
    assert [t["name"] for t in frame["result"]["targets"]] == ["app.tar.gz"]
    assert list((site.directory / "targets").glob(".partial-*")) == []


def test_a_tampered_target_leaves_nothing_behind(site: Site) -> None:
    name = next(iter(site.targets))
    for data, code in ((b"hallo", "mismatch"), (b"hello and more", "endless_data")):
        site.targets[name] = data
        fails(site, code, "--root", str(site.root), "download", "app.tar.gz")
        assert list((site.directory / "targets").rglob("*")) == []


def test_refusals(site: Site) -> None:
    root = ["--root", str(site.root)]
    fails(site, "no_root", "refresh")
    fails(site, "usage", "init")
    fails(site, "not_found", *root, "download", "nothing")
    for name in ("../x", "/x", "a//b", "a%2fb", "a\nb", "."):
        fails(site, "invalid_name", *root, "download", name)
    site.repo.add_target("old", b"old")
    site.repo.targets["targets"].targets["old"] = TargetFile(3, {"md5": "0" * 32}, "old")
    site.repo.next_version()
    fails(site, "malformed", *root, "download", "old")
    site.repo.files["timestamp.json"] = b"{}"
    fails(site, "malformed", *root, "refresh")
    site.repo.files["timestamp.json"] = b"<html>"
    fails(site, "not_a_repository", *root, "refresh")
    del site.repo.files["timestamp.json"]
    assert "repository not accessible" in fails(site, "http_status", *root, "refresh")["message"]
    site.root.write_bytes(b"{}")
    fails(site, "bad_root", *root, "init")


def test_an_unreachable_repository(site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/metadata/"
        error = fails(
            site, "unreachable", "--metadata-url", url, "--root", str(site.root), "refresh"
        )
    assert error["message"].startswith(f"repository not accessible: {url}: ")


def test_the_time_for_the_command_is_bounded(site: Site) -> None:
    site.silent.set()
    fails(site, "timeout", "--root", str(site.root), "--timeout", "1", "refresh")


HEED = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])"""


def test_ctrl_c(site: Site) -> None:
    site.silent.set()
    # Whoever runs these tests in the background may have the signal ignored.
    heeding = [sys.executable, "-I", "-c", HEED]
    command = [*heeding, *site.command("--root", str(site.root), "refresh")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert site.asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(out)["error"]["code"] == "cancelled"
    assert process.returncode == 130


def test_an_unusable_directory(site: Site) -> None:
    (site.directory / "metadata").write_text("a file is in the way")
    fails(site, "local_io", "--root", str(site.root), "refresh")


def test_help_needs_no_repository() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "--help"], capture_output=True, check=True
    )
    assert b"init" in done.stdout and b"--root" in done.stdout
