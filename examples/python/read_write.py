#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Create, write, reopen and read an image from Python, through ctypes.

    read_write.py IMAGE

The interface was made to be bound like this: opaque handles, fixed-width
integers, no inline functions, and option structures that carry their own size.
A structure here may stop at any member: the library takes the missing tail as
zeros, which means the defaults.

The library is found by its soname; QCOWFMT_LIBRARY names another file.
"""

import ctypes
import os
import sys
from ctypes import byref, c_char_p, c_int, c_int32, c_size_t, c_uint32
from ctypes import c_uint64, c_void_p

FORMAT_QCOW2 = 3
OPEN_READ_WRITE = 0x1

lib = ctypes.CDLL(os.environ.get("QCOWFMT_LIBRARY", "libqcowfmt.so.0"))


class CreateOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("virtual_size", c_uint64),
        ("format", c_int32),
        ("version", c_uint32),
        ("cluster_size", c_uint64),
    ]


class OpenOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("format", c_int32),
        ("flags", c_uint32),
    ]


def declare(name, *argtypes, restype=c_int):
    """Give ctypes a function's types.  Without them it passes 32-bit ints."""
    function = getattr(lib, name)
    function.argtypes = argtypes
    function.restype = restype
    return function


errp = ctypes.POINTER(c_void_p)
version = declare("qcowfmt_version", restype=c_char_p)
error_message = declare("qcowfmt_error_message", c_void_p, restype=c_char_p)
error_errno = declare("qcowfmt_error_errno", c_void_p)
error_free = declare("qcowfmt_error_free", c_void_p, restype=None)
create_file = declare("qcowfmt_create_file", c_char_p,
                      ctypes.POINTER(CreateOptions), errp)
open_file = declare("qcowfmt_open_file", c_char_p,
                    ctypes.POINTER(OpenOptions), ctypes.POINTER(c_void_p),
                    errp)
close = declare("qcowfmt_close", c_void_p, errp)
pread = declare("qcowfmt_pread", c_void_p, c_void_p, c_size_t, c_uint64, errp)
pwrite = declare("qcowfmt_pwrite", c_void_p, c_void_p, c_size_t, c_uint64,
                 errp)
get_size = declare("qcowfmt_get_size", c_void_p, restype=c_uint64)


def call(function, *args):
    """Call a function that can fail; raise OSError with the library's words."""
    error = c_void_p()
    result = function(*args, byref(error))
    if result < 0:
        failure = OSError(error_errno(error), error_message(error).decode())
        error_free(error)
        raise failure
    return result


class Image:
    """An open qcow2 image.  Use it in a with statement."""

    def __init__(self, path, writable=False):
        options = OpenOptions(format=FORMAT_QCOW2,
                              flags=OPEN_READ_WRITE if writable else 0)
        options.struct_size = ctypes.sizeof(options)
        self.handle = c_void_p()
        call(open_file, os.fsencode(path), byref(options), byref(self.handle))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        handle, self.handle = self.handle, c_void_p()
        call(close, handle)

    def __len__(self):
        return get_size(self.handle)

    def write(self, data, offset):
        call(pwrite, self.handle, data, len(data), offset)

    def read(self, length, offset):
        buffer = ctypes.create_string_buffer(length)
        call(pread, self.handle, buffer, length, offset)
        return buffer.raw


def create(path, virtual_size):
    options = CreateOptions(virtual_size=virtual_size)
    options.struct_size = ctypes.sizeof(options)
    call(create_file, os.fsencode(path), byref(options))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: read_write.py IMAGE")
    path = sys.argv[1]
    data = b"written from Python, " * 5000
    # Above 4 GiB on purpose: a binding that loses the upper half shows here.
    offset = (5 << 30) + 123

    create(path, 8 << 30)
    with Image(path, writable=True) as image:
        image.write(data, offset)
    with Image(path) as image:
        if image.read(len(data), offset) != data:
            sys.exit("read back something else than was written")
        if image.read(len(data), offset - (4 << 30)) != bytes(len(data)):
            sys.exit("an unwritten range does not read as zeros")
        size = len(image)
        try:
            image.write(b"x", 0)
            sys.exit("a write to a read-only image succeeded")
        except OSError as error:
            print("as it should be:", error.strerror)
    print("libqcowfmt", version().decode(), "wrote and read", len(data),
          "bytes of a disk of", size)


if __name__ == "__main__":
    main()
