# SPDX-License-Identifier: MIT
"""Programs of a build, linked anew with some source files of the library changed.

The build directory is read only: what is made goes elsewhere.  Objects of changed
files stand in front of the libraries they replace, so a program needs one
compilation for each changed file and one link.
"""

import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess

LIBRARY = "libqcowfmt.so.0"


class BuildError(Exception):
    """A compiler or linker complained."""


def run(words, directory):
    """Run a command; its output if it fails is the error."""
    result = subprocess.run(words, cwd=directory, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            check=False)
    if result.returncode != 0:
        raise BuildError(f"{shlex.join(words)}\n{result.stdout}")
    return result.stdout


class Build:
    """A build directory made by meson, and where changed things go."""

    def __init__(self, build_root, source_root, directory):
        self.root = pathlib.Path(build_root).resolve()
        self.source_root = pathlib.Path(source_root).resolve()
        self.directory = pathlib.Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.links = {}
        text = (self.root / "compile_commands.json").read_text("utf-8")
        self.compile_commands = {}
        for entry in json.loads(text):
            path = pathlib.Path(entry["directory"], entry["file"]).resolve()
            # Tests compile the library once more, in ways of their own.
            if self.source_root / "lib" in path.parents and \
                    entry["output"].startswith("lib/"):
                self.compile_commands[path] = shlex.split(entry["command"])

    def tests(self):
        """What `meson test` would run, as it says."""
        return json.loads(run(["meson", "introspect", "--tests",
                               str(self.root)], self.root))

    def compile(self, path, text, name, extra=()):
        """Compile a file of the library as if it contained the text."""
        path = (self.source_root / path).resolve()
        source = self.directory / f"{name}.c"
        target = self.directory / f"{name}.o"
        words = self.compile_commands[path]
        kept = [w for w in words[:words.index("-o")]
                if not w.startswith(("-W", "-MF", "-MD", "-MQ")) and
                not w.endswith((".o", ".d"))]
        words = [*kept, "-w", f"-I{path.parent}", *extra, "-o", str(target),
                 "-c", str(source)]
        text = f'#line 1 "{path}"\n{text}'
        key = self.key_of(text, words)
        remembered = self.directory / f"{name}.key"
        if target.exists() and remembered.exists() and \
           remembered.read_text("utf-8") == key:
            return target
        source.write_text(text, encoding="utf-8")
        run(words, self.root)
        remembered.write_text(key, encoding="utf-8")
        return target

    def key_of(self, text, words):
        """Changes whenever something that is compiled in changes."""
        digest = hashlib.sha256(repr((text, words)).encode())
        headers = [*self.source_root.glob("lib/*/*.[hd]*"),
                   *self.source_root.glob("include/*.h")]
        for header in sorted(headers):
            digest.update(header.read_bytes())
        return digest.hexdigest()

    def compile_plain(self, path, name):
        """Compile a file that belongs to no target."""
        target = self.directory / f"{name}.o"
        if target.exists() and \
           target.stat().st_mtime > path.stat().st_mtime:
            return target
        run(["cc", "-O2", "-g", "-fPIC", "-o", str(target), "-c", str(path)],
            self.directory)
        return target

    def link_command(self, target):
        """How a program or library of the build is linked."""
        if target not in self.links:
            text = run(["ninja", "-t", "commands", target], self.root)
            self.links[target] = shlex.split(text.splitlines()[-1])
        return self.links[target]

    def uses_shared_library(self, target):
        """Whether the library is loaded, not part of the program."""
        return any(LIBRARY in word for word in self.link_command(target))

    def link(self, target, objects, flags=()):
        """Link a target with other objects; returns what was made."""
        words = list(self.link_command(target))
        made = self.directory / "bin" / target
        made.parent.mkdir(parents=True, exist_ok=True)
        if made.exists() and all(
                made.stat().st_mtime > pathlib.Path(p).stat().st_mtime
                for p in [self.root / target, *objects]):
            return made
        words[words.index("-o") + 1] = str(made)
        words[1:1] = [*flags, *map(str, objects), "-Wl,-z,muldefs"]
        run(words, self.root)
        return made

    def library_target(self):
        """The shared library's file in the build."""
        return next(str(path.relative_to(self.root))
                    for path in (self.root / "lib").glob(LIBRARY + ".*")
                    if re.fullmatch(r"[\d.]+", path.name[len(LIBRARY):]))

    def link_library(self, objects, flags=()):
        """The same for the shared library; returns where to look for it."""
        made = self.link(self.library_target(), objects,
                         [*flags, "-Wl,-z,lazy", "-Wl,-z,undefs"]
                         if flags else ())
        short = made.parent / LIBRARY
        short.unlink(missing_ok=True)
        os.symlink(made.name, short)
        return made.parent
