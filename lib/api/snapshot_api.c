/* SPDX-License-Identifier: MIT */
/* snapshot_api.c - exported functions on internal snapshots and VM state */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "options.h"
#include "snapshot_apply.h"
#include "snapshot_create.h"
#include "snapshot_delete.h"
#include "snapshot_list.h"
#include "vm_state.h"

int qcowfmt_snapshot_list(struct qcowfmt_image *image, uint32_t depth,
                          struct qcowfmt_snapshot_list **list,
                          struct qcowfmt_error **errp)
{
	return qcf_snapshot_list(image, depth, list, errp);
}

uint32_t qcowfmt_snapshot_list_count(const struct qcowfmt_snapshot_list *list)
{
	return list->table.count;
}

int qcowfmt_snapshot_list_get(const struct qcowfmt_snapshot_list *list,
                              uint32_t index, struct qcowfmt_snapshot *snapshot,
                              struct qcowfmt_error **errp)
{
	struct qcowfmt_snapshot ours;

	if (index >= list->table.count)
		return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
		                "there are %" PRIu32
		                " snapshots, none with index %" PRIu32,
		                list->table.count, index);
	qcf_snapshot_list_get(list, index, &ours);
	return qcf_result_copy(snapshot, &ours, sizeof(ours),
	                       "qcowfmt_snapshot", errp);
}

void qcowfmt_snapshot_list_free(struct qcowfmt_snapshot_list *list)
{
	if (list != NULL)
		qcf_snapshot_table_fini(&list->table);
	free(list);
}

int qcowfmt_snapshot_create(struct qcowfmt_image *image,
                            const struct qcowfmt_snapshot_options *options,
                            struct qcowfmt_error **errp)
{
	struct qcowfmt_snapshot_options ours;
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_snapshot_options", errp);

	return ret < 0 ? ret : qcf_snapshot_create(image, &ours, errp);
}

int qcowfmt_snapshot_apply(struct qcowfmt_image *image, const char *id,
                           const char *name, struct qcowfmt_error **errp)
{
	return qcf_snapshot_apply(image, id, name, errp);
}

int qcowfmt_snapshot_delete(struct qcowfmt_image *image, const char *id,
                            const char *name, struct qcowfmt_error **errp)
{
	return qcf_snapshot_delete(image, id, name, errp);
}

int qcowfmt_vm_state_pread(struct qcowfmt_image *image, void *buffer,
                           size_t len, uint64_t offset,
                           struct qcowfmt_error **errp)
{
	return qcf_vm_state_read(image, buffer, len, offset, errp);
}

int qcowfmt_vm_state_pwrite(struct qcowfmt_image *image, const void *buffer,
                            size_t len, uint64_t offset,
                            struct qcowfmt_error **errp)
{
	return qcf_vm_state_write(image, buffer, len, offset, errp);
}
