/* SPDX-License-Identifier: MIT */
/* snapshot_l1.c - the L1 tables of snapshots, one after the other */
#include <inttypes.h>

#include "snapshot_l1.h"

static int visit_one(struct qcf_meta *meta,
                     const struct qcf_snapshot_entry *entry,
                     qcf_snapshot_l1_visitor visit, void *opaque,
                     struct qcowfmt_error **errp)
{
	size_t len = (size_t)entry->l1_size * 8;
	QCF_AUTO_FREE struct qcf_be64 *entries = malloc(len + 1);
	struct qcf_snapshot_l1 l1 = {
		.offset = entry->l1_table_offset,
		.size = entry->l1_size,
		.entries = entries,
		.snapshot = entry,
	};
	int ret = 0;

	if (entries == NULL)
		return qcf_fail_oom(errp);
	if (len > 0)
		ret = qcf_meta_read_table(meta, l1.offset, entries, len, errp);
	return ret < 0 ? ret : visit(opaque, &l1, errp);
}

int qcf_snapshot_l1_each(struct qcf_meta *meta, qcf_snapshot_l1_visitor visit,
                         void *opaque, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *table = NULL;
	struct qcf_reader reader;
	size_t len = 0;
	int ret = 0;

	if (meta->header.snapshot_count == 0)
		return 0;
	ret = qcf_meta_read_snapshot_table(meta, &table, &len, errp);
	if (ret < 0)
		return qcf_wrap(errp, "reading the snapshot table", ret);
	reader = qcf_reader_init(table, len);
	for (uint32_t i = 0; ret == 0 && i < meta->header.snapshot_count; i++) {
		struct qcf_snapshot_entry entry = { 0 };

		ret = qcf_snapshot_entry_decode(&entry, &meta->geometry,
		                                &reader, errp);
		if (ret == 0)
			ret = visit_one(meta, &entry, visit, opaque, errp);
		qcf_snapshot_entry_fini(&entry);
		if (ret < 0)
			return qcf_wrapf(errp, ret, "snapshot %" PRIu32, i);
	}
	return 0;
}
