/* SPDX-License-Identifier: MIT */
/*
 * Promise: while an image is compacted, a power cut at any moment, or any call
 * to storage that fails, leaves the same disk and the same snapshots, and
 * nothing but leaks; a second run ends what the first one began.
 */
#include "auto.h"
#include "whole_image.h"

static const struct whole_kind kinds[] = {
	{ .name = "v3_512", .options = "cluster_size=512", .kib = 96 },
	{ .name = "v2_512",
	  .options = "cluster_size=512,compat=0.10",
	  .kib = 96 },
	{ .name = "v3_512_1bit",
	  .options = "cluster_size=512,refcount_bits=1",
	  .kib = 64,
	  .no_snapshots = true },
	{ .name = "v3_512_64bit",
	  .options = "cluster_size=512,refcount_bits=64",
	  .kib = 64 },
	{ .name = "v3_512_64bit_tables",
	  .options = "cluster_size=512,refcount_bits=64",
	  .kib = 32,
	  .resized = true,
	  .no_snapshots = true },
	{ .name = "v3_512_tables",
	  .options = "cluster_size=512,refcount_bits=32",
	  .kib = 32,
	  .resized = true },
	{ .name = "v3_512_emptied",
	  .options = "cluster_size=512",
	  .kib = 128,
	  .emptied = true,
	  .no_snapshots = true },
	{ .name = "v2_512_emptied",
	  .options = "cluster_size=512,compat=0.10",
	  .kib = 128,
	  .emptied = true },
	{ .name = "v3_512_64bit_emptied",
	  .options = "cluster_size=512,refcount_bits=64",
	  .kib = 128,
	  .emptied = true,
	  .no_snapshots = true },
	{ .name = "v3_512_recounted",
	  .options = "cluster_size=512",
	  .kib = 128,
	  .emptied = true,
	  .recount = "64",
	  .no_snapshots = true },
	{ .name = "v3_1024_8bit",
	  .options = "cluster_size=1k,refcount_bits=8,lazy_refcounts=on",
	  .kib = 128 },
	{ .name = "v3_4096_overlay",
	  .options = "cluster_size=4k,refcount_bits=32",
	  .kib = 256,
	  .backing = true },
	{ .name = "v2_4096_overlay_aes",
	  .options = "cluster_size=4k,compat=0.10",
	  .kib = 256,
	  .backing = true,
	  .encryption = WHOLE_AES },
	{ .name = "v3_16k_subclusters",
	  .options = "cluster_size=16k,extended_l2=on",
	  .kib = 1024 },
	{ .name = "v3_64k", .options = "cluster_size=64k", .kib = 2048 },
	{ .name = "v3_4096_data_file",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .data_file = true,
	  .resized = true,
	  .no_snapshots = true },
	{ .name = "v3_4096_luks",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .encryption = WHOLE_LUKS },
};

static int compact(struct qcowfmt_image *image, const struct whole_kind *kind,
                   struct qcowfmt_error **errp)
{
	(void)kind;
	return qcowfmt_compact(image, NULL, NULL, errp);
}

int main(int argc, char **argv)
{
	return whole_main("compact_survives_a_crash", compact, kinds,
	                  QCF_ARRAY_LEN(kinds), argc, argv);
}
