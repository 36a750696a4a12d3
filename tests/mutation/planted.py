# SPDX-License-Identifier: MIT
"""One mistake of each class that tests are there to find.

Each is an edit of one file of the library: the old text, which must be there
exactly once, and the new.  The named test must pass without the edit and fail
with it.  Where a sanitizer is named, the file is compiled and the program linked
with it: only what the file does is looked at, which is what was changed.
"""

import dataclasses


@dataclasses.dataclass
class Planted:
    """A mistake, and who finds it."""
    kind: str
    path: str
    old: str
    new: str
    test: str
    sanitizer: str = ""
    env: dict = dataclasses.field(default_factory=dict)


def crash(*operations):
    """All crash states of a sequence of operations, which are a few."""
    return {"QCF_SEQUENCE": " ".join(operations)}


PLANTED = [
    Planted("ordering edge dropped", "lib/meta/writeback.c",
            """	int ret = write_counts(meta, batch, errp);

	if (ret == 0)
		ret = write_blocks(meta, batch, errp);
	if (ret == 0)
		ret = write_mappings(meta, batch, errp);
""", """	int ret = write_mappings(meta, batch, errp);

	if (ret == 0)
		ret = write_blocks(meta, batch, errp);
	if (ret == 0)
		ret = write_counts(meta, batch, errp);
""", "crash_states_v3_512", env=crash("write_many", "flush")),
    Planted("flush dropped", "lib/meta/writeback.c",
            """		return qcf_wrap(errp, "writing refcount blocks", ret);
	return qcf_meta_flush(meta, errp);
""", """		return qcf_wrap(errp, "writing refcount blocks", ret);
	return 0;
""", "crash_states_v3_512", env=crash("write_many", "flush")),
    Planted("refcount off by one", "lib/meta/refcount.c",
            "increase ? value + 1 : value - 1);",
            "increase ? value + 1 : value - (value > 1));",
            "test_discard_gives_space_back"),
    Planted("double allocation", "lib/meta/alloc.c",
            """	int ret = find_run(meta, max, &first, &run, errp);

	if (ret == 0)
		ret = qcf_refcount_increase(meta, first, run, &done, errp);
""", """	int ret = find_run(meta, max, &first, &run, errp);

	if (ret == 0)
		ret = qcf_refcount_increase(meta, first, run, &done, errp);
	if (ret == 0 && run == 1)
		(void)qcf_refcount_decrease(meta, first, run, &done, NULL);
""", "crash_states_v3_512",
            env=crash("write_new", "write_second_l2", "flush")),
    Planted("wrong copy on write", "lib/io/cow.c",
            "prepare_part(image, range->end, range->span_end,",
            "prepare_part(image, range->end - 1, range->span_end - 1,",
            "crash_states_v3_4096_overlay", env=crash("write_part", "flush")),
    Planted("wrong IV on copy on write", "lib/io/encrypted.c",
            "uint64_t guest_start = p->guest_offset - cow->head.len;",
            "uint64_t guest_start = p->guest_offset;",
            "crash_states_v2_4096_aes_overlay",
            env=crash("write_part", "flush")),
    Planted("stale cache after discard", "lib/io/compressed.c",
            "uint64_t reclaims = atomic_load(&layer->meta->reclaims);",
            "uint64_t reclaims = 0;",
            "test_reused_space_shows_new_data"),
    Planted("lock dropped", "lib/meta/quarantine.c",
            """	QCF_GUARD(&q->lock);
	struct qcf_freed_batch *taken = NULL;
""", """	struct qcf_freed_batch *taken = NULL;
""", "disjoint_writers_lose_nothing", sanitizer="thread"),
    Planted("memory leak", "lib/io/cow.c",
            "	free(cow->tail.bytes);\n", "",
            "crash_states_v3_4096_overlay", sanitizer="leak",
            env=crash("write_part", "flush")),
    Planted("read out of bounds", "lib/format/probe.c",
            "memcpy(padded, bytes, QCF_MIN(len, sizeof(padded)));",
            "memcpy(padded, bytes, sizeof(padded));",
            "test_probe_table", sanitizer="address"),
    Planted("header field not checked", "lib/format/header_check.c",
            "cluster_bits <= QCF_MAX_CLUSTER_BITS)",
            "cluster_bits <= 62)",
            "test_header_rejects_bad_fields"),
    Planted("guard against a loop removed", "lib/io/chain.c",
            "	int ret = check_loop(image, storage, errp);\n",
            "	int ret = 0;\n",
            "test_backing_chain_limits"),
    Planted("error swallowed", "lib/io/write.c",
            "ret = fill_clusters(request, p, to, &range, errp);",
            "(void)fill_clusters(request, p, to, &range, NULL);",
            "storage_faults_v3_512", env={"QCF_THIN": "16"}),
    Planted("short transfer taken for a whole one", "lib/storage/fd_io.c",
            "while (ret > 0 && done < len) {",
            "while (false && ret > 0 && done < len) {",
            "test_transfers_are_complete"),
    Planted("interrupted call not repeated", "lib/storage/fd_io.c",
            """, (off_t)offset);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : ret;
""",
            """, (off_t)offset);
	} while (false);
	return ret < 0 ? -errno : ret;
""",
            "test_transfers_are_complete"),
    Planted("reference policy bypassed", "lib/io/reference.c",
            "	if (w->name[0] == '/' || is_file_protocol(w->name))\n",
            "	if (false)\n",
            "test_references_stay_beneath"),
    Planted("control characters not escaped", "lib/base/text.c",
            "{ 0, 0x1f },", "{ 0, 0x1a },",
            "test_text_is_made_plain"),
    Planted("offset of an L2 table not checked", "lib/meta/l1_table.c",
            "	if (!qcf_meta_is_cluster_offset(meta, offset))\n",
            "	if (offset == 1)\n",
            "test_hostile_tables"),
    Planted("memory for as much as a field says", "lib/meta/meta_tables.c",
            """	if (ret == 0 && size > 0)
		ret = check_in_file(meta, QCF_CHECK_TABLE_TRUNCATED, offset,
		                    size, errp);
""", "",
            "test_every_corruption_is_found"),
    Planted("flag of a shared cluster left by a repair", "lib/ops/repair.c",
            "	return c->meta == NULL ? 0 : "
            "write_l2_word(c->meta, at, fixed, errp);\n",
            "	(void)fixed;\n	(void)at;\n	(void)errp;\n	return 0;\n",
            "test_every_corruption_is_found"),
    Planted("counts that do not fit written to", "lib/ops/check_image.c",
            "	if (overflow)\n", "	if (false)\n",
            "test_counts_that_do_not_fit"),
    Planted("tables that repeat without end", "lib/meta/l2_bounds.c",
            "	if (repeats > QCF_MAX_REPEATED / per_table)\n",
            "	if (false)\n",
            "test_claims_without_end_are_cut"),
    Planted("tables in holes all read", "lib/meta/l2_bounds.c",
            "	    QCF_ASK_FOR_HOLES_FROM)\n",
            "	    UINT64_MAX)\n",
            "test_claims_without_end_are_cut"),
    Planted("findings told without end", "lib/ops/check_image.c",
            "	if (c->callback == NULL || c->told > MAX_TOLD)\n",
            "	if (c->callback == NULL)\n",
            "test_claims_without_end_are_cut"),
    Planted("queue takes a short transfer for all", "lib/io/queue_kernel.c",
            "		if (result.value == (int32_t)r->expected) {\n",
            "		if (result.value >= 0) {\n",
            "test_the_kernel_may_do_less"),
    Planted("full queue does not say so", "lib/io/queue.c",
            "qcf_fail(errp, EAGAIN, QCOWFMT_ERR_LIMIT,",
            "qcf_fail(errp, EBUSY, QCOWFMT_ERR_LIMIT,",
            "test_queue_edges"),
]
