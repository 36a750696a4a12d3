/* SPDX-License-Identifier: MIT */
/*
 * amend_zeros.c - what version 2 cannot say about clusters
 *
 * A zero cluster without host cluster becomes unallocated if there is no
 * backing file.  Otherwise it gets a host cluster with zeros in it; one that it
 * has is kept if nothing but the entry refers to it.  Each entry changes in one
 * write and means the same before and after, so nothing more is needed for
 * crash safety than the order in which writeback stores things: zeros and
 * counts before entries.
 *
 * Tables that several L1 tables share are changed where they are: that is right
 * for all of them.  What such a table refers to counts once for each of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc.h"
#include "amend_zeros.h"
#include "check_id.h"
#include "checked.h"
#include "image_flags.h"
#include "l2_list.h"
#include "meta_protect.h"
#include "refcount.h"
#include "writeback.h"

/* References that have gone, but may still be on storage. */
#define MAX_DROPS 1024u

struct drop {
	uint64_t cluster;
	uint32_t references;
};

struct expanding {
	struct qcf_amending *amending;
	struct qcf_meta *meta;
	uint8_t *zeros; /* one cluster, of an encrypted image; owned */
	struct drop drops[MAX_DROPS];
	size_t drop_count;
};

/* ----------------------------------------------------------------- dropping */

static int lower_count(struct qcf_meta *meta, const struct drop *drop,
                       struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	uint64_t count = 0;
	int ret = qcf_refcount_read(meta, drop->cluster, &count, errp);

	if (ret < 0)
		return ret;
	if (count < drop->references)
		return qcf_meta_corrupt(
			meta, QCF_CHECK_REFCOUNT_UNDERFLOW,
			qcf_host_offset(&meta->geometry, drop->cluster), errp);
	meta->refcounts.first_free =
		QCF_MIN(meta->refcounts.first_free, drop->cluster);
	return qcf_refcount_write(meta, drop->cluster, count - drop->references,
	                          errp);
}

/* Make all changes stable, then lower the counts of what they dropped. */
static int settle(struct expanding *x, struct qcowfmt_error **errp)
{
	int ret = qcf_writeback_drain(x->meta, errp);

	for (size_t i = 0; ret == 0 && i < x->drop_count; i++)
		ret = lower_count(x->meta, &x->drops[i], errp);
	x->drop_count = 0;
	return ret;
}

/* ---------------------------------------------------------------- expanding */

static uint64_t guest_offset_of(const struct qcf_meta *meta,
                                const struct qcf_l2_name *table, uint64_t index)
{
	const struct qcf_geometry *g = &meta->geometry;

	return ((uint64_t)table->l1_index << g->l1_shift) +
	       (index << g->cluster_bits);
}

/* Make a host cluster hold what the guest reads as zeros. */
static int write_zeros(struct expanding *x, const struct qcf_l2_name *table,
                       uint64_t index, uint64_t host_offset, bool fresh,
                       struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = x->meta;
	uint64_t size = meta->geometry.cluster_size;
	int ret;

	if (meta->crypto == NULL)
		return fresh ? 0
		             : qcf_storage_zero(meta->storage, host_offset,
		                                size, true, errp);
	/* What encrypts to zeros at one place does not at another. */
	if (table->misplaced)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "an L2 table at 0x%" PRIx64
		                " maps different parts of the disk",
		                table->l2_offset);
	if (x->zeros == NULL)
		x->zeros = malloc(size);
	if (x->zeros == NULL)
		return qcf_fail_oom(errp);
	memset(x->zeros, 0, size);
	ret = qcf_crypto_encrypt(meta->crypto, x->zeros, x->zeros, size,
	                         guest_offset_of(meta, table, index),
	                         host_offset, errp);
	return ret < 0 ? ret
	               : qcf_storage_pwrite(meta->storage, x->zeros, size,
	                                    host_offset, errp);
}

static int set_count(struct qcf_meta *meta, uint64_t cluster, uint64_t count,
                     struct qcowfmt_error **errp)
{
	QCF_GUARD(&meta->refcounts.lock);
	return qcf_refcount_write(meta, cluster, count, errp);
}

/* A cluster of zeros that the table refers to. */
static int new_zeros(struct expanding *x, const struct qcf_l2_name *table,
                     uint64_t index, uint64_t *host_offset,
                     struct qcowfmt_error **errp)
{
	struct qcf_reservation to;
	int ret = qcf_alloc_reserve(x->meta, 1, &to, errp);

	if (ret < 0)
		return ret;
	*host_offset = qcf_host_offset(&x->meta->geometry, to.host_cluster);
	ret = write_zeros(x, table, index, *host_offset, to.fresh, errp);
	if (ret == 0 && table->references > 1)
		ret = set_count(x->meta, to.host_cluster, table->references,
		                errp);
	if (ret < 0)
		qcf_alloc_abandon(x->meta, &to);
	return ret;
}

/* Whether nothing but the table refers to a cluster. */
static int is_own_cluster(struct expanding *x, const struct qcf_l2_name *table,
                          uint64_t host_offset, bool *own,
                          struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = x->meta;
	uint64_t count = 0;
	int ret;

	if (!qcf_meta_is_cluster_offset(meta, host_offset))
		return qcf_meta_corrupt(meta, QCF_CHECK_DATA_OFFSET,
		                        host_offset, errp);
	if (qcf_meta_is_metadata(meta, host_offset,
	                         meta->geometry.cluster_size))
		return qcf_meta_corrupt(meta, QCF_CHECK_OVERLAP, host_offset,
		                        errp);
	QCF_GUARD(&meta->refcounts.lock);
	ret = qcf_refcount_read(meta,
	                        qcf_host_cluster(&meta->geometry, host_offset),
	                        &count, errp);
	*own = count == table->references;
	return ret;
}

static int note_drop(struct expanding *x, const struct qcf_l2_name *table,
                     uint64_t host_offset)
{
	x->drops[x->drop_count++] = (struct drop){
		.cluster = qcf_host_cluster(&x->meta->geometry, host_offset),
		.references = table->references,
	};
	return 0;
}

/* What a zero cluster is to be from now on. */
static int expand(struct expanding *x, const struct qcf_l2_name *table,
                  uint64_t index, struct qcf_mapping *m,
                  struct qcowfmt_error **errp)
{
	uint64_t old = m->kind == QCF_ZERO_ALLOCATED ? m->host_offset : 0;
	uint64_t host_offset = old;
	bool own = false;
	int ret = 0;

	if (old != 0)
		ret = is_own_cluster(x, table, old, &own, errp);
	if (ret == 0 && own)
		ret = write_zeros(x, table, index, old, false, errp);
	else if (ret == 0 && x->meta->has_backing)
		ret = new_zeros(x, table, index, &host_offset, errp);
	else if (ret == 0)
		host_offset = 0;
	if (ret < 0)
		return ret;
	if (old != 0 && !own)
		ret = note_drop(x, table, old);
	*m = (struct qcf_mapping){
		.kind = host_offset == 0 ? QCF_UNALLOCATED : QCF_DATA,
		.host_offset = host_offset,
		.copied = host_offset != 0 && table->active &&
		          table->references == 1,
	};
	return ret;
}

static int expand_slice(void *opaque, const struct qcf_l2_name *table,
                        struct qcf_block *slice, uint64_t first,
                        struct qcowfmt_error **errp)
{
	struct expanding *x = opaque;
	const struct qcf_geometry *g = &x->meta->geometry;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < g->slice_entry_count; i++) {
		struct qcf_mapping m = qcf_l2_entry_decode(
			g, qcf_l2_slice_get(x->meta, slice, i));

		if (m.kind != QCF_ZERO_PLAIN && m.kind != QCF_ZERO_ALLOCATED)
			continue;
		if (x->drop_count == MAX_DROPS)
			ret = settle(x, errp);
		if (ret == 0)
			ret = expand(x, table, first + i, &m, errp);
		if (ret == 0)
			qcf_l2_slice_set(x->meta, slice, i,
			                 qcf_l2_entry_encode(g, m));
	}
	if (ret == 0 && qcf_writeback_is_due(x->meta))
		ret = settle(x, errp);
	return ret;
}

/* What is zeros because nobody wrote there has to be inside the file. */
static int cover_clusters(struct qcf_meta *meta, struct qcowfmt_error **errp)
{
	uint64_t end =
		qcf_host_offset(&meta->geometry, meta->refcounts.fresh_from);
	uint64_t size = 0;
	int ret = qcf_storage_get_size(meta->storage, &size, errp);

	if (ret < 0 || meta->storage->fixed_size || size >= end)
		return ret;
	return qcf_storage_truncate(meta->storage, end, errp);
}

static int expand_tables(struct expanding *x, const struct qcf_l2_list *list,
                         struct qcowfmt_error **errp)
{
	int ret = 0;

	x->amending->total += list->count;
	for (size_t i = 0; ret == 0 && i < list->count; i++) {
		ret = qcf_l2_visit(x->meta, &list->tables[i], expand_slice, x,
		                   errp);
		if (ret == 0)
			ret = qcf_amend_progress(x->amending, 1, errp);
	}
	/* What was changed is sound, whether that was all or not. */
	if (ret < 0) {
		(void)settle(x, NULL);
		return ret;
	}
	ret = cover_clusters(x->meta, errp);
	return ret < 0 ? ret : settle(x, errp);
}

int qcf_amend_expand_zeros(struct qcf_amending *a, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE struct expanding *x = calloc(1, sizeof(*x));
	struct qcf_l2_list list = { 0 };
	int ret = x == NULL ? qcf_fail_oom(errp)
	                    : qcf_l2_list_collect(a->meta, &list, errp);

	if (ret == 0) {
		x->amending = a;
		x->meta = a->meta;
		ret = expand_tables(x, &list, errp);
		free(x->zeros);
	}
	qcf_l2_list_fini(&list);
	return qcf_wrap(errp, "writing zero clusters out", ret);
}

/* --------------------------------------------------------------- compressed */

struct searching {
	struct qcf_meta *meta;
	bool found;
};

static int search_slice(void *opaque, const struct qcf_l2_name *table,
                        struct qcf_block *slice, uint64_t first,
                        struct qcowfmt_error **errp)
{
	struct searching *s = opaque;
	const struct qcf_geometry *g = &s->meta->geometry;

	(void)table;
	(void)first;
	(void)errp;
	for (uint64_t i = 0; !s->found && i < g->slice_entry_count; i++)
		s->found = qcf_l2_entry_decode(
				   g, qcf_l2_slice_get(s->meta, slice, i))
		                   .kind == QCF_COMPRESSED;
	return 0;
}

int qcf_amend_has_compressed(struct qcf_amending *a, bool *found,
                             struct qcowfmt_error **errp)
{
	struct searching s = { .meta = a->meta };
	struct qcf_l2_list list = { 0 };
	int ret = qcf_l2_list_collect(a->meta, &list, errp);

	if (ret == 0)
		ret = qcf_l2_visit_all(a->meta, &list, search_slice, &s, errp);
	qcf_l2_list_fini(&list);
	*found = s.found;
	return ret;
}
