/* SPDX-License-Identifier: MIT */
/*
 * Promise: while an image is amended, a power cut at any moment, or any call to
 * storage that fails, leaves the same disk and the same snapshots, and nothing
 * but leaks; the header is the old one or the new one.
 */
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "whole_image.h"

#define V2 "compat=0.10,"

static const struct whole_kind kinds[] = {
	{ .name = "down_512",
	  .options = "cluster_size=512",
	  .kib = 96,
	  .amend = "v2" },
	{ .name = "down_4096_overlay",
	  .options = "cluster_size=4k,lazy_refcounts=on",
	  .kib = 256,
	  .backing = true,
	  .amend = "v2" },
	{ .name = "down_4096_aes_overlay",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .backing = true,
	  .encryption = WHOLE_AES,
	  .amend = "v2" },
	{ .name = "down_4096_luks_overlay",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .backing = true,
	  .encryption = WHOLE_LUKS,
	  .amend = "v2" },
	{ .name = "down_4096_and_narrower",
	  .options = "cluster_size=4k,refcount_bits=64",
	  .kib = 256,
	  .backing = true,
	  .amend = "v2 bits=16" },
	{ .name = "up_512",
	  .options = V2 "cluster_size=512",
	  .kib = 96,
	  .amend = "v3" },
	{ .name = "up_4096_old_snapshots",
	  .options = V2 "cluster_size=4k",
	  .kib = 256,
	  .old_snapshots = true,
	  .amend = "v3" },
	{ .name = "up_64k_all_at_once",
	  .options = V2 "cluster_size=64k",
	  .kib = 2048,
	  .old_snapshots = true,
	  .amend = "v3 bits=8 lazy" },
	{ .name = "wider_512",
	  .options = "cluster_size=512",
	  .kib = 96,
	  .amend = "bits=64" },
	{ .name = "narrower_512",
	  .options = "cluster_size=512",
	  .kib = 64,
	  .no_snapshots = true,
	  .amend = "bits=8" },
	{ .name = "narrower_4096",
	  .options = "cluster_size=4k,lazy_refcounts=on",
	  .kib = 256,
	  .encryption = WHOLE_AES,
	  .amend = "bits=2" },
	{ .name = "narrowest_16k",
	  .options = "cluster_size=16k,extended_l2=on",
	  .kib = 1024,
	  .data_file = true,
	  .no_snapshots = true,
	  .amend = "bits=1 name=data" },
	{ .name = "down_512_bitmaps_vm_state",
	  .options = "cluster_size=512",
	  .kib = 96,
	  .bitmaps = true,
	  .vm_state = true,
	  .amend = "v2" },
	{ .name = "up_4096_vm_state",
	  .options = V2 "cluster_size=4k",
	  .kib = 256,
	  .vm_state = true,
	  .amend = "v3 bits=32" },
	{ .name = "wider_512_bitmaps_vm_state",
	  .options = "cluster_size=512",
	  .kib = 96,
	  .bitmaps = true,
	  .vm_state = true,
	  .amend = "bits=64" },
	{ .name = "narrower_4096_bitmaps",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .bitmaps = true,
	  .amend = "bits=8 lazy" },
	{ .name = "lazy_4096",
	  .options = "cluster_size=4k",
	  .kib = 256,
	  .amend = "lazy" },
	{ .name = "eager_4096",
	  .options = "cluster_size=4k,lazy_refcounts=on",
	  .kib = 256,
	  .amend = "eager" },
	{ .name = "not_raw_4096",
	  .options = "cluster_size=4k,data_file_raw=on",
	  .kib = 256,
	  .data_file = true,
	  .no_snapshots = true,
	  .amend = "notraw" },
};

static bool wants(const struct whole_kind *kind, const char *word)
{
	return strstr(kind->amend, word) != NULL;
}

/* Write zeros where there is a zero cluster: with lazy counts the dirty bit is set
 * then. */
static int make_dirty(struct qcowfmt_image *image,
                      const struct whole_kind *kind,
                      struct qcowfmt_error **errp)
{
	static const uint8_t zeros[512];
	uint64_t unit = (uint64_t)kind->kib * 1024 / 16;
	int ret;

	if (strstr(kind->options, "lazy") == NULL)
		return 0;
	ret = qcowfmt_pwrite(image, zeros, sizeof(zeros), 13 * unit, errp);
	return ret < 0 ? ret : qcowfmt_flush(image, errp);
}

static int amend(struct qcowfmt_image *image, const struct whole_kind *kind,
                 struct qcowfmt_error **errp)
{
	const char *bits = strstr(kind->amend, "bits=");
	struct qcowfmt_amend_options o = {
		.struct_size = sizeof(o),
		.version = wants(kind, "v2")   ? 2
		           : wants(kind, "v3") ? 3
		                               : 0,
		.refcount_bits = bits == NULL ? 0 : (uint32_t)atoi(bits + 5),
		.lazy_refcounts = wants(kind, "lazy")    ? 1
		                  : wants(kind, "eager") ? -1
		                                         : 0,
		.data_file_raw = wants(kind, "notraw") ? -1 : 0,
		.data_filename = wants(kind, "name=") ? "data" : NULL,
	};

	int ret = make_dirty(image, kind, errp);

	return ret < 0 ? ret : qcowfmt_amend(image, &o, errp);
}

int main(int argc, char **argv)
{
	return whole_image_main(argc, argv, "amend_survives_a_crash", kinds,
	                        QCF_ARRAY_LEN(kinds), amend);
}
