"""A run of random queries in parts: a process each, with servers of its own, since Python asks with one core only."""
import json, os, subprocess, sys, tempfile


def slices(count, parts, skip=0):
    """[(skip, count)] of nearly equal parts, none empty."""
    parts = max(1, min(parts, count))
    bounds = [skip + count * i // parts for i in range(parts + 1)]
    return [(a, b - a) for a, b in zip(bounds, bounds[1:])]


def without(argv, options):
    """The arguments without these options and their values."""
    out, skip = [], False
    for arg in argv:
        name = arg.split("=")[0]
        if skip:
            skip = False
        elif name in options:
            skip = "=" not in arg
        else:
            out.append(arg)
    return out


def run(argv, args, tally):
    """Run the parts and add their results.  -> whether all came to their end"""
    common = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "promdiff.py")]
    common += without(argv, ("--parts", "--fuzz", "--skip", "--json"))
    with tempfile.TemporaryDirectory(prefix="promdiff-parts-") as folder:
        running = []
        for i, (skip, count) in enumerate(slices(args.fuzz, args.parts, args.skip)):
            path = os.path.join(folder, "%d.json" % i)
            log = open(os.path.join(folder, "%d.log" % i), "w+")
            command = common + ["--fuzz", str(count), "--skip", str(skip), "--json", path]
            running.append((subprocess.Popen(command, stdout=log, stderr=log), path, log))
        whole = True
        try:
            for process, path, log in running:
                process.wait()
                log.seek(0)
                if process.returncode not in (0, 1) or not os.path.exists(path):
                    whole = False
                    print("a part failed with status %d:\n%s" % (process.returncode, log.read()[-2000:]))
                    continue
                print(log.read().split("\n\n")[0])
                with open(path, encoding="utf-8") as f:
                    tally.merge(json.load(f))
        finally:
            for process, _, log in running:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                log.close()
        return whole
