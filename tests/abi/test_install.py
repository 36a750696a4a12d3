#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An installed library can be used through pkg-config.

    test_install.py MESON BUILD_ROOT SOURCE_ROOT

Installs into a fresh directory, then builds and runs programs against what
landed there and nothing else: a strict C99 and a C++17 program, programs that
refer to every function, the program in the README, and all examples.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import abi  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ("cc", "c++", "pkg-config", "nm")
STRICT = ("-Wall", "-Wextra", "-Werror")


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f"SKIP: {program} is not installed")
            sys.exit(77)


def declared_functions(header):
    """Names of the functions a header declares, without callback types."""
    text = abi.strip_comments(header)
    return sorted(set(re.findall(r"(?<!\(\*)\b(qcowfmt_\w+)\s*\(", text)))


class Installed:
    """The library in its own root, as a program's build would see it."""

    def __init__(self, meson, build_root, source_root, directory):
        self.source_root = source_root
        self.directory = directory
        self.root = directory / "root"
        self.run(meson, "install", "-C", build_root, "--no-rebuild",
                 "--quiet", "--destdir", self.root)
        self.header = self.only("qcowfmt.h")
        self.library = self.only("libqcowfmt.so").resolve()
        pc_file = self.only("qcowfmt.pc")
        self.env = dict(
            os.environ,
            PKG_CONFIG_LIBDIR=str(pc_file.parent),
            PKG_CONFIG_SYSROOT_DIR=str(self.root),
            LD_LIBRARY_PATH=str(self.library.parent))
        self.env.pop("PKG_CONFIG_PATH", None)
        self.cflags = self.pkg_config("--cflags")
        self.libs = self.pkg_config("--libs")

    def run(self, *command, env=None):
        words = [str(word) for word in command]
        print("+", *words, flush=True)
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{done.stdout}ended with {done.returncode}")
        return done.stdout

    def only(self, name):
        found = list(self.root.rglob(name))
        if len(found) != 1:
            sys.exit(f"{len(found)} files named {name} were installed")
        return found[0]

    def pkg_config(self, what):
        words = self.run("pkg-config", what, "qcowfmt", env=self.env).split()
        if not any(str(self.root) in word for word in words):
            sys.exit(f"pkg-config {what}: {words} is not what was installed")
        return words

    def build(self, source, *flags, compiler="cc"):
        program = self.directory / (source.name + ".out")
        self.run(compiler, *flags, *STRICT, *self.cflags, "-o", program,
                 source, *self.libs, "-pthread", env=self.env)
        return program

    def start(self, program, *arguments):
        print(self.run(program, *arguments, env=self.env), end="")


def check_symbols(installed, functions):
    """The library exports what the header declares, versioned, and no more."""
    text = installed.run("nm", "-D", "--defined-only",
                         "--with-symbol-versions", installed.library)
    symbols = {line.split()[-1] for line in text.splitlines()}
    symbols.discard("QCOWFMT_0.1")  # the version itself, an absolute symbol
    symbols.discard("QCOWFMT_0.1@@QCOWFMT_0.1")
    expected = {name + "@@QCOWFMT_0.1" for name in functions}
    if symbols != expected:
        sys.exit("exported but not declared: "
                 f"{sorted(symbols - expected)}\n"
                 f"declared but not exported: {sorted(expected - symbols)}")
    print(f"{len(functions)} functions declared and exported")


def every_function(installed, functions):
    """A program that cannot link unless each function is there."""
    source = installed.directory / "every_function.c"
    lines = "".join(f"\t(any_function){name},\n" for name in functions)
    source.write_text(
        "#include <qcowfmt.h>\n\ntypedef void (*any_function)(void);\n"
        f"static any_function functions[] = {{\n{lines}}};\n\n"
        "int main(void)\n{\n\tunsigned i;\n\n"
        "\tfor (i = 0; i < sizeof(functions) / sizeof(*functions); i++) {\n"
        "\t\tif (!functions[i])\n\t\t\treturn 1;\n\t}\n\treturn 0;\n}\n",
        encoding="utf-8")
    return source


def build_programs(installed, functions):
    image = installed.directory / "image.qcow2"
    source = every_function(installed, functions)
    # cc -Wcast-function-type is part of -Wextra and not the point here.
    relaxed = "-Wno-cast-function-type"
    installed.start(installed.build(source, "-std=c99", "-pedantic", relaxed))
    plus = source.with_suffix(".cpp")
    shutil.copy(source, plus)
    installed.start(installed.build(plus, "-std=c++17", "-pedantic", relaxed,
                                    compiler="c++"))
    strict = HERE / "header_is_strict_c99.c"
    installed.start(installed.build(strict, "-std=c99", "-pedantic"), image)
    installed.start(installed.build(HERE / "raii.cpp", "-std=c++17",
                                    "-pedantic", "-Wold-style-cast",
                                    "-Wzero-as-null-pointer-constant",
                                    compiler="c++"), image)


def build_readme(installed):
    """The program in the README is a program."""
    text = (installed.source_root / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    if len(programs) != 1:
        sys.exit(f"{len(programs)} C programs in README.md instead of one")
    source = installed.directory / "readme.c"
    source.write_text(programs[0], encoding="utf-8")
    image = installed.directory / "readme.qcow2"
    installed.start(installed.build(source), image)


def build_examples(installed):
    examples = installed.source_root / "examples"
    image = installed.directory / "example.qcow2"
    # map shows the image that create_write_read made.
    arguments = {"overlay": installed.directory,
                 "custom_storage": installed.directory / "archive",
                 "convert": installed.directory,
                 "encrypted": installed.directory,
                 "incremental_backup": installed.directory}
    sources = sorted(examples.glob("*.c"))
    if len(sources) < 6:
        sys.exit(f"only {len(sources)} examples in {examples}")
    for source in sources:
        installed.start(installed.build(source),
                        arguments.get(source.stem, image))
    installed.start(sys.executable, examples / "python/read_write.py", image)
    if shutil.which("rustc"):
        program = installed.directory / "read_write"
        installed.run(examples / "rust/build", program, env=installed.env)
        installed.start(program, image)
    else:
        print("rustc is not installed: the Rust example was not built")


def main():
    meson = sys.argv[1]
    build_root, source_root = map(pathlib.Path, sys.argv[2:4])
    need(*PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="qcf-install-") as name:
        installed = Installed(meson, build_root, source_root,
                              pathlib.Path(name))
        if installed.header.read_bytes() != \
                (source_root / "include/qcowfmt.h").read_bytes():
            sys.exit("the installed header is not the one in the source")
        functions = declared_functions(
            installed.header.read_text(encoding="utf-8"))
        check_symbols(installed, functions)
        build_programs(installed, functions)
        build_readme(installed)
        build_examples(installed)


if __name__ == "__main__":
    main()
