/* SPDX-License-Identifier: MIT */
/*
 * scenarios.c - small things that threads do to one image at the same time
 *
 * Each is about one place where threads meet; script.h has the letters.  A cluster
 * has four sectors where nothing else is said.
 */
#include "scenarios.h"

#include <string.h>

#define SMALL .cluster_size = 2048, .sectors = 64, .version = 3

/* An image and its base, open on their own. */
#define TWO_IMAGES                                                       \
	.cluster_size = 2048, .sectors = 8, .version = 3, .chain = true, \
	.cut_chain = true

/* Compacting looks at every count of a refcount block. */
#define FEW_COUNTS \
	.cluster_size = 2048, .sectors = 64, .version = 3, .refcount_bits = 64

/* --------------------------------------------------------- guest requests */

static const struct qcf_scenario requests[] = {
	{
		.name = "writes-in-one-cluster",
		.shape = { SMALL },
		.threads = { "w0+2 r0+4", "w1+2 r0+4", "w3+3" },
	},
	{
		.name = "write-discard-zero",
		.shape = { SMALL },
		.setup = "w0+12",
		.threads = { "w0+4 r0+4", "d0+8 r0+8", "z2+4 u4+4" },
	},
	{
		.name = "write-discard-in-place",
		.shape = { SMALL },
		.setup = "w0+16",
		.threads = { "w1+2 w1+2", "d0+4 w4+4 f", "r0+8 w2+1" },
	},
	{
		.name = "flush-and-writes",
		.shape = { SMALL },
		.threads = { "w0+4 f w0+1 f", "w4+4 f", "w9+2 f" },
	},
	{
		.name = "flush-joins-flush",
		.shape = { SMALL },
		.setup = "w0+8",
		.threads = { "w0+1 f", "w4+1 f", "f w5+1 f", "w8+4 f" },
	},
	{
		.name = "misses-and-eviction",
		.shape = { .cluster_size = 512,
	                   .sectors = 2048,
	                   .version = 3,
	                   .cache_size = 4096 },
		.setup = "w0+1 w64+1 w128+1 w192+1 w256+1 w320+1 w384+1 w448+1 "
			 "w512+1 w576+1 w640+1 w704+1 w768+1 w832+1 w896+1 "
			 "w960+1 w1024+1 w1088+1 w1152+1 w1216+1 w1280+1 f",
		.threads = { "r0+1 r64+1 r0+1 r1280+1 w64+1 r0+1",
	                     "r128+1 r192+1 r256+1 r320+1 r384+1 r448+1 "
	                     "r512+1 r576+1 r640+1 r704+1",
	                     "r768+1 r832+1 r896+1 r960+1 r1024+1 r1088+1 "
	                     "r1152+1 r1216+1 r1280+1 w1+1 f" },
	},
	{
		.name = "discard-and-reuse",
		.shape = { SMALL },
		.setup = "w0+16 f",
		.threads = { "d0+8 f w16+8", "r0+8 r0+8", "f w24+4 r4+8",
	                     "w32+4 f w36+4" },
	},
	{
		.name = "reuse-under-readers",
		.shape = { SMALL },
		.setup = "w0+8 f",
		.threads = { "d0+4 f f w8+4", "r0+4 r0+8 r0+4",
	                     "d4+4 f w12+4" },
	},
	{
		.name = "compressed-and-plain",
		.shape = { SMALL },
		.setup = "c0+8",
		.threads = { "c0+4 w1+1", "w0+2 c4+4", "r0+8 d0+4 f" },
	},
	{
		.name = "packed-clusters-are-freed",
		.shape = { SMALL },
		.setup = "c0+16 f",
		.threads = { "d0+8 f c16+4", "d8+8 f w20+4", "r0+16 c24+4" },
	},
	{
		.name = "new-refcount-blocks",
		.shape = { .cluster_size = 512,
	                   .sectors = 256,
	                   .version = 3,
	                   .refcount_bits = 64 },
		.setup = "w0+50",
		.threads = { "w50+6 f", "w60+6 r60+6", "w70+6 f" },
	},
	{
		.name = "longer-refcount-table",
		.shape = { .cluster_size = 512,
	                   .sectors = 4096,
	                   .version = 3,
	                   .refcount_bits = 64 },
		.setup = "w0+128 w128+2000 w2128+1760 f",
		.threads = { "w3900+60 f", "w3960+60 f", "w4020+60 r3900+4" },
	},
	{
		.name = "lazy-refcounts",
		.shape = { SMALL, .lazy_refcounts = true },
		.setup = "w0+4",
		.threads = { "w4+4 f d0+4", "w8+4 f", "d4+4 w0+2 f" },
	},
	{
		.name = "subclusters",
		.shape = { .cluster_size = 16384,
	                   .sectors = 128,
	                   .version = 3,
	                   .extended_l2 = true },
		.setup = "w0+5",
		.threads = { "w0+1 w6+1 r0+8", "w7+2 d0+8", "z3+4 r0+10 f" },
	},
	{
		.name = "data-file",
		.shape = { SMALL, .data_file = true },
		.setup = "w0+8",
		.threads = { "w0+2 f d0+4", "w3+4 r0+8", "z4+2 u8+4 f" },
	},
	{
		.name = "encrypted-sectors",
		.shape = { SMALL, .encrypted = true },
		.setup = "w0+6",
		.threads = { "w0+2 r0+4", "w1+2 r1+6", "d0+4 w5+2 f" },
	},
	{
		.name = "overlay",
		.shape = { SMALL, .chain = true },
		.base_setup = "w0+16",
		.setup = "w0+2",
		.threads = { "w1+2 r0+8", "d4+4 w6+1", "z2+4 f r0+12" },
	},
	{
		.name = "neighbours-share-a-base",
		.shape = { SMALL, .chain = true },
		.base_setup = "w0+16",
		.threads = { "r0+8 w2+4", "h r0+4", "h w8+1 f" },
	},
	{
		.name = "version-2",
		.shape = { .cluster_size = 2048, .sectors = 64, .version = 2 },
		.setup = "w0+8",
		.threads = { "w0+4 d4+4", "z2+4 f", "u0+8 r0+8" },
	},
	{
		.name = "any-requests",
		.shape = { SMALL },
		.setup = "w0+6 c8+4",
		.kinds = "wwwwccrrzudddffq",
	},
	{
		.name = "any-requests-one-sector-clusters",
		.shape = { .cluster_size = 512,
	                   .sectors = 256,
	                   .version = 3,
	                   .refcount_bits = 64,
	                   .cache_size = 4096 },
		.setup = "w0+3 w64+2",
		.kinds = "wwwwrrzudddff",
	},
	{
		.name = "any-requests-lazy",
		.shape = { SMALL, .lazy_refcounts = true },
		.setup = "w0+6",
		.kinds = "wwwwrrzudddff",
	},
	{
		.name = "any-requests-overlay",
		.shape = { SMALL, .chain = true },
		.base_setup = "w0+24",
		.setup = "w0+6",
		.kinds = "wwwwccrrzuddffhq",
	},
	{
		.name = "any-requests-subclusters",
		.shape = { .cluster_size = 16384,
	                   .sectors = 128,
	                   .version = 3,
	                   .extended_l2 = true },
		.setup = "w0+6 w40+2",
		.kinds = "wwwwrrzudddff",
	},
};

/* -------------------------------------------------------- the whole image */

static const struct qcf_scenario changes[] = {
	{
		.name = "snapshot-and-writes",
		.shape = { SMALL },
		.setup = "w0+8",
		.threads = { "w0+4 w0+2", "s r0+8", "w2+4 f" },
	},
	{
		.name = "writers-meet-a-closing-gate",
		.shape = { SMALL },
		.threads = { "w0+4", "w4+4", "s" },
	},
	{
		.name = "snapshot-applied",
		.shape = { SMALL },
		.setup = "w0+8 s w0+4 w8+4",
		.threads = { "w0+4 r0+8", "a", "w6+4 f r4+8" },
	},
	{
		.name = "snapshot-deleted",
		.shape = { SMALL },
		.setup = "w0+8 s w0+4",
		.threads = { "w4+4 f w8+4", "x", "w5+1 r0+8 d0+4" },
	},
	{
		.name = "snapshot-deleted-and-applied",
		.shape = { SMALL },
		.setup = "w0+8 s w0+4",
		.threads = { "a w0+1", "x w4+1", "s f" },
	},
	{
		.name = "shrink-and-grow",
		.shape = { SMALL },
		.setup = "w0+64",
		.threads = { "g40+0 g64+0", "w36+8 r30+8", "w60+4 d32+8 f" },
	},
	{
		.name = "grow-the-l1-table",
		.shape = { .cluster_size = 512, .sectors = 64, .version = 3 },
		.setup = "w0+4",
		.threads = { "g8192+0", "w4+4 f", "w60+4 r0+8" },
	},
	{
		.name = "bitmaps-and-writers",
		.shape = { SMALL, .bitmaps = true },
		.threads = { "w0+4 w9+1", "b", "e w4+4 f", "z20+2 d8+4" },
	},
	{
		.name = "commit-and-writers",
		.shape = { SMALL, .chain = true, .cut_chain = true },
		.base_setup = "w0+16",
		.setup = "w0+8 w12+4",
		.threads = { "w0+4 w16+4", "o", "w4+4 f w20+4" },
	},
	{
		.name = "two-images-in-either-order",
		.shape = { TWO_IMAGES },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "C E", "D", "k k", "K K" },
	},
	{
		.name = "commit-and-compare",
		.shape = { TWO_IMAGES },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "o", "D", "K" },
	},
	{
		.name = "converted-into-each-other",
		.shape = { TWO_IMAGES },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "B", "T", "C k", "D K" },
	},
	{
		.name = "bitmaps-of-each-other",
		.shape = { TWO_IMAGES, .bitmaps = true },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "M w0+4", "N", "C", "D" },
	},
	{
		.name = "bitmaps-and-commit",
		.shape = { TWO_IMAGES, .bitmaps = true },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "M", "o", "N w0+4" },
	},
	{
		.name = "commit-into-what-shrinks",
		.shape = { TWO_IMAGES },
		.base_setup = "w0+8",
		.setup = "w0+8",
		.threads = { "o", "G4+0 R4+4" },
	},
	{
		.name = "compact-and-writers",
		.shape = { FEW_COUNTS },
		.setup = "w0+32 d0+16",
		.threads = { "w16+4 w0+4", "p", "r16+8 d20+4 f" },
	},
	{
		.name = "a-closed-gate-is-empty",
		.shape = { FEW_COUNTS },
		.setup = "w0+4",
		.threads = { "d0+4 p", "q8+1 q8+1 q8+1", "q8+1 q8+1 q8+1",
	                     "q8+1 q8+1" },
	},
	{
		.name = "amend-and-writers",
		.shape = { SMALL },
		.setup = "w0+16",
		.threads = { "w0+4 w20+4 f", "m1+0", "d4+4 r0+8 w4+2" },
	},
	{
		.name = "check-while-reading",
		.shape = { SMALL },
		.setup = "w0+16 c16+8",
		.threads = { "k k", "r0+16 w0+1", "w3+4 r16+8 f" },
	},
	{
		.name = "convert-while-writing",
		.shape = { SMALL, .converts = true },
		.setup = "w0+16 c20+4",
		.threads = { "v", "w0+4 w18+4", "r0+8 d8+4" },
	},
	{
		.name = "info-and-resize",
		.shape = { SMALL },
		.threads = { "g48+0 g64+0", "i i q0+32", "w40+4 i" },
	},
	{
		.name = "any-changes",
		.shape = { FEW_COUNTS },
		.setup = "w0+8 s w0+4",
		.kinds = "wwwwwrrdzffsxakpm",
	},
	{
		.name = "any-changes-lazy",
		.shape = { FEW_COUNTS, .lazy_refcounts = true },
		.setup = "w0+8 s w0+4",
		.kinds = "wwwwwrrdzffsxakpm",
	},
	{
		.name = "any-changes-with-bitmaps",
		.shape = { FEW_COUNTS, .bitmaps = true },
		.setup = "w0+8",
		.kinds = "wwwwwrrdzffsbekp",
	},
	{
		.name = "any-changes-of-size",
		.shape = { FEW_COUNTS },
		.setup = "w0+64",
		.kinds = "wwwwwrrdzffggkpi",
	},
};

/* ---------------------------------------------------------------- failures */

static const struct qcf_scenario failures[] = {
	{
		.name = "write-fails-others-wait",
		.shape = { SMALL },
		.setup = "w8+4",
		.threads = { "w0+2 w0+4 f", "w1+2 r0+4", "w2+2 f w8+4" },
		.fault = QCF_FAULT_WRITE,
	},
	{
		.name = "read-fails-others-wait",
		.shape = { SMALL },
		.setup = "w0+16",
		.threads = { "r0+4 w0+1", "r2+6 f", "w3+2 r0+8" },
		.fault = QCF_FAULT_READ,
	},
	{
		.name = "no-space",
		.shape = { .cluster_size = 512,
	                   .sectors = 256,
	                   .version = 3,
	                   .refcount_bits = 64 },
		.setup = "w0+20",
		.threads = { "w20+6 f d0+4 f", "w20+2 w30+4 f", "w0+20 f" },
		.fault = QCF_FAULT_NO_SPACE,
	},
	{
		.name = "flush-fails-for-all",
		.shape = { SMALL },
		.setup = "w0+4 f",
		.threads = { "w0+4 f w0+1 f", "w4+4 f", "f w8+4 f" },
		.fault = QCF_FAULT_FLUSH,
	},
	{
		.name = "write-fails-lazy",
		.shape = { SMALL, .lazy_refcounts = true },
		.setup = "w0+4 f",
		.threads = { "w0+4 f d0+4", "w4+4 f", "d0+4 w8+4 f" },
		.fault = QCF_FAULT_WRITE,
	},
	{
		.name = "any-write-fails",
		.shape = { SMALL },
		.setup = "w0+8 c12+4 s w0+4",
		.kinds = "wwwwwcrrdzffsxak",
		.fault = QCF_FAULT_WRITE,
	},
	{
		.name = "any-flush-fails",
		.shape = { SMALL },
		.setup = "w0+8 s w0+4",
		.kinds = "wwwwwrrdzfffsxak",
		.fault = QCF_FAULT_FLUSH,
	},
	{
		.name = "any-read-fails",
		.shape = { SMALL },
		.setup = "w0+8 c12+4 s w0+4",
		.kinds = "wwwwwcrrdzffsx",
		.fault = QCF_FAULT_READ,
	},
	{
		.name = "any-disk-full",
		.shape = { .cluster_size = 512,
	                   .sectors = 256,
	                   .version = 3,
	                   .refcount_bits = 64 },
		.setup = "w0+20 s",
		.kinds = "wwwwwwcrrdzffsx",
		.fault = QCF_FAULT_NO_SPACE,
	},
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

const struct qcf_scenario_group qcf_scenario_groups[] = {
	{ "requests", requests, COUNT(requests) },
	{ "changes", changes, COUNT(changes) },
	{ "failures", failures, COUNT(failures) },
};

const int qcf_scenario_group_count = COUNT(qcf_scenario_groups);

const struct qcf_scenario_group *qcf_scenario_group_find(const char *name)
{
	for (int i = 0; i < qcf_scenario_group_count; i++) {
		if (strcmp(qcf_scenario_groups[i].name, name) == 0)
			return &qcf_scenario_groups[i];
	}
	return NULL;
}

const struct qcf_scenario *qcf_scenario_find(const char *name)
{
	for (int i = 0; i < qcf_scenario_group_count; i++) {
		const struct qcf_scenario_group *g = &qcf_scenario_groups[i];

		for (int k = 0; k < g->count; k++) {
			if (strcmp(g->scenarios[k].name, name) == 0)
				return &g->scenarios[k];
		}
	}
	return NULL;
}
