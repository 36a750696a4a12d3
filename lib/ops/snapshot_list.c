/* SPDX-License-Identifier: MIT */
/* snapshot_list.c - copies of snapshot tables for callers */
#include "snapshot_list.h"

/* A raw image and version 1 have no table. */
static int load(struct qcf_layer *layer, struct qcf_snapshot_table *table,
                struct qcowfmt_error **errp)
{
	int ret;

	if (layer->meta == NULL)
		return 0;
	ret = qcf_snapshot_table_load(layer->meta, table, errp);
	return qcf_wrap(errp, layer->storage->name, ret);
}

int qcf_snapshot_list(struct qcowfmt_image *image, uint32_t depth,
                      struct qcowfmt_snapshot_list **list,
                      struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcowfmt_snapshot_list *copy = NULL;
	struct qcf_request request;
	struct qcf_layer *layer;
	int ret = qcf_image_layer(image, depth, &layer, errp);

	if (ret < 0)
		return ret;
	copy = calloc(1, sizeof(*copy));
	if (copy == NULL)
		return qcf_fail_oom(errp);
	qcf_request_begin_read(&request, image);
	ret = load(layer, &copy->table, errp);
	qcf_request_end(&request);
	if (ret == 0)
		*list = qcf_take(&copy);
	return ret;
}

void qcf_snapshot_list_get(const struct qcowfmt_snapshot_list *list,
                           uint32_t index, struct qcowfmt_snapshot *snapshot)
{
	const struct qcf_snapshot_entry *e = &list->table.entries[index];

	*snapshot = (struct qcowfmt_snapshot){
		.struct_size = sizeof(*snapshot),
		.id = e->id,
		.name = e->name,
		.virtual_size = e->disk_size,
		.vm_state_size = e->vm_state_size,
		.vm_clock_nsec = e->vm_clock_nsec,
		.icount = e->icount,
		.date_sec = e->date_sec,
		.date_nsec = e->date_nsec,
		.extra = e->unknown_extra,
		.extra_len = e->unknown_extra_len,
	};
}
