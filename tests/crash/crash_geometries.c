/* SPDX-License-Identifier: MIT */
/*
 * crash_geometries.c - the kinds of image that crash tests use
 *
 * Small clusters make tables small, so that few writes fill and grow them.
 * Large clusters make every write a long one that can be torn.
 */
#include <string.h>

#include "auto.h"
#include "crash_world.h"

const struct geometry crash_geometries[] = {
	{
		.name = "v3_512",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 16,
		.virtual_clusters = 200,
		.filled = 6,
		.budget = 40000,
	},
	{
		/* Metadata is evicted all the time. */
		.name = "v3_512_tiny_cache",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 64,
		.virtual_clusters = 400,
		.filled = 6,
		.cache_size = 1024,
		.budget = 15000,
	},
	{
		.name = "v2_512",
		.version = 2,
		.cluster_size = 512,
		.refcount_bits = 16,
		.virtual_clusters = 200,
		.filled = 6,
		.budget = 25000,
	},
	{
		.name = "v3_512_snapshot",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 16,
		.snapshot = true,
		.virtual_clusters = 200,
		.filled = 6,
		.budget = 35000,
	},
	{
		/* Several clusters share a host cluster; overwriting frees
		 * them one by one. */
		.name = "v3_4096_compressed",
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 16,
		.compressed = true,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 12000,
	},
	{
		.name = "v3_4096",
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 1,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 18000,
	},
	{
		.name = "v3_4096_overlay",
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 64,
		.backing = true,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 15000,
	},
	{
		.name = "v2_4096_overlay_snapshot",
		.version = 2,
		.cluster_size = 4096,
		.refcount_bits = 16,
		.backing = true,
		.snapshot = true,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 12000,
	},
	{
		.name = "v3_65536_snapshot",
		.version = 3,
		.cluster_size = 65536,
		.refcount_bits = 16,
		.snapshot = true,
		.virtual_clusters = 32,
		.filled = 4,
		.budget = 3000,
	},
	{
		.name = "v3_512_lazy",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 16,
		.lazy = true,
		.virtual_clusters = 200,
		.filled = 6,
		.budget = 25000,
	},
	{
		.name = "v3_4096_lazy",
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 16,
		.lazy = true,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 8000,
	},
	{
		.name = "v3_4096_lazy_snapshot",
		.version = 3,
		.cluster_size = 4096,
		.refcount_bits = 16,
		.lazy = true,
		.snapshot = true,
		.virtual_clusters = 600,
		.filled = 5,
		.budget = 12000,
	},
	{
		/* A refcount block counts 256 clusters: a few more writes need
		 * the next one. */
		.name = "v3_512_block_growth",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 16,
		.virtual_clusters = 600,
		.filled = 6,
		.file_clusters = 252,
		.budget = 9000,
	},
	{
		/* A table of one cluster has 64 entries, for blocks of 64
		 * counts: at 4096 clusters it must grow and move. */
		.name = "v3_512_table_growth",
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 64,
		.virtual_clusters = 6000,
		.filled = 6,
		.file_clusters = 4092,
		.budget = 800,
	},
	{
		.name = "v2_512_block_growth_snapshot",
		.version = 2,
		.cluster_size = 512,
		.refcount_bits = 16,
		.snapshot = true,
		.virtual_clusters = 600,
		.filled = 6,
		.file_clusters = 240,
		.budget = 10000,
	},
};

const size_t crash_geometry_count = QCF_ARRAY_LEN(crash_geometries);

const struct geometry *crash_geometry_find(const char *name)
{
	for (size_t i = 0; i < crash_geometry_count; i++) {
		if (strcmp(crash_geometries[i].name, name) == 0)
			return &crash_geometries[i];
	}
	return NULL;
}
