/* SPDX-License-Identifier: MIT */
/*
 * create_options.c - which options for a new image make sense together
 *
 * Every option acts or is refused by name, in the words of qemu-img where it has
 * any.  Nothing here looks at files, so that a refusal leaves them alone.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "compress.h"
#include "create_options.h"
#include "create_v1.h"
#include "crypto.h"
#include "limits.h"

#define DEFAULT_CLUSTER_SIZE  (UINT64_C(64) << 10)
#define DEFAULT_REFCOUNT_BITS 16u

#define KNOWN_FLAGS                                                   \
	(QCOWFMT_CREATE_LAZY_REFCOUNTS | QCOWFMT_CREATE_EXTENDED_L2 | \
	 QCOWFMT_CREATE_DATA_FILE_RAW)

#define NEEDS_VERSION_3 \
	" with compatibility level 1.1 and above (use version=v3 or greater)"

uint32_t qcf_create_version(const struct qcowfmt_create_options *o)
{
	return o->version != 0 ? o->version : 3;
}

uint64_t qcf_create_cluster_size(const struct qcowfmt_create_options *o)
{
	return o->cluster_size != 0 ? o->cluster_size : DEFAULT_CLUSTER_SIZE;
}

uint32_t qcf_create_refcount_bits(const struct qcowfmt_create_options *o)
{
	return o->refcount_bits != 0 ? o->refcount_bits : DEFAULT_REFCOUNT_BITS;
}

int qcf_create_preallocation(const struct qcowfmt_create_options *o)
{
	/* A raw data file and the guest see the same only if every cluster is
	 * where it would be in a raw image. */
	if ((o->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0 &&
	    o->preallocation == QCOWFMT_PREALLOCATION_OFF)
		return QCOWFMT_PREALLOCATION_METADATA;
	return o->preallocation;
}

static int usage(struct qcowfmt_error **errp, const char *what)
{
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE, "%s", what);
}

/* ------------------------------------------------------------------ numbers */

static int check_numbers(const struct qcowfmt_create_options *o,
                         struct qcowfmt_error **errp)
{
	uint64_t cluster_size = qcf_create_cluster_size(o);
	uint32_t bits = qcf_create_refcount_bits(o);
	uint32_t version = qcf_create_version(o);

	if (version != 2 && version != 3)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "version %" PRIu32 " is not 2 or 3", version);
	if (!qcf_is_power_of_two(cluster_size) ||
	    cluster_size < (UINT64_C(1) << QCF_MIN_CLUSTER_BITS) ||
	    cluster_size > (UINT64_C(1) << QCF_MAX_CLUSTER_BITS))
		return usage(errp, "Cluster size must be a power of two "
		                   "between 512 and 2048k");
	if (!qcf_is_power_of_two(bits) || bits > 64)
		return usage(errp, "Refcount width must be a power of two and "
		                   "may not exceed 64 bits");
	return 0;
}

static int check_version_2(const struct qcowfmt_create_options *o,
                           struct qcowfmt_error **errp)
{
	if (qcf_create_version(o) != 2)
		return 0;
	if ((o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0)
		return usage(errp, "Extended L2 entries are only "
		                   "supported" NEEDS_VERSION_3);
	if ((o->flags & QCOWFMT_CREATE_LAZY_REFCOUNTS) != 0)
		return usage(errp, "Lazy refcounts only "
		                   "supported" NEEDS_VERSION_3);
	if (qcf_create_refcount_bits(o) != DEFAULT_REFCOUNT_BITS)
		return usage(errp,
		             "Different refcount widths than 16 bits require "
		             "compatibility level 1.1 or above (use version=v3 "
		             "or greater)");
	if (o->data_filename != NULL)
		return usage(errp, "External data files are only "
		                   "supported" NEEDS_VERSION_3);
	if (o->compression_type != QCF_COMPRESSION_ZLIB)
		return usage(errp, "Non-zlib compression type is only "
		                   "supported" NEEDS_VERSION_3);
	return 0;
}

static int check_features(const struct qcowfmt_create_options *o,
                          struct qcowfmt_error **errp)
{
	const char *name = qcf_compression_name(o->compression_type);

	if ((o->flags & QCOWFMT_CREATE_EXTENDED_L2) != 0 &&
	    qcf_create_cluster_size(o) <
	            (UINT64_C(1) << QCF_MIN_CLUSTER_BITS_EXTENDED_L2))
		return usage(errp,
		             "Extended L2 entries are only supported with "
		             "cluster sizes of at least 16384 bytes");
	if (name == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "compression type %" PRIu32
		                " is not 0 (zlib) or 1 (zstd)",
		                o->compression_type);
	if (!qcf_compression_is_built_in(o->compression_type))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "compression type %s is not built in", name);
	return 0;
}

/* ------------------------------------------------------------- other files */

int qcf_create_check_backing(const struct qcowfmt_create_options *o,
                             struct qcowfmt_error **errp)
{
	if (o->backing_filename == NULL)
		return o->backing_format == NULL
		               ? 0
		               : usage(errp, "a backing format needs a backing "
		                             "file name");
	if (o->backing_filename[0] == '\0')
		return usage(errp, "the backing file name is empty");
	if (strlen(o->backing_filename) > QCF_MAX_BACKING_NAME)
		return usage(errp,
		             "the backing file name is longer than 1023 bytes");
	return 0;
}

static int check_backing(const struct qcowfmt_create_options *o,
                         struct qcowfmt_error **errp)
{
	int ret = qcf_create_check_backing(o, errp);

	if (ret < 0 || o->backing_filename == NULL)
		return ret;
	if ((o->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0)
		return usage(errp, "Backing file and data-file-raw cannot be "
		                   "used at the same time");
	if (o->preallocation != QCOWFMT_PREALLOCATION_OFF &&
	    (o->flags & QCOWFMT_CREATE_EXTENDED_L2) == 0)
		return usage(errp,
		             "Backing file and preallocation can only be used "
		             "at the same time if extended_l2 is on");
	return 0;
}

static int check_data_file(const struct qcowfmt_create_options *o,
                           struct qcowfmt_error **errp)
{
	if (o->data_filename != NULL)
		return o->data_filename[0] != '\0'
		               ? 0
		               : usage(errp, "the data file name is empty");
	if ((o->flags & QCOWFMT_CREATE_DATA_FILE_RAW) != 0)
		return usage(errp, "data-file-raw requires data-file");
	if (o->data_storage != NULL)
		return usage(errp, "data_storage requires data_filename");
	return 0;
}

static int check_qcow2(const struct qcowfmt_create_options *o,
                       struct qcowfmt_error **errp)
{
	int ret = check_numbers(o, errp);

	if (ret == 0)
		ret = check_version_2(o, errp);
	if (ret == 0)
		ret = check_features(o, errp);
	if (ret == 0)
		ret = check_data_file(o, errp);
	if (ret == 0)
		ret = check_backing(o, errp);
	if (ret == 0 && o->encryption != NULL)
		ret = qcf_crypto_check_options(o->encryption, errp);
	return ret;
}

/* -------------------------------------------------------------------- all */

/* The option that a raw image cannot have, or NULL. */
static const char *not_for_raw(const struct qcowfmt_create_options *o)
{
	if (o->version != 0)
		return "version";
	if (o->cluster_size != 0)
		return "cluster_size";
	if (o->refcount_bits != 0)
		return "refcount_bits";
	if (o->flags != 0)
		return "flags";
	if (o->backing_filename != NULL || o->backing_format != NULL)
		return "backing file";
	if (o->compression_type != 0)
		return "compression_type";
	if (o->data_filename != NULL || o->data_storage != NULL)
		return "data file";
	if (o->encryption != NULL)
		return "encryption";
	return NULL;
}

static int check_raw(const struct qcowfmt_create_options *o,
                     struct qcowfmt_error **errp)
{
	const char *option = not_for_raw(o);

	if (option != NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a raw image cannot have the option %s",
		                option);
	if (o->preallocation == QCOWFMT_PREALLOCATION_METADATA)
		return usage(errp, "Unsupported preallocation mode: metadata");
	return 0;
}

static int check_common(const struct qcowfmt_create_options *o,
                        struct qcowfmt_error **errp)
{
	if ((o->flags & ~KNOWN_FLAGS) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown create flags 0x%" PRIx32,
		                o->flags & ~KNOWN_FLAGS);
	if (o->preallocation < QCOWFMT_PREALLOCATION_OFF ||
	    o->preallocation > QCOWFMT_PREALLOCATION_FULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown preallocation mode %" PRId32,
		                o->preallocation);
	if (!qcf_is_aligned(o->virtual_size, QCF_SECTOR_SIZE))
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64
		                " is not a multiple of 512",
		                o->virtual_size);
	if (o->virtual_size > INT64_MAX)
		return qcf_fail(errp, EFBIG, QCOWFMT_ERR_USAGE,
		                "virtual size %" PRIu64 " is too large",
		                o->virtual_size);
	return 0;
}

int qcf_create_check_options(const struct qcowfmt_create_options *o,
                             struct qcowfmt_error **errp)
{
	int ret = check_common(o, errp);

	if (ret < 0)
		return ret;
	if (o->format == QCOWFMT_FORMAT_RAW)
		return check_raw(o, errp);
	return o->format == QCOWFMT_FORMAT_QCOW
	               ? qcf_create_v1_check_options(o, errp)
	               : check_qcow2(o, errp);
}
