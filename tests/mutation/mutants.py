# SPDX-License-Identifier: MIT
"""Runs tests on each mutant of the library until one of them fails.

Each test is run once without any mutant, which tells how long it takes and which
sites it passes.  A mutant is then shown to the tests that pass its site, first to
those that have found others nearby and to quick ones; those that look at
thousands of states look at a part of them first (QCF_THIN), and only if no test
has found the mutant that way at all of them.  What was found out is kept
in the work directory, so that a run can be continued: a mutant that was killed
stays so as long as its source file is the same, and one that survived is tried on
tests that are new or have changed.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import threading

import relink
import sites

HERE = pathlib.Path(__file__).resolve().parent
SUITES = {"crash", "faults", "unit", "api", "race"}
THINNED = {"crash", "faults"}
SKIPPED = 77

# Of how many states one is looked at without a mutant, and in each round.
TRACE_THIN = 16
ROUNDS = (8, 1)


@dataclasses.dataclass
class Test:
    """A test of the build."""
    name: str
    target: str
    command: list
    env: dict
    key: str  # changes with the program and what it is called with
    thinned: bool  # takes less time when it is thinned


def outcome(command, env, cpu_limit, wall_limit, limit_memory=True):
    """(exit status, negative after a signal; CPU seconds)."""
    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit, cpu_limit + 5))
        if limit_memory:
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    # A mutant may leave behind what a test removes.
    with tempfile.TemporaryDirectory(prefix="qcow-mutant-") as place, \
         subprocess.Popen(command, env=env, cwd=place,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True, preexec_fn=limit) as process:
        timer = threading.Timer(
            wall_limit, lambda: os.killpg(process.pid, signal.SIGKILL))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return process.returncode, usage.ru_utime + usage.ru_stime


class State:
    """What is known, in a file."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.tests = {}
        self.mutants = {}
        if path.exists():
            known = json.loads(path.read_text("utf-8"))
            self.tests = known["tests"]
            self.mutants = known["mutants"]

    def save(self):
        """Replace the file."""
        with self.lock:
            text = json.dumps({"tests": self.tests, "mutants": self.mutants},
                              indent=1, sort_keys=True)
            new = self.path.with_suffix(".new")
            new.write_text(text, encoding="utf-8")
            new.rename(self.path)


class Mutants:
    """All mutants of a library, and tests to show them to."""

    def __init__(self, build_root, source_root, directory, suites=None,
                 words=None):
        self.suites = set(suites or SUITES)
        self.words = words or [""]
        self.build = relink.Build(build_root, source_root, directory)
        self.source_root = self.build.source_root
        self.state = State(self.build.directory / "state.json")
        self.mutants = {}
        self.by_file = {}
        self.file_keys = {}
        self.objects = []
        self.library = None
        self.all_tests = []
        self.find_sites()

    def find_sites(self):
        """Look for sites in every file of the library."""
        sources = {str(path.relative_to(self.source_root)):
                   path.read_text("utf-8")
                   for path in sorted(self.source_root.glob("lib/*/*.c"))}
        library = sites.Library(sources)
        for path, source in sources.items():
            found = library.sites(path)
            if not found:
                continue
            self.by_file[path] = found
            self.file_keys[path] = hashlib.sha256(source.encode()).hexdigest()
            for site in found:
                other = self.mutants.setdefault(site.number, site)
                if other.name != site.name:
                    raise SystemExit(f"{site.name} and {other.name} have the "
                                     "same number")

    # ------------------------------------------------------------ building

    def compile_file(self, path):
        """Compile a file with its switches; some swaps do not compile."""
        source = (self.source_root / path).read_text("utf-8")
        name = path.replace("/", "_")[:-2]
        found = self.by_file[path]
        extra = ["-include", str(HERE / "mutant_switch.h")]
        while True:
            text = sites.with_switches(source, found)
            try:
                return self.build.compile(path, text, name, extra)
            except relink.BuildError:
                bad = [s for s in {s.number: s for s in found
                                   if s.kind == "order"}.values()
                       if not self.compiles(path, source, s)]
                if not bad:
                    raise
                for site in bad:
                    print(f"no mutant: {site.name} does not compile")
                    del self.mutants[site.number]
                found = [s for s in found if s.number in self.mutants]
                self.by_file[path] = found

    def compiles(self, path, source, site):
        """Whether a single swap does."""
        chosen = [s for s in self.by_file[path] if s.number == site.number]
        try:
            self.build.compile(path, sites.with_switches(source, chosen),
                               f"try_{site.number}",
                               ["-include", str(HERE / "mutant_switch.h")])
        except relink.BuildError:
            return False
        return True

    def make(self, jobs):
        """Compile and link everything."""
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            self.objects = [
                self.build.compile_plain(HERE / "mutant_switch.c", "switch"),
                *pool.map(self.compile_file, list(self.by_file))]
            self.library = self.build.link_library(self.objects)
            self.all_tests = [t for t in pool.map(self.make_test,
                                                  self.build.tests()) if t]

    def make_test(self, entry):
        """The test with a program that has the mutants; None: not for us."""
        suites = {s.rsplit(":", 1)[-1] for s in entry["suite"]}
        program = pathlib.Path(entry["cmd"][0])
        if not any(word in entry["name"] for word in self.words):
            return None
        if not suites & self.suites or self.build.root not in program.parents or \
           not program.exists():
            return None
        target = str(program.relative_to(self.build.root))
        command = list(entry["cmd"])
        env = dict(os.environ, **entry["env"])
        if self.build.uses_shared_library(target):
            env["LD_LIBRARY_PATH"] = str(self.library)
        else:
            command[0] = str(self.build.link(target, self.objects))
        return Test(entry["name"], target, command, env,
                    self.test_key(target, entry), bool(suites & THINNED))

    def test_key(self, target, entry):
        """Changes with what is compiled into the test, the library aside."""
        digest = hashlib.sha256(repr((entry["cmd"], entry["env"])).encode())
        for word in self.build.link_command(target):
            if word.startswith("tests/"):
                path = self.build.root / word
                if path.suffix == ".a":
                    parts = sorted((path.parent / (path.name + ".p")).glob(
                        "*.o"))
                elif path.suffix == ".o":
                    parts = [path]
                else:
                    parts = []
                for part in parts:
                    digest.update(part.read_bytes())
        return digest.hexdigest()

    # ------------------------------------------------------------- running

    def trace(self, test):
        """Run a test without a mutant: how long, and past which sites."""
        with tempfile.NamedTemporaryFile("r", dir=self.build.directory) as file:
            status, cpu = outcome(
                test.command, dict(test.env, QCF_MUTANTS_PASSED=file.name,
                                   QCF_THIN=str(TRACE_THIN)), 3600, 7200)
            passed = sorted({int(line) for line in file})
        with self.state.lock:
            self.state.tests[test.name] = {
                "key": test.key, "cpu": round(cpu, 2), "passed": passed,
                "status": status}
        if status not in (0, SKIPPED):
            print(f"{test.name} ends with {status} without a mutant: not used")

    def trace_all(self, jobs):
        """Trace tests that are new or have changed."""
        new = [t for t in self.all_tests
               if self.state.tests.get(t.name, {}).get("key") != t.key]
        if new:
            print(f"running {len(new)} tests without a mutant", flush=True)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for number, _ in enumerate(pool.map(self.trace, new), 1):
                if number % 10 == 0:
                    self.state.save()
        self.state.save()

    def tests_for(self, site):
        """Tests that pass a site, the most promising first."""
        known = self.state.tests
        near = {s.number for s in self.by_file[site.path]}
        traced = any(site.number in k["passed"] for k in known.values())
        kills = self.kills_near(site)

        def promise(test):
            hope = 1 + kills.get(test.name, 0)
            return hope * (4 if "crash" in test.name else 1) / \
                (0.3 + known[test.name]["cpu"])

        chosen = [t for t in self.all_tests
                  if known.get(t.name, {}).get("status") == 0 and
                  (site.number in known[t.name]["passed"] if traced
                   else near & set(known[t.name]["passed"]))]
        return sorted(chosen, key=promise, reverse=True)

    def kills_near(self, site):
        """How often each test found a mutant, weighed by how near it was."""
        kills = {}
        with self.state.lock:
            for name, known in self.state.mutants.items():
                if known["result"] != "killed":
                    continue
                path, function = name.split(":")[:2]
                weight = 0.3 if path != site.path else \
                    10 if function == site.name.split(":")[1] else 3
                kills[known["by"]] = kills.get(known["by"], 0) + weight
        return kills

    def is_killed_by(self, site, test, thin):
        """Whether a test fails on a mutant; and the CPU time it took."""
        known = self.state.tests[test.name]
        expected = known["cpu"] * (TRACE_THIN / thin if test.thinned else 1)
        status, cpu = outcome(
            test.command, dict(test.env, QCF_MUTANT=str(site.number),
                               QCF_THIN=str(thin)),
            int(4 * expected + 10), 40 * expected + 120)
        return status not in (0, SKIPPED), cpu

    def known_result(self, site):
        """What is known of a mutant of a file that has not changed."""
        known = self.state.mutants.get(site.name)
        if known and known["file"] == self.file_keys[site.path]:
            return known
        return None

    def try_mutant(self, site, patience):
        """Show a mutant to tests; returns what became of it."""
        known = self.known_result(site) or {"shown": {}}
        shown = dict(known["shown"])
        all_tests = self.suites == SUITES and self.words == [""]
        result = {"result": "survived" if all_tests else "undecided",
                  "file": self.file_keys[site.path]}
        spent = 0.0
        tests = self.tests_for(site)
        for thin, test in ((n, t) for n in ROUNDS for t in tests):
            if not test.thinned and thin != ROUNDS[0]:
                continue
            seen_as = f"{test.name}/{thin}"
            if shown.get(seen_as) == test.key:
                continue
            if spent > patience:
                result["result"] = "undecided"
                break
            killed, cpu = self.is_killed_by(site, test, thin)
            if killed:
                result.update(result="killed", by=test.name)
                break
            spent += cpu
            shown[seen_as] = test.key
        result["shown"] = shown if result["result"] != "killed" else {}
        with self.state.lock:
            self.state.mutants[site.name] = result
        return result
