/* SPDX-License-Identifier: MIT */
/*
 * create_v1.c - a new image of version 1
 *
 *   header | backing file name | L1 table
 *
 * The L1 table takes whole sectors, although it need not begin at one; the file
 * ends with it.  Everything behind the first sector is stable before that is
 * written: a crash leaves something that is no image, or the image.
 *
 * The format lets us choose the cluster size, but the only one that QEMU can use
 * with a backing file is a sector: it does not copy the rest of a cluster.  So
 * its choice is the only one here, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "create_options.h"
#include "create_v1.h"
#include "crypto.h"
#include "header.h"
#include "preallocate.h"

/* 4 KiB, and L2 tables of 4 KiB */
#define CLUSTER_BITS 12u
#define L2_BITS      9u

/* A sector, and L2 tables of 32 KiB */
#define BACKED_CLUSTER_BITS 9u
#define BACKED_L2_BITS      12u

#define L1_ALIGNMENT 8u

/* What QEMU takes for an image that is to have a backing file only later: it has
 * the geometry of one, but stores no name. */
#define NO_NAME_YET "fat:"

static uint32_t cluster_bits_for(const struct qcowfmt_create_options *o)
{
	return o->backing_filename != NULL ? BACKED_CLUSTER_BITS : CLUSTER_BITS;
}

/* ------------------------------------------------------------------ options */

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

/* The option that version 1 has no way to express, or NULL. */
static const char *not_for_v1(const struct qcowfmt_create_options *o)
{
	if (o->version > 1)
		return "version";
	if (o->refcount_bits != 0)
		return "refcount_bits";
	if ((o->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		return "lazy_refcounts";
	if ((o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0)
		return "extended_l2";
	if (o->compression_type != 0)
		return "compression_type";
	if (o->preallocation != QCOWFMT_PREALLOCATION_OFF)
		return "preallocation";
	if (o->data_filename != NULL || o->data_storage != NULL ||
	    (o->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0)
		return "data_file";
	return NULL;
}

static int check_cluster_size(const struct qcowfmt_create_options *o,
                              struct qcowfmt_error **errp)
{
	uint64_t only = UINT64_C(1) << cluster_bits_for(o);

	if (o->cluster_size == 0 || o->cluster_size == only)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "cluster_size: have %" PRIu64 ", a qcow image with%s "
	                "a backing file has %" PRIu64,
	                o->cluster_size,
	                o->backing_filename != NULL ? "" : "out", only);
}

static int check_encryption(const struct qcowfmt_create_options *o,
                            struct qcowfmt_error **errp)
{
	if (o->encryption == NULL)
		return 0;
	if (o->encryption->encryption != QCOWFMT_ENCRYPTION_AES)
		return usage(errp, "a qcow image can only have AES encryption");
	return qcf_crypto_check_options(o->encryption, errp);
}

static int check_size(const struct qcowfmt_create_options *o,
                      struct qcowfmt_error **errp)
{
	uint32_t shift = o->backing_filename != NULL
	                         ? BACKED_CLUSTER_BITS + BACKED_L2_BITS
	                         : CLUSTER_BITS + L2_BITS;
	uint64_t max = (uint64_t)QCF_MAX_L1_ENTRIES_V1 << shift;

	if (o->virtual_size == 0)
		return usage(errp,
		             "Image size is too small, cannot be zero length");
	if (o->virtual_size <= max)
		return 0;
	return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
	                "virtual size %" PRIu64
	                " is too large for a qcow image, which allows %" PRIu64,
	                o->virtual_size, max);
}

int qcf_create_v1_check_options(const struct qcowfmt_create_options *o,
                                struct qcowfmt_error **errp)
{
	const char *option = not_for_v1(o);
	int ret;

	if (option != NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a qcow image cannot have the option %s",
		                option);
	ret = qcf_create_check_backing(o, errp);
	if (ret == 0)
		ret = check_cluster_size(o, errp);
	if (ret == 0)
		ret = check_encryption(o, errp);
	return ret < 0 ? ret : check_size(o, errp);
}

/* ------------------------------------------------------------------ writing */

static int fill_header(const struct qcowfmt_create_options *o,
                       struct qcf_header *h, struct qcowfmt_error **errp)
{
	const char *name = o->backing_filename;
	size_t name_len;

	if (name != NULL && strcmp(name, NO_NAME_YET) == 0)
		name = NULL;
	name_len = name == NULL ? 0 : strlen(name);
	*h = (struct qcf_header){
		.version = 1,
		.cluster_bits = cluster_bits_for(o),
		.l2_bits =
			o->backing_filename != NULL ? BACKED_L2_BITS : L2_BITS,
		.virtual_size = o->virtual_size,
		.crypt_method = o->encryption != NULL ? QCOWFMT_ENCRYPTION_AES
		                                      : QCOWFMT_ENCRYPTION_NONE,
		.l1_table_offset = qcf_align_up(QCF_HEADER_LEN_V1 + name_len,
		                                L1_ALIGNMENT),
	};
	return qcf_header_set_backing(h, name, NULL, errp);
}

/* Where the file ends. */
static int image_size(const struct qcf_header *h, uint64_t *size,
                      struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	int ret = qcf_header_geometry(h, &g, errp);
	uint64_t table_size;

	if (ret < 0)
		return ret;
	table_size = qcf_l1_entries_for(&g, h->virtual_size) * sizeof(uint64_t);
	*size = h->l1_table_offset + qcf_align_up(table_size, QCF_SECTOR_SIZE);
	return 0;
}

/* The first sector makes it an image, so it comes last. */
static int write_header(struct qcowfmt_storage *storage,
                        const struct qcf_header *h, struct qcowfmt_error **errp)
{
	uint8_t bytes[QCF_HEADER_LEN_V1 + QCF_MAX_BACKING_NAME + L1_ALIGNMENT];
	size_t len = (size_t)h->l1_table_offset;
	size_t first = QCF_MIN(len, (size_t)QCF_SECTOR_SIZE);
	int ret = qcf_header_encode(h, bytes, sizeof(bytes), errp);

	if (ret == 0)
		ret = qcf_storage_pwrite(storage, bytes + first, len - first,
		                         first, errp);
	if (ret == 0)
		ret = qcf_storage_flush(storage, errp);
	if (ret == 0)
		ret = qcf_storage_pwrite(storage, bytes, first, 0, errp);
	return ret < 0 ? ret : qcf_storage_flush(storage, errp);
}

/* Nobody could ever write to an image that ends where its device does. */
static int check_can_grow(const struct qcowfmt_storage *storage,
                          struct qcowfmt_error **errp)
{
	if (!storage->fixed_size)
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "a qcow image grows at its end, which a device cannot");
}

int qcf_create_v1(struct qcowfmt_storage *storage,
                  const struct qcowfmt_create_options *o,
                  struct qcowfmt_error **errp)
{
	struct qcf_header h;
	uint64_t size = 0;
	int ret = check_can_grow(storage, errp);

	if (ret < 0)
		return ret;
	ret = fill_header(o, &h, errp);
	if (ret == 0)
		ret = image_size(&h, &size, errp);
	if (ret == 0)
		ret = qcf_preallocate_space(storage, size, 0,
		                            QCOWFMT_PREALLOCATION_OFF, errp);
	if (ret == 0)
		ret = write_header(storage, &h, errp);
	qcf_header_fini(&h);
	return ret;
}
