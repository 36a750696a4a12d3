#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Promise: power is cut during every function that changes an image.

Each exported function is in one of the tables below.  One that changes images
is called by operations of the crash sequences, or by a test of its own; the
names of both are checked.  Whoever exports a function has to decide here.

usage: test_changes_are_cut_short.py LIBRARY.map TESTS/CRASH
"""
import re
import sys
from pathlib import Path

# Called by these operations of crash_ops.c.
OPERATIONS = {
    'qcowfmt_add_key': ['add_key', 'rotate_keys'],
    'qcowfmt_amend': ['amend_counts', 'amend_lazy', 'amend_version',
                      'amend_data_name', 'amend_data_raw'],
    'qcowfmt_bitmap_change': ['bitmap_add', 'bitmap_remove', 'bitmap_clear',
                              'bitmap_switch', 'bitmap_merge'],
    'qcowfmt_check': ['write_and_repair'],
    'qcowfmt_close': ['reopen', 'bitmap_record'],
    'qcowfmt_commit': ['commit'],
    'qcowfmt_compact': ['compact'],
    'qcowfmt_convert': ['convert'],
    'qcowfmt_discard': ['discard_one', 'discard_filled', 'discard_new'],
    'qcowfmt_erase_key': ['add_key', 'rotate_keys'],
    'qcowfmt_flush': ['flush', 'reuse_freed'],
    'qcowfmt_open': ['reopen', 'reopen_lazy'],
    'qcowfmt_pwrite': ['write_new', 'overwrite', 'write_cross_l2'],
    'qcowfmt_pwrite_compressed': ['compress_new', 'compress_over'],
    'qcowfmt_pwritev': ['write_vector'],
    'qcowfmt_rebase': ['rename_base', 'rebase', 'flatten'],
    'qcowfmt_resize': ['cut_and_grow', 'cut_and_preallocate'],
    'qcowfmt_snapshot_apply': ['snapshot_apply', 'snapshot_with_vm_state'],
    'qcowfmt_snapshot_create': ['snapshot_create', 'snapshot_and_write'],
    'qcowfmt_snapshot_delete': ['snapshot_delete',
                                'snapshot_delete_and_reuse'],
    'qcowfmt_vm_state_pwrite': ['snapshot_with_vm_state'],
    'qcowfmt_write_zeroes': ['zero_keep', 'zero_unmap', 'zero_new'],
}

# Called by a test of its own, and why it is no operation.
TESTS = {
    'qcowfmt_bitmap_recover': (
        'test_bitmaps_of_images_change_together.c',
        'is for several images that lie in files'),
    'qcowfmt_create': (
        'test_created_image_is_stable.c',
        'there is no image before it'),
}

# Do what another function does: with a file of their own, which cannot record;
# or in a thread, with the same code, but for writes in place that the kernel does.
LIKE = {
    'qcowfmt_create_file': 'qcowfmt_create',
    'qcowfmt_open_file': 'qcowfmt_open',
    'qcowfmt_queue_discard': 'qcowfmt_discard',
    'qcowfmt_queue_flush': 'qcowfmt_flush',
    'qcowfmt_queue_pwrite': 'qcowfmt_pwrite',
    'qcowfmt_queue_pwritev': 'qcowfmt_pwritev',
    'qcowfmt_queue_write_zeroes': 'qcowfmt_write_zeroes',
}

# Make something new that nobody has relied on yet, and of which only the
# result of the call says that it is complete.
COPIES = {
    'qcowfmt_dehydrate': 'a copy for a bug report',
    'qcowfmt_stream': 'bytes for a pipe, which has no power cuts',
}

# Change nothing that is stored.
READERS = set('''
    qcowfmt_bitmap_list qcowfmt_bitmap_list_count qcowfmt_bitmap_list_free
    qcowfmt_bitmap_list_get qcowfmt_bitmap_next qcowfmt_clean_text
    qcowfmt_compare
    qcowfmt_error_code qcowfmt_error_corruption_id qcowfmt_error_errno
    qcowfmt_error_free qcowfmt_error_guest_offset qcowfmt_error_host_offset
    qcowfmt_error_message qcowfmt_format_from_name qcowfmt_format_name
    qcowfmt_get_encryption_info qcowfmt_get_info qcowfmt_get_size
    qcowfmt_inspect qcowfmt_map qcowfmt_measure qcowfmt_pread qcowfmt_preadv
    qcowfmt_probe qcowfmt_queue_cancel qcowfmt_queue_event_fd
    qcowfmt_queue_free qcowfmt_queue_new qcowfmt_queue_pread
    qcowfmt_queue_preadv qcowfmt_queue_reap qcowfmt_queue_submit
    qcowfmt_queue_uses_uring qcowfmt_snapshot_list qcowfmt_snapshot_list_count
    qcowfmt_snapshot_list_free qcowfmt_snapshot_list_get qcowfmt_storage_free
    qcowfmt_storage_from_fd qcowfmt_storage_get_size
    qcowfmt_storage_new_custom qcowfmt_storage_new_memory
    qcowfmt_storage_open_file qcowfmt_storage_pread qcowfmt_version
    qcowfmt_vm_state_pread
'''.split())


def calls(path, function):
    return re.search(rf'\b{function}\(', path.read_text()) is not None


def main():
    exported = set(re.findall(r'\b(qcowfmt_\w+);',
                              Path(sys.argv[1]).read_text()))
    folder = Path(sys.argv[2])
    sources = [p for p in folder.glob('crash_*.c')]
    names = set(re.findall(r'^\t\{ "(\w+)",',
                           (folder / 'crash_ops.c').read_text(), re.M))
    wrong = []

    tables = [OPERATIONS, TESTS, LIKE, COPIES, READERS]
    known = [f for table in tables for f in table]
    for function in sorted(exported - set(known)):
        wrong.append(f'{function} is in no table: does it change an image?')
    for function in sorted(set(known) - exported):
        wrong.append(f'{function} is not exported')
    for function in sorted(f for f in set(known) if known.count(f) > 1):
        wrong.append(f'{function} is in two tables')

    for function, operations in OPERATIONS.items():
        if not any(calls(p, function) for p in sources):
            wrong.append(f'{function} is called by no operation')
        for name in operations:
            if name not in names:
                wrong.append(f'{function}: there is no operation {name}')
    for function, (test, _) in TESTS.items():
        if not calls(folder / test, function):
            wrong.append(f'{function} is not called by {test}')
    for function, other in LIKE.items():
        if other not in OPERATIONS and other not in TESTS:
            wrong.append(f'{function}: {other} is not tested')

    for line in wrong:
        print(line)
    print(f'figure: changing_functions {len(OPERATIONS) + len(TESTS)} '
          'functions')
    print(f'figure: crash_operations {len(names)} operations')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
