/* SPDX-License-Identifier: MIT */
/* amend_snapshots.c - what the versions demand of snapshots */
#include <errno.h>

#include "amend_snapshots.h"
#include "writeback.h"

int qcf_amend_check_snapshots(struct qcf_meta *meta,
                              struct qcowfmt_error **errp)
{
	struct qcf_snapshot_table table;
	bool fits = true;
	int ret = qcf_snapshot_table_load(meta, &table, errp);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < table.count; i++)
		fits &= table.entries[i].disk_size ==
		                meta->header.virtual_size &&
		        table.entries[i].vm_state_size <= UINT32_MAX;
	qcf_snapshot_table_fini(&table);
	return fits ? 0
	            : qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                       "Internal snapshots prevent downgrade of image");
}

int qcf_amend_complete_snapshots(struct qcf_meta *meta,
                                 struct qcf_snapshot_table *table,
                                 struct qcf_area *area,
                                 struct qcowfmt_error **errp)
{
	bool complete = true;
	int ret = qcf_snapshot_table_load(meta, table, errp);

	if (ret < 0)
		return ret;
	for (uint32_t i = 0; i < table->count; i++)
		complete &=
			qcf_snapshot_entry_has_disk_size(&table->entries[i]);
	if (complete)
		return 0;
	ret = qcf_snapshot_table_write(meta, table, 0, area, errp);
	return ret < 0 ? ret : qcf_writeback_drain(meta, errp);
}
