# SPDX-License-Identifier: MIT
"""What the programs of this folder share: running and timing commands, taking
turns, files in and out of the page cache, input that looks like real disks,
arguments and the report.  README.md says how to measure with it."""

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from bench_rows import HEADER, make_row, row_text

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
CLUSTER = 64 * KIB

# Where a run of several programs keeps the input that they share.
INPUTS = "QCOWFMT_BENCH_INPUTS"


# ------------------------------------------------------------ running commands

# bench_child of the build that is measured: it says what a command took.
LAUNCHER = ["bench_child"]


class Sample:
    """What one turn of one column took; the value is in the row's unit."""

    def __init__(self, value, cpu=None, peak=None):
        self.value = value
        self.cpu = cpu    # processor seconds, in the kernel too
        self.peak = peak  # KiB of resident memory


class Taken:
    """What one run of a command took."""

    def __init__(self, seconds, cpu, peak, output):
        self.seconds = seconds
        self.cpu = cpu
        self.peak = peak
        self.output = output

    def wall_sample(self):
        return Sample(max(self.seconds, 1e-6), self.cpu, self.peak)

    def cpu_sample(self):
        # No less than the clock of the kernel can tell.
        return Sample(max(self.cpu, 1e-3), self.cpu, self.peak)


def run(argv):
    """Run a command; its standard output, or the end of this program."""
    for _ in range(10):
        done = subprocess.run(argv, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False,
                              stdin=subprocess.DEVNULL)
        # QEMU could not measure its key derivation.
        if done.returncode == 0 or "CPU usage" not in done.stderr:
            break
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def measured(argv, stdout=None):
    """
    Run a command with its output in a file, by default one that is read back;
    what it took with all its threads, or the end of this program.
    """
    line, other_end = os.pipe()
    with open(line, encoding="ascii") as line, (
            open(stdout, "wb") if stdout else
            tempfile.TemporaryFile()) as out, \
            tempfile.TemporaryFile() as errors:
        # What a child says of itself is found by the one that waits for it.
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen(
            [LAUNCHER[0], str(other_end)] + argv, stdin=subprocess.DEVNULL,
            stdout=out, stderr=errors, pass_fds=(other_end,))
        os.close(other_end)
        words = line.read().split()
        if process.wait() != 0 or words[3] != "0":
            errors.seek(0)
            sys.exit(f"{' '.join(argv)}: exit {words[3:]}\n"
                     f"{errors.read().decode(errors='replace')}")
        text = None
        if not stdout:
            out.seek(0)
            text = out.read().decode()
    return Taken(float(words[0]), float(words[1]), int(words[2]), text)


def interleave(columns, repeat, job):
    """
    Let columns take turns; the samples of each, in the order of turns.

    Every other round goes backwards, so that no column always comes first.
    """
    samples = {who: [] for who in columns}
    for turn in range(repeat):
        for who in columns if turn % 2 == 0 else reversed(columns):
            samples[who].append(job(who))
    return samples


# -------------------------------------------------------------- the page cache


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR):
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def settle(path):
    """Wait for the disk, so that it does not slow down the next one."""
    with opened(path) as fd:
        os.fsync(fd)


def cool(path):
    """Put a file out of the page cache."""
    with opened(path) as fd:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def warm(path):
    """
    Bring a file into the page cache in single pages.

    What wrote the file left pages of other sizes for one format than for
    another, and small writes to large pages are many times slower.
    """
    cool(path)
    with opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        while os.read(fd, MIB):
            pass


def unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


# ------------------------------------------------------------------ raw limits


def copy_sparse(source, target):
    """cp --sparse=always: what reading, finding zeros and writing cost."""
    unlink(target)
    return measured(["cp", "--sparse=always", "--reflink=never", source,
                     target]).wall_sample()


def data_ranges(fd, size):
    """Where a file has data."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        yield at, end
        at = end


def read_data(path, piece=MIB):
    """Read all that a file has but for its holes: a loop of pread."""
    buffer = bytearray(piece)
    with opened(path, os.O_RDONLY) as fd:
        cpu, start = time.process_time(), time.monotonic()
        for at, end in data_ranges(fd, os.fstat(fd).st_size):
            while at < end:
                view = memoryview(buffer)[:min(piece, end - at)]
                at += os.preadv(fd, [view], at)
        return Sample(max(time.monotonic() - start, 1e-6),
                      time.process_time() - cpu)


# ----------------------------------------------------------------------- input


def copy_tree_part(tree, left):
    """Files of /usr, in a fixed order, as long as there is room."""
    for top, directories, names in os.walk("/usr", followlinks=False):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(top, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            size = os.path.getsize(path)
            if size > left:
                continue
            target = os.path.join(tree, os.path.relpath(top, "/"))
            os.makedirs(target, exist_ok=True)
            shutil.copyfile(path, os.path.join(target, name))
            left -= size
            if left <= 0:
                return


def make_file_system(image, size, content):
    """A raw image of an ext4 file system with files of all kinds in it."""
    tree = image + ".tree"
    os.mkdir(tree)
    copy_tree_part(tree, content)
    with open(image, "wb") as file:
        file.truncate(size)
    run(["mke2fs", "-q", "-t", "ext4", "-i", "4096", "-d", tree, image])
    shutil.rmtree(tree)


def file_system_image(directory, size, content):
    """
    The path of a raw image with the content of a real file system.

    It may be shared with other programs, and is not to be written to.
    """
    directory = os.environ.get(INPUTS, directory)
    image = os.path.join(directory, f"fs-{size // MIB}-{content // MIB}.raw")
    if not os.path.exists(image):
        make_file_system(image, size, content)
    return image


# ------------------------------------------------------------------- arguments

BUILT = {
    "qcow_img": os.path.join("tools", "qcow-img", "qcow-img"),
    "qcow_io": os.path.join("tools", "qcow-io", "qcow-io"),
    "bench_disk": os.path.join("tests", "bench", "bench_disk"),
}


def built(build, name):
    """The path of a program in a build directory; "" without one."""
    return os.path.join(build or "", BUILT.get(
        name, os.path.join("tests", "bench", name)))


def argument_parser(description, repeat=7):
    """The arguments that every program here takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", metavar="DIR",
                        help="build directory whose programs are measured")
    parser.add_argument("--against", metavar="DIR",
                        help="a second build, to measure instead of QEMU")
    parser.add_argument("--dir", help="where the files go")
    parser.add_argument("--repeat", type=int, metavar="N",
                        help=f"repetitions ({repeat})")
    parser.add_argument("--only", action="append", default=[], metavar="WORD",
                        help="jobs with this in their name; more than once")
    parser.add_argument("--json", metavar="FILE", help="write a report")
    parser.add_argument("--list", action="store_true",
                        help="print the names of jobs and do nothing")
    parser.add_argument("--quick", action="store_true",
                        help="smaller sizes and fewer repetitions")
    parser.add_argument("--smoke", action="store_true",
                        help="tiny sizes, no judgement")
    parser.set_defaults(usual_repeat=repeat)
    return parser


def parse_arguments(parser):
    args = parser.parse_args()
    if not args.build and not args.list:
        parser.error("--build is needed")
    for build in (args.build, args.against):
        if build and not os.path.isdir(build):
            parser.error(f"{build} is no build directory")
    LAUNCHER[0] = built(args.build, "bench_child")
    if args.repeat is None:
        args.repeat = 3 if args.quick else args.usual_repeat
        if args.smoke:
            args.repeat = 1
    return args


def sized(args, usual, quick, smoke):
    """A size for the kind of run this is."""
    if args.smoke:
        return smoke
    return quick if args.quick else usual


# ---------------------------------------------------------------------- report


def first_line(argv):
    try:
        return run(argv).split("\n", 1)[0]
    except FileNotFoundError:
        return "not installed"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def machine(directory):
    """What somebody who reads the figures has to know."""
    kind = run(["stat", "-f", "-c", "%T", directory]).strip()
    return {"processor": processor(), "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(), "file_system": kind,
            "memory_kib": os.sysconf("SC_PHYS_PAGES") *
            os.sysconf("SC_PAGE_SIZE") // KIB,
            "qemu": first_line(["qemu-img", "--version"])}


def build_options(build):
    """How what is measured was built, as far as it matters for speed."""
    path = os.path.join(build, "meson-info", "intro-buildoptions.json")
    try:
        with open(path, encoding="utf-8") as file:
            options = {option["name"]: option["value"]
                       for option in json.load(file)}
    except FileNotFoundError:
        return {}
    return {name: options[name] for name in
            ("buildtype", "optimization", "debug_locks", "b_sanitize",
             "libdeflate", "zstd", "uring") if name in options}


class Report:
    """
    The rows of a program, printed as they come and written at the end.

    With --against the columns are two builds, and rows hold samples only.
    """

    def __init__(self, program, args):
        self.program = program
        self.args = args
        self.compares = args.against is not None
        self.rows = []
        self.listed = 0

    def programs(self, name, qemu=None):
        """The program of each column."""
        found = {"ours": built(self.args.build, name)}
        if self.compares:
            found["other"] = built(self.args.against, name)
        elif qemu:
            found["qemu"] = qemu
        return found

    def columns(self, *others):
        """Names of the columns; others are "qemu", "raw" and the like."""
        if self.compares:
            return ["ours", "other"]
        return ["ours"] + list(others)

    def wants(self, *jobs):
        """Whether one of the jobs is to be measured; --list names them."""
        chosen = [job for job in jobs if not self.args.only or any(
            word in job or word == self.program for word in self.args.only)]
        self.listed += len(chosen)
        if self.args.list:
            for job in chosen:
                print(job)
            return False
        return bool(chosen)

    def show(self, row):
        if not self.rows and not self.compares:
            print(HEADER)
        self.rows.append(row)
        if not self.compares or "not_measured" in row:
            print(row_text(row, not self.args.smoke), flush=True)

    def add(self, job, unit, samples, **more):
        """A row; more is what make_row() takes."""
        if not self.compares:
            self.show(make_row(self.program, job, unit, samples, **more))
            return
        self.show({"program": self.program, "job": job, "unit": unit,
                   "samples": {who: [s.value for s in samples[who]]
                               for who in ("ours", "other")},
                   "cpu": {who: [s.cpu for s in samples[who]]
                           for who in ("ours", "other")}})

    def missing(self, job, why):
        """A job that cannot be measured here."""
        self.show({"program": self.program, "job": job, "not_measured": why})

    def finish(self, directory):
        if not self.rows:
            sys.exit("no job has one of these words in its name: " +
                     " ".join(self.args.only))
        if not self.args.json:
            return
        with open(self.args.json, "w", encoding="utf-8") as file:
            json.dump({"program": self.program, "smoke": self.args.smoke,
                       "quick": self.args.quick, "compares": self.compares,
                       "machine": machine(directory),
                       "build": build_options(self.args.build),
                       "rows": self.rows}, file, indent=1)


def main(program, parser, measure, needs=("qemu-img",), directory=None):
    """
    The frame of a program: measure(report, args, directory) in a fresh
    directory that is removed.  Returns the exit status.
    """
    args = parse_arguments(parser)
    for name in needs:
        if not shutil.which(name):
            print(f"SKIP: {name} is not installed")
            return 77
    report = Report(program, args)
    if args.list:
        measure(report, args, None)
        return 0
    where = args.dir or (directory if not args.smoke else None)
    with tempfile.TemporaryDirectory(prefix="qcowfmt-bench-",
                                     dir=where) as fresh:
        measure(report, args, fresh)
        report.finish(fresh)
    return 0
