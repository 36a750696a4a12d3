/* SPDX-License-Identifier: MIT */
/*
 * crash_ops.c - the operations that crash tests put in sequence
 *
 * They meet in a few clusters, so that in a sequence one undoes, extends or
 * reuses what another did:
 *
 *   0 ... filled - 1   have content, shared with a snapshot if there is one
 *   filled + 2 ...     have none
 *   B - 2 ... B + 1    on both sides of the end of the first L2 table
 */
#include "crash_ops.h"
#include "auto.h"

/* Sector numbers of a cluster. */
static uint64_t at(const struct world *w, uint64_t cluster)
{
	return cluster * w->sectors_per_cluster;
}

/* The first cluster without content. */
static uint64_t empty(const struct world *w)
{
	return w->geometry->filled + 2;
}

/* The cluster with which the second L2 table begins, or the last one. */
static uint64_t boundary(const struct world *w)
{
	uint64_t entries = w->cluster_size / sizeof(uint64_t);

	return QCF_MIN(entries, w->geometry->virtual_clusters - 2);
}

static void write_clusters(struct world *w, uint64_t cluster, uint64_t count)
{
	world_write(w, at(w, cluster), count * w->sectors_per_cluster);
}

static void write_new(struct world *w)
{
	write_clusters(w, empty(w), 1);
}

static void write_new_pair(struct world *w)
{
	write_clusters(w, empty(w), 2);
}

/* One sector of a new cluster: the rest comes from below or is zeros. */
static void write_part(struct world *w)
{
	world_write(w, at(w, empty(w) + 1) + w->sectors_per_cluster / 2, 1);
}

/* The end of one new cluster and the start of the next. */
static void write_astride(struct world *w)
{
	world_write(w, at(w, empty(w) + 3) - 1, 2);
}

static void overwrite(struct world *w)
{
	write_clusters(w, 1, 1);
}

static void overwrite_part(struct world *w)
{
	world_write(w, at(w, 3) - 1, 2);
}

static void write_cross_l2(struct world *w)
{
	write_clusters(w, boundary(w) - 1, 2);
}

static void write_second_l2(struct world *w)
{
	world_write(w, at(w, boundary(w)), 1);
}

static void write_many(struct world *w)
{
	write_clusters(w, empty(w) + 4, 8);
}

static void write_scattered(struct world *w)
{
	for (uint64_t i = 0; i < 4; i++)
		world_write(w, at(w, empty(w) + 2 * i), 1);
}

static void zero_keep(struct world *w)
{
	world_zero(w, at(w, 1), 2 * w->sectors_per_cluster, 0);
}

static void zero_unmap(struct world *w)
{
	world_zero(w, at(w, 2), 2 * w->sectors_per_cluster,
	           QCOWFMT_ZERO_MAY_UNMAP);
}

static void zero_part(struct world *w)
{
	world_zero(w, at(w, 1) + w->sectors_per_cluster - 1, 2, 0);
}

static void zero_new(struct world *w)
{
	world_zero(w, at(w, empty(w)), 3 * w->sectors_per_cluster,
	           QCOWFMT_ZERO_MAY_UNMAP);
}

static void discard_one(struct world *w)
{
	world_discard(w, at(w, 1), w->sectors_per_cluster);
}

static void discard_filled(struct world *w)
{
	world_discard(w, 0, at(w, w->geometry->filled));
}

static void discard_new(struct world *w)
{
	world_discard(w, at(w, empty(w)), 4 * w->sectors_per_cluster);
}

static void flush(struct world *w)
{
	world_flush(w);
}

static void reopen(struct world *w)
{
	world_reopen(w);
}

/* Freed clusters must be safe before others move in. */
static void reuse_freed(struct world *w)
{
	world_discard(w, 0, at(w, 2));
	world_flush(w);
	write_clusters(w, empty(w) + 12, 3);
}

/* The same without a flush: reuse must wait or bring its own. */
static void reuse_at_once(struct world *w)
{
	world_discard(w, at(w, 2), 2 * w->sectors_per_cluster);
	write_clusters(w, empty(w) + 16, 2);
	write_clusters(w, empty(w) + 18, 2);
}

const struct crash_op crash_ops[] = {
	{ "write_new", write_new },
	{ "write_new_pair", write_new_pair },
	{ "write_part", write_part },
	{ "write_astride", write_astride },
	{ "overwrite", overwrite },
	{ "overwrite_part", overwrite_part },
	{ "write_cross_l2", write_cross_l2 },
	{ "write_second_l2", write_second_l2 },
	{ "write_many", write_many },
	{ "write_scattered", write_scattered },
	{ "zero_keep", zero_keep },
	{ "zero_unmap", zero_unmap },
	{ "zero_part", zero_part },
	{ "zero_new", zero_new },
	{ "discard_one", discard_one },
	{ "discard_filled", discard_filled },
	{ "discard_new", discard_new },
	{ "flush", flush },
	{ "reopen", reopen },
	{ "reuse_freed", reuse_freed },
	{ "reuse_at_once", reuse_at_once },
};

const size_t crash_op_count = QCF_ARRAY_LEN(crash_ops);
