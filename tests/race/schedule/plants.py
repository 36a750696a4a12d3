# SPDX-License-Identifier: MIT
"""Mistakes in the handling of threads: what is changed where, and which scenario
has to notice.  The old text must occur exactly once."""

PLANTS = [
    # name, file, old, new, scenario
    ('claims are ignored', 'lib/io/inflight.c',
     'while (is_claimed(inflight, start, end)) {',
     'while (is_claimed(inflight, start, end) && end < start) {',
     'writes-in-one-cluster'),
    ('a released claim wakes nobody', 'lib/io/inflight.c',
     'if (inflight->waiters > 0)', 'if (inflight->waiters > 1000)',
     'writes-in-one-cluster'),
    ('freed clusters are reused under readers', 'lib/meta/alloc.c',
     'qcf_gate_oldest(meta->gate));', 'UINT64_MAX);',
     'reuse-under-readers'),
    ('the epoch stands still', 'lib/meta/writeback.c',
     'qcf_gate_advance(meta->gate));', '0 * qcf_gate_oldest(meta->gate));',
     'reuse-under-readers'),
    ('a flush joins a commit that began before', 'lib/meta/writeback.c',
     'if (c->last_complete > begun_before)',
     'if (c->last_complete >= begun_before && begun_before > 0)',
     'flush-joins-flush'),
    ('commits run side by side', 'lib/meta/writeback.c',
     'uint64_t begun_before = atomic_load(&c->started);\n'
     '\tQCF_GUARD(&c->lock);',
     'uint64_t begun_before = atomic_load(&c->started);',
     'flush-and-writes'),
    ('counts are copied before mappings', 'lib/meta/writeback.c',
     'int ret = collect_mappings(meta, &batch, errp);\n\n'
     '\tif (ret == 0 && batch.with_counts)\n'
     '\t\tret = collect_counts(meta, &batch, errp);',
     'int ret = batch.with_counts ? collect_counts(meta, &batch, errp) : 0;\n\n'
     '\tif (ret == 0)\n\t\tret = collect_mappings(meta, &batch, errp);',
     'flush-and-writes'),
    ('clusters are reserved without a lock', 'lib/meta/alloc.c',
     'QCF_GUARD(&meta->refcounts.lock);\n\n\t*reservation',
     '*reservation', 'flush-and-writes'),
    ('a closed gate lets requests in', 'lib/meta/gate.c',
     'if (slot != NULL && atomic_load(&gate->closed)) {',
     'if (slot != NULL && gate == NULL) {', 'writers-meet-a-closing-gate'),
    ('who leaves the gate tells nobody', 'lib/meta/gate.c',
     'if (atomic_load(&gate->waiters) == 0)\n\t\treturn;',
     'if (atomic_load(&gate->waiters) < 1000)\n\t\treturn;',
     'snapshot-and-writes'),
    ('a request backs out of the gate in silence', 'lib/meta/gate.c',
     '\tqcf_cond_broadcast(&gate->cond);\n\twhile ((slot',
     '\twhile ((slot', 'check-while-reading'),
    ('a slice is used while it is loaded', 'lib/meta/block_cache.c',
     '!= NULL &&\n\t       block->loading)',
     '!= NULL &&\n\t       block->loading && block == NULL)',
     'misses-and-eviction'),
    ('a slice is read while it is replaced', 'lib/meta/map.c',
     'return qcf_block_unchanged(slice->block, seq);', 'return seq != 1;',
     'misses-and-eviction'),
    ('two images are entered in the order of the call', 'lib/io/image.c',
     'if (qcf_image_comes_first(first_image, second_image))',
     'if (first_image != second_image)', 'two-images-in-either-order'),
    ('gates are closed in the order of addresses', 'lib/ops/bitmap_change.c',
     'return qcf_image_comes_first(x, y) ? -1 : qcf_image_comes_first(y, x);',
     'return x < y ? -1 : x > y;', 'bitmaps-of-each-other'),
    ('a conversion writes while it is inside its source',
     'lib/ops/convert_target.c',
     'ret = write_run(&request, t, slot, first, end, errp);',
     'struct qcf_request also;\n'
     '\t\tqcf_request_begin_read(&also, t->fill->source->images[0].image);\n'
     '\t\tret = write_run(&request, t, slot, first, end, errp);\n'
     '\t\tqcf_request_end(&also);', 'converted-into-each-other'),
    ('sizes are not looked at again', 'lib/ops/commit.c',
     'if (size <= room)', 'if (size <= room || room > 0)',
     'commit-into-what-shrinks'),
    ('the dirty bit is looked at too early', 'lib/ops/snapshot_change.c',
     '\tif (ret == 0)\n\t\tret = qcf_exclusive_begin(image, errp);',
     '\tif (ret == 0)\n\t\tret = check_condition(layer, errp);\n'
     '\tif (ret == 0)\n\t\tret = qcf_exclusive_begin(image, errp);',
     'snapshot-deleted-and-applied'),
]
