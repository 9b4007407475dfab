"""python-tuf's own client in a long-lived process.

WORK URL ROOT TARGET REPO DIR AT SECONDS RELEASES
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tuf.ngclient import Updater


class Job:
    """What to do; see the Go package loop, whose works these are."""

    def __init__(self, args: list[str]) -> None:
        self.url, self.target = args[0], args[2]
        self.root, self.repo, self.dir = Path(args[1]), Path(args[3]), Path(args[4])
        self.at, self.seconds, self.releases = int(args[5]), float(args[6]), int(args[7])

    def open(self) -> Updater:
        """Return a refreshed Updater. It can refresh only once."""
        metadata_dir = self.dir / "metadata"
        target_dir = self.dir / "targets"
        metadata_dir.mkdir(exist_ok=True)
        target_dir.mkdir(exist_ok=True)
        updater = Updater(
            metadata_dir=str(metadata_dir),
            metadata_base_url=self.url + "/metadata/",
            target_dir=str(target_dir),
            target_base_url=self.url + "/targets/",
            bootstrap=self.root.read_bytes(),
        )
        updater.refresh()
        return updater

    def rate(self, do: Callable[[int], None]) -> dict[str, float]:
        """Call do from several threads, after one call that does not count."""
        do(0)
        counts = [0] * self.at
        start = time.perf_counter()
        end = start + self.seconds

        def work(i: int) -> None:
            while time.perf_counter() < end:
                do(i + counts[i] * self.at)
                counts[i] += 1

        threads = [threading.Thread(target=work, args=(i,)) for i in range(self.at)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"per_second": sum(counts) / (time.perf_counter() - start)}

    def publish(self, n: int) -> None:
        """Put the timestamp of a release in its place."""
        fresh = self.repo / "timestamp-next.json"
        fresh.write_bytes((self.repo / f"timestamp-{n}.json").read_bytes())
        fresh.replace(self.repo / "metadata" / "timestamp.json")


def download(updater: Updater, target: str) -> None:
    """Download a target."""
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit(target + " not found")
    updater.download_target(info)


def look_ups(job: Job) -> dict[str, float]:
    """Share one Updater that is never refreshed again."""
    updater = job.open()
    names = json.loads((job.repo / "names.json").read_bytes())

    def do(n: int) -> None:
        if updater.get_targetinfo(names[n % len(names)]) is None:
            raise KeyError(n)

    return job.rate(do)


def hits(job: Job) -> dict[str, float]:
    """Share one Updater that is never refreshed again."""
    updater = job.open()
    download(updater, job.target)

    def do(_: int) -> None:
        info = updater.get_targetinfo(job.target)
        if info is None or updater.find_cached_target(info) is None:
            raise KeyError(job.target)

    return job.rate(do)


def releases(job: Job) -> dict[str, float]:
    """Take a new Updater for each release; the first does not count."""
    took = []
    try:
        for n in range(job.releases):
            job.publish(n)
            start = time.perf_counter()
            download(job.open(), f"plugins/acme/hello.1.0.{n}.tar.gz")
            took.append((time.perf_counter() - start) * 1000)
    finally:
        job.publish(0)
    return {"wall": statistics.median(took[1:])}


def idle(job: Job) -> dict[str, float]:
    """Download, rest, and look at the memory."""
    updater = job.open()
    download(updater, job.target)
    time.sleep(3)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return {"host": kib / 1024}


WORKS = {"look-ups": look_ups, "hits": hits, "releases": releases, "idle": idle}
print(json.dumps(WORKS[sys.argv[1]](Job(sys.argv[2:]))))
