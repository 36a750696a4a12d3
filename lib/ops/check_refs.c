/* SPDX-License-Identifier: MIT */
/* check_refs.c - references to host clusters, and tables that hold them */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_refs.h"

int qcf_check_count_range(struct qcf_checker *c, uint64_t offset, uint64_t len,
                          uint32_t n, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = &c->meta->geometry;
	uint64_t first = qcf_host_cluster(g, offset);
	uint64_t last;

	if (len == 0)
		return 0;
	len = QCF_MIN(len, UINT64_MAX - offset);
	last = qcf_host_cluster(g, offset + len - 1);
	for (uint64_t cluster = first; cluster <= last; cluster++) {
		int ret;

		if (cluster >= c->file_clusters) {
			qcf_finding(c, QCF_CHECK_BEYOND_END, offset,
			            "ERROR: reference to offset 0x%" PRIx64
			            " is beyond the end of the image file",
			            qcf_host_offset(g, cluster));
			c->result->corruptions++;
			return 0;
		}
		ret = qcf_counts_add(&c->counts, cluster, n, errp);
		if (ret < 0)
			return ret;
	}
	return 0;
}

bool qcf_check_offset(struct qcf_checker *c, enum qcf_check id,
                      const char *what, uint64_t offset)
{
	if (qcf_meta_is_cluster_offset(c->meta, offset))
		return true;
	qcf_finding(c, id, offset,
	            "ERROR %s offset=0x%" PRIx64
	            " is not a multiple of the cluster size or too large",
	            what, offset);
	c->result->corruptions++;
	return false;
}

void qcf_check_report_reserved(struct qcf_checker *c, enum qcf_check id,
                               const char *what, uint64_t at, uint64_t reserved)
{
	qcf_finding(c, id, at,
	            "ERROR %s entry at 0x%" PRIx64
	            " has reserved bits set: 0x%" PRIx64,
	            what, at, reserved);
	c->result->corruptions++;
}

int qcf_check_read_table(struct qcf_checker *c, const char *what,
                         uint64_t offset, uint64_t size,
                         struct qcf_be64 **table, struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	QCF_AUTO_FREE struct qcf_be64 *bytes = malloc(size);
	int ret;

	*table = NULL;
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_meta_read_table(c->meta, offset, bytes, size, &failure);
	if (ret == -ENOMEM) {
		qcf_error_move(errp, failure);
		return ret;
	}
	if (ret < 0) {
		qcf_finding(c, QCF_CHECK_NONE, offset,
		            "ERROR: cannot read the %s table at 0x%" PRIx64
		            ": %s",
		            what, offset, qcowfmt_error_message(failure));
		qcowfmt_error_free(failure);
		c->result->check_errors++;
		return 0;
	}
	*table = qcf_take(&bytes);
	return 0;
}
