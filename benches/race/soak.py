#!/usr/bin/env python3
"""Runs a server for a long time under everything at once, and looks for what only time shows.

A feed in real time with churn, queries, deletions, reloads and some SIGKILLs; at the end memory must have stayed flat, no
acknowledged sample be missing, and Prometheus and promtool must open what is left. Ends with 1 if not.

    python3 soak.py --bin ../../target/release/pyrope --minutes 40
"""

import argparse
import json
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from race import build_loadgen
from servers import Loadgen, Server, load_contestants

HERE = Path(__file__).resolve().parent
FLAGS = ("--storage.tsdb.min-block-duration={block} --storage.tsdb.max-block-duration={block} "
         "--web.enable-admin-api --web.enable-lifecycle")
# Its samples are deleted now and then, so they are not counted.
VICTIM = "node_load1"
QUERIES = [
    "sum by (job) (rate(http_request_duration_seconds_bucket[2m]))",
    "topk(5, sum by (namespace) (rate(container_cpu_usage_seconds_total[3m])))",
    "count({__name__=~\"node_.*\"})",
    "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))",
]


class Watch(threading.Thread):
    """Asks, deletes and reloads while the server runs, and notes its memory."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.done = server, threading.Event()
        self.memory, self.asked, self.failed = [], 0, []
        # Series of the victim, which are as many all the time.
        self.victims = 0
        # The server is about to be killed: a request under way breaks off.
        self.killing = False

    def run(self):
        began = time.monotonic()
        rounds = 0
        while not self.done.wait(5):
            try:
                self.memory.append((time.monotonic() - began, self.server.memory("RssAnon"), self.server.memory()))
                self.server.api("query", query=QUERIES[rounds % len(QUERIES)])
                self.asked += 1
                self.victims = max(self.victims, int(self.server.value(f"count({VICTIM})")))
                if rounds % 12 == 6:
                    now = time.time()
                    self.post("/api/v1/admin/tsdb/delete_series", {"match[]": VICTIM, "start": now - 300, "end": now - 200})
                if rounds % 24 == 18:
                    self.post("/api/v1/admin/tsdb/clean_tombstones")
                if rounds % 12 == 11:
                    self.post("/-/reload")
            except (OSError, ValueError, KeyError) as error:
                if not self.killing:
                    self.failed.append(str(error))
            except TypeError:
                # A process that has just been killed has no memory left to tell of.
                pass
            rounds += 1

    def post(self, path, form=None):
        data = urllib.parse.urlencode(form or {}).encode()
        urllib.request.urlopen(urllib.request.Request(self.server.url + path, data=data, method="POST"), timeout=60).read()

    def end(self):
        self.done.set()
        self.join()


def count(server, start, end):
    """Samples in [start, end), without the victim's; asked in pieces, as a query has a limit."""
    names = [name for name in server.api("label/__name__/values", start=start, end=end) if name != VICTIM]
    total, piece = 0, 120
    for first in range(start, end, piece):
        last = min(first + piece, end)
        # Windows are open on the left in one version and closed in another; no sample is on a whole second.
        total += sum(server.value(f"sum(count_over_time({name}[{last - first}s]))", last) for name in names)
    return int(total)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="the server's binary")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--series", type=int, default=300_000)
    parser.add_argument("--step", type=int, default=15)
    parser.add_argument("--churn", type=float, default=60, help="percent of pods replaced per hour")
    parser.add_argument("--block", default="6m", help="range of the smallest and largest block")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--growth", type=float, default=1.25, help="the last quarter's memory over the second's, at most")
    parser.add_argument("--flags", default="", help="further flags")
    parser.add_argument("--folder", help="where the data lies; default: a temporary folder")
    parser.add_argument("--loadgen")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    flags = {"pyrope": FLAGS.format(block=args.block) + " " + args.flags}
    [contestant] = load_contestants(HERE / "contestants.json", ["pyrope"], {"pyrope": args.bin}, flags)
    loadgen = Loadgen(args.loadgen or build_loadgen())
    with tempfile.TemporaryDirectory(prefix="soak-", dir=args.folder) as folder:
        sys.exit(0 if soak(contestant, loadgen, Path(folder), args) else 1)


def soak(contestant, loadgen, folder, args):
    phases, watches, faults = [], [], []
    length = args.minutes * 60 / (args.kills + 1)
    with Server(contestant, folder) as server:
        for phase in range(args.kills + 1):
            start = int(time.time()) // args.step * args.step + args.step
            watch = Watch(server)
            watch.start()
            feed = subprocess.Popen(
                loadgen.command("feed", "--paced", url=server.write_url, series=args.series, start=start, step=args.step,
                                churn=args.churn, concurrency=2, hours=24 * 7),
                stdout=subprocess.PIPE)
            time.sleep(length)
            watch.killing = True
            server.kill()
            watch.end()
            fed = json.loads(feed.communicate(timeout=120)[0])
            server.spawn()
            ready = server.wait_ready()
            phases.append((start, fed["acked_until"], fed["steps_acked"] * (args.series - watch.victims)))
            watches.append(watch)
            print(f"phase {phase + 1}: {fed['samples']:,} samples, {fed['retries']} retries, {watch.asked} queries, "
                  f"{len(watch.failed)} failed, ready again after {ready:.1f} s", flush=True)
            faults += [f"a request failed: {error}" for error in watch.failed[:3]]
        held = [count(server, start, end) for start, end, _ in phases]
        server.stop()
    for (start, end, expected), found in zip(phases, held):
        if found < expected:
            faults.append(f"{expected - found} of {expected} samples from {start} to {end} are missing")
    faults += memory_faults(watches, args)
    faults += foreign_faults(folder, phases, held)
    print("\n".join(f"FAULT: {fault}" for fault in faults) or "no faults")
    return not faults


def memory_faults(watches, args):
    """Compares anonymous memory late in the run with that after the first blocks."""
    figures = []
    for number, watch in enumerate(watches):
        settled = [anon for seconds, anon, _ in watch.memory if seconds > 120] or [anon for _, anon, _ in watch.memory]
        figures.append(statistics.median(settled) if settled else 0)
        print(f"phase {number + 1}: anonymous memory {figures[-1]:.0f} MiB in the median, {max(settled, default=0):.0f} at most")
    if figures and figures[-1] > args.growth * figures[0]:
        return [f"memory grew from {figures[0]:.0f} to {figures[-1]:.0f} MiB"]
    return []


def foreign_faults(folder, phases, held):
    """What Prometheus and promtool say of the directory."""
    faults = []
    copy = folder / "copy"
    shutil.copytree(folder / "data", copy / "data")
    if shutil.which("promtool"):
        analyzed = subprocess.run(["promtool", "tsdb", "analyze", str(copy / "data")], capture_output=True, text=True, timeout=600)
        if analyzed.returncode:
            faults.append(f"promtool tsdb analyze: {analyzed.stderr.strip()[-300:]}")
    else:
        print("SKIPPED: promtool is not installed")
    if shutil.which("prometheus"):
        [prometheus] = load_contestants(HERE / "contestants.json", ["prometheus"], {})
        prometheus.add_flags("--query.max-samples=500000000")
        with Server(prometheus, copy) as server:
            for (start, end, _), found in zip(phases, held):
                theirs = count(server, start, end)
                if theirs != found:
                    faults.append(f"Prometheus finds {theirs} samples from {start} to {end}, the server found {found}")
    else:
        print("SKIPPED: prometheus is not installed")
    return faults


if __name__ == "__main__":
    main()
