/* SPDX-License-Identifier: MIT */
/* check_refs.c - references to host clusters, and tables that hold them */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "check_refs.h"
#include "checked.h"

/* Count what is in the file; *end is the first cluster behind the range. */
static int count_in_file(struct qcf_checker *c, uint64_t offset, uint64_t len,
                         uint32_t n, uint64_t *end, struct qcowfmt_error **errp)
{
	const struct qcf_geometry *g = c->geometry;
	uint64_t first = qcf_host_cluster(g, offset);
	uint64_t last;

	*end = first;
	if (len == 0)
		return 0;
	last = offset + QCF_MIN(len, UINT64_MAX - offset) - 1;
	*end = qcf_host_cluster(g, last) + 1;
	if (*end > c->file_clusters)
		qcf_check_report(c, QCF_CHECK_BEYOND_END, offset, n,
		                 "ERROR: counting reference for region "
		                 "exceeding the end of the file by one cluster "
		                 "or more: offset 0x%" PRIx64
		                 " size 0x%" PRIx64,
		                 offset, len);
	last = QCF_MIN(*end, c->file_clusters);
	last = QCF_MAX(last, first);
	return qcf_counts_add(&c->counts, first, last - first, n, errp);
}

uint64_t qcf_check_read_ahead(const struct qcf_checker *c)
{
	uint64_t max = UINT64_C(1) << 20;
	uint64_t clusters =
		QCF_MIN(c->file_clusters, max >> c->geometry->cluster_bits);

	return QCF_MAX(clusters, UINT64_C(1)) << c->geometry->cluster_bits;
}

int qcf_check_count_range(struct qcf_checker *c, uint64_t offset, uint64_t len,
                          uint32_t n, struct qcowfmt_error **errp)
{
	uint64_t first = qcf_host_cluster(c->geometry, offset);
	uint64_t end = 0;
	int ret = count_in_file(c, offset, len, n, &end, errp);

	first = QCF_MAX(first, c->file_clusters);
	return ret < 0 || first >= end ? ret
	                               : qcf_counts_add(&c->dangling, first,
	                                                end - first, 1, errp);
}

int qcf_check_count_table(struct qcf_checker *c, uint64_t offset, uint64_t len,
                          struct qcowfmt_error **errp)
{
	uint64_t end = 0;

	return count_in_file(c, offset, len, 1, &end, errp);
}

bool qcf_check_is_offset(const struct qcf_checker *c, uint64_t offset)
{
	return offset != 0 && offset < QCF_HOST_OFFSET_LIMIT &&
	       qcf_is_aligned(offset, c->geometry->host_alignment);
}

bool qcf_check_in_file(const struct qcf_checker *c, uint64_t offset)
{
	return qcf_host_cluster(c->geometry, offset) < c->file_clusters;
}

int qcf_check_read(struct qcf_checker *c, const char *what, uint64_t offset,
                   void *buffer, uint64_t len, bool *ok,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_error *failure = NULL;
	int64_t got = qcf_storage_pread_padded(c->storage, buffer, len, offset,
	                                       &failure);

	*ok = got >= 0;
	if (got == -ENOMEM) {
		qcf_error_move(errp, failure);
		return (int)got;
	}
	if (got < 0) {
		qcf_finding(c, QCF_CHECK_NONE, offset,
		            "ERROR: cannot read the %s at 0x%" PRIx64 ": %s",
		            what, offset, qcowfmt_error_message(failure));
		qcowfmt_error_free(failure);
		c->result->check_errors++;
	}
	return 0;
}

int qcf_check_read_table(struct qcf_checker *c, const char *what,
                         uint64_t offset, uint64_t len, struct qcf_be64 **table,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct qcf_be64 *bytes = malloc(len);
	bool ok = false;
	int ret;

	*table = NULL;
	if (bytes == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_check_read(c, what, offset, bytes, len, &ok, errp);
	if (ret == 0 && ok)
		*table = qcf_take(&bytes);
	return ret;
}
