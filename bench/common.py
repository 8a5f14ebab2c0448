# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: progress, commands, file systems over memory, Go programs, containerd,
tables."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
MEMORY = "/dev/shm"


class Progress:
    """One line that is overwritten, on a terminal only."""

    def __init__(self):
        self.shown = sys.stderr.isatty()
        self.begin = time.monotonic()

    def say(self, text):
        if self.shown:
            seconds = int(time.monotonic() - self.begin)
            print(f"\r\033[K[{seconds // 60}:{seconds % 60:02}] {text}", end="", file=sys.stderr,
                  flush=True)

    def clear(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")


def timed(*command):
    begin = time.monotonic()
    run(*command)
    return time.monotonic() - begin


def timed_memory(*command):
    """Its seconds, and the bytes that it had in memory at most."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: failed")
    return time.monotonic() - begin, usage.ru_maxrss * 1024


def settle(cold=False):
    """What was written before is not written during the measurement."""
    os.sync()
    if cold:
        drop_caches()


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")


@contextlib.contextmanager
def containerd(place):
    """A containerd of its own in a directory; gives the command to talk to it."""
    address = place / "containerd.sock"
    config = place / "config.toml"
    config.write_text("version = 2\n"
                      f'root = "{place}/containerd"\nstate = "{place}/run"\n'
                      'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                      f'[grpc]\naddress = "{address}"\n')
    daemon = subprocess.Popen(["containerd", "--config", config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    ctr = ["ctr", "--address", str(address)]
    try:
        for _ in range(200):
            if not subprocess.run([*ctr, "version"], check=False, capture_output=True).returncode:
                break
            time.sleep(0.05)
        yield ctr
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


def build_go(name, out):
    """Builds bench/NAME with Debian's packaged Go sources; returns the program's path."""
    out.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="")
    subprocess.run(["go", "build", "-o", out / name, "."], cwd=SOURCE / "bench" / name, env=env,
                   check=True)
    return out / name


@contextlib.contextmanager
def file_system(kind, size, work, where=None):
    """A new file system on a loop device over a file in memory, or in the directory where,
    mounted."""
    fd, image = tempfile.mkstemp(prefix="varve-bench.", dir=where or MEMORY)
    os.close(fd)
    try:
        os.truncate(image, size)
        if kind == "btrfs":
            make = ["mkfs.btrfs", "-q", image]
        else:
            # All inode tables now, none by a kernel thread beside the measurement; many inodes.
            make = ["mkfs.ext4", "-q", "-F", "-i", "8192",
                    "-E", "lazy_itable_init=0,lazy_journal_init=0", image]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        mount = pathlib.Path(tempfile.mkdtemp(dir=work))
        # The loop device goes away with the mount.
        subprocess.run(["mount", "-t", kind, "-o", "loop", image, mount], check=True)
        try:
            yield mount
        finally:
            unmount(mount)
            mount.rmdir()
    finally:
        os.unlink(image)


def unmount(mount):
    if subprocess.run(["umount", mount], check=False).returncode:
        subprocess.run(["umount", "--lazy", mount], check=True)


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table(rows):
    print(f"\n{'case':34} {'metric':10} {'varve':>10} {'peer':>10} {'unit':6} {'ratio':>7}")
    for row in rows:
        print(f"{row['case']:34} {row['metric']:10} {number(row['varve']):>10} "
              f"{number(row['peer']):>10} {row['unit']:6} {number(row['ratio']):>7}")


def verdicts(lines):
    """Each stated bound beside what was measured: (what, measured, wanted, met). Machines differ:
    it is told, not enforced."""
    lines = list(lines)
    if lines:
        print(f"\n{'bound':44} {'measured':24} {'wanted':12}")
    for what, measured, wanted, met in lines:
        print(f"{what:44} {measured:24} {wanted:12} {'met' if met else 'NOT MET'}")


def write(out, name, rows):
    out.mkdir(parents=True, exist_ok=True)
    with open(out / f"{name}.json", "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")


def free_memory():
    free = os.statvfs(MEMORY)
    return free.f_bavail * free.f_frsize
