/* SPDX-License-Identifier: MIT */
/*
 * header_rewrite.c - replacing the header, its extensions and the backing name
 *
 * Storage writes single sectors whole, and the header is often longer than one.
 * So what is behind the first sector, the tail, is written to bytes of the first
 * cluster that the present header does not use; that is made stable; then the
 * first sector, which leads to either the old tail or the new one, is replaced.
 *
 * Where the first sector says all, or the tail stays as it is, that is one write.
 * Where the cluster has no room for a second tail (clusters of 1 to 4 KiB with
 * long names), and in version 1, the old tail is overwritten, and a power cut in
 * between can tear it.
 */
#include <errno.h>

#include "checked.h"
#include "header_rewrite.h"
#include "header_switch.h"

/* The first cluster, as it is and as it will be. */
struct rewriting {
	struct qcf_meta *meta;
	const struct qcf_header *header;
	size_t size;     /* of the cluster, or of what precedes the L1 table */
	uint8_t *before; /* owned */
	uint8_t *after;  /* owned */
	struct qcf_span tail; /* to be written in front of the first sector */
};

static int write_tail(struct rewriting *r, struct qcowfmt_error **errp)
{
	struct qcf_span span = r->tail;
	int ret;

	if (span.first >= span.end)
		return 0;
	ret = qcf_storage_pwrite(r->meta->storage, r->after + span.first,
	                         span.end - span.first, span.first, errp);
	return ret < 0 ? ret : qcf_meta_flush(r->meta, errp);
}

/* A place for the new tail that the present header does not use. */
static int place_tail(struct rewriting *r, size_t tail, struct qcf_span used,
                      bool *placed)
{
	struct qcf_span span;
	int ret = qcf_header_encode_at(r->header, r->after, r->size, tail,
	                               &span, NULL);

	*placed =
		ret == 0 && (span.end <= used.first || span.first >= used.end);
	if (*placed)
		r->tail = span;
	return ret == -ENOSPC ? 0 : ret;
}

static int plan_tail(struct rewriting *r, struct qcowfmt_error **errp)
{
	struct qcf_span used =
		qcf_header_find_tail(&r->meta->header, r->before, r->size);
	size_t behind = (size_t)qcf_align_up(used.end, 8);
	bool placed = false;
	int ret = place_tail(r, QCF_SECTOR_SIZE, used, &placed);

	if (ret == 0 && !placed)
		ret = place_tail(r, behind, used, &placed);
	if (ret < 0)
		return qcf_fail_oom(errp);
	if (placed)
		return 0;
	r->tail = (struct qcf_span){ QCF_SECTOR_SIZE, r->size };
	return qcf_header_encode(r->header, r->after, r->size, errp);
}

/* Whether only the first sector has to change. */
static bool tail_stays(const struct rewriting *r)
{
	return r->size <= QCF_SECTOR_SIZE ||
	       memcmp(r->before + QCF_SECTOR_SIZE, r->after + QCF_SECTOR_SIZE,
	              r->size - QCF_SECTOR_SIZE) == 0;
}

static int plan(struct rewriting *r, struct qcowfmt_error **errp)
{
	int ret = qcf_header_encode(r->header, r->after, r->size, errp);

	if (ret < 0 || tail_stays(r))
		return ret;
	if (r->header->version > 1)
		return plan_tail(r, errp);
	r->tail = (struct qcf_span){ QCF_SECTOR_SIZE, r->size };
	return 0;
}

static int load(struct rewriting *r, struct qcowfmt_error **errp)
{
	int64_t got;

	r->before = calloc(1, r->size);
	r->after = calloc(1, r->size);
	if (r->before == NULL || r->after == NULL)
		return qcf_fail_oom(errp);
	got = qcf_storage_pread_padded(r->meta->storage, r->before, r->size, 0,
	                               errp);
	return got < 0 ? (int)got : 0;
}

static int rewrite(struct rewriting *r, struct qcowfmt_error **errp)
{
	int ret = load(r, errp);

	if (ret == 0)
		ret = plan(r, errp);
	if (ret == 0)
		ret = write_tail(r, errp);
	if (ret < 0)
		return ret;
	return qcf_header_replace(r->meta, 0, r->after,
	                          QCF_MIN(r->size, QCF_SECTOR_SIZE), errp);
}

/* What lies in front of the L1 table belongs to the header of version 1. */
static size_t header_room(const struct qcf_meta *meta)
{
	if (meta->header.version > 1)
		return meta->geometry.cluster_size;
	return (size_t)QCF_MIN(meta->header.l1_table_offset,
	                       QCF_HEADER_AREA_V1);
}

/* Callers of qcowfmt_get_info() may still hold a text that has not changed. */
static void keep_text(char **kept, char **text)
{
	char *old = *kept;

	if (old == NULL || *text == NULL || strcmp(old, *text) != 0)
		return;
	*kept = *text;
	*text = old;
}

/* *h becomes the header in memory, and gets the one that was. */
static void adopt(struct qcf_meta *meta, struct qcf_header *h)
{
	struct qcf_header old = meta->header;

	keep_text(&old.backing_name, &h->backing_name);
	keep_text(&old.backing_format, &h->backing_format);
	keep_text(&old.data_file_name, &h->data_file_name);
	meta->header = *h;
	atomic_store(&meta->incompatible, h->incompatible_features);
	*h = old;
}

int qcf_header_rewrite(struct qcf_meta *meta, struct qcf_header *h,
                       struct qcowfmt_error **errp)
{
	const uint64_t live = QCF_INCOMPAT_DIRTY | QCF_INCOMPAT_CORRUPT;
	struct rewriting r = {
		.meta = meta,
		.header = h,
		.size = header_room(meta),
	};
	int ret;

	if (h->version >= 3)
		h->incompatible_features =
			(h->incompatible_features & ~live) |
			(atomic_load(&meta->incompatible) & live);
	ret = rewrite(&r, errp);
	free(r.before);
	free(r.after);
	if (ret < 0)
		return qcf_wrap(errp, "rewriting the header", ret);
	adopt(meta, h);
	return 0;
}
