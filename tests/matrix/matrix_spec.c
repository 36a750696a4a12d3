/* SPDX-License-Identifier: MIT */
/* matrix_spec.c - which kinds of image there are */
#include "matrix_spec.h"
#include "built_with.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcowfmt.h>

/* What the numbers of values mean where the rules below compare them. */
enum { COMPRESSION_NONE, COMPRESSION_ZLIB, COMPRESSION_ZSTD };

enum { ENCRYPTION_NONE, ENCRYPTION_AES, ENCRYPTION_FIRST_LUKS };

enum { DATA_FILE_NONE, DATA_FILE_COOKED, DATA_FILE_RAW };

static const uint64_t cluster_sizes[] = {
	512,   1024,   2048,   4096,   8192,    16384,   32768,
	65536, 131072, 262144, 524288, 1048576, 2097152,
};

static const uint32_t refcount_bits[] = { 0, 1, 2, 4, 8, 16, 32, 64 };

static const struct qcf_luks_kind luks_kinds[] = {
	{ "aes-256", "xts", "plain64", NULL, "sha256" },
	{ "aes-128", "cbc", "essiv", "sha256", "sha1" },
	{ "serpent-256", "xts", "plain64", NULL, "sha512" },
	{ "twofish-128", "cbc", "plain64", NULL, "sha384" },
	{ "cast5-128", "cbc", "plain64", NULL, "ripemd160" },
	{ "aes-256", "ctr", "plain", NULL, "sha224" },
	{ "serpent-128", "ecb", "plain64", NULL, "md5" },
	{ "aes-192", "xts", "plain64", NULL, "sha256" },
};

static const struct {
	const char *name;
	const char *values[QCF_MAX_VALUES + 1];
} dimensions[QCF_DIMENSIONS] = {
	[QCF_DIM_VERSION] = { "version", { "1", "2", "3" } },
	[QCF_DIM_CLUSTER_SIZE] = { "cluster_size",
	                           { "512", "1024", "2048", "4096", "8192",
	                             "16384", "32768", "65536", "131072",
	                             "262144", "524288", "1048576",
	                             "2097152" } },
	[QCF_DIM_COMPRESSION] = { "compression", { "none", "zlib", "zstd" } },
	[QCF_DIM_ENCRYPTION] = { "encryption",
	                         { "none", "aes",
	                           "luks:aes-256-xts-plain64-sha256",
	                           "luks:aes-128-cbc-essiv:sha256-sha1",
	                           "luks:serpent-256-xts-plain64-sha512",
	                           "luks:twofish-128-cbc-plain64-sha384",
	                           "luks:cast5-128-cbc-plain64-ripemd160",
	                           "luks:aes-256-ctr-plain-sha224",
	                           "luks:serpent-128-ecb-plain64-md5",
	                           "luks:aes-192-xts-plain64-sha256" } },
	[QCF_DIM_EXTENDED_L2] = { "extended_l2", { "off", "on" } },
	[QCF_DIM_DATA_FILE] = { "data_file", { "none", "yes", "raw" } },
	[QCF_DIM_BACKING] = { "backing",
	                      { "none", "raw-short", "raw-long", "v1-short",
	                        "v1-long", "v2-short", "v2-long", "v3-short",
	                        "v3-long", "aes-short", "aes-long" } },
	[QCF_DIM_PREALLOCATION] = { "preallocation",
	                            { "off", "metadata", "falloc", "full" } },
	[QCF_DIM_REFCOUNT_BITS] = { "refcount_bits",
	                            { "none", "1", "2", "4", "8", "16", "32",
	                              "64" } },
	[QCF_DIM_LAZY_REFCOUNTS] = { "lazy_refcounts", { "off", "on" } },
	[QCF_DIM_SNAPSHOT] = { "snapshot", { "no", "yes" } },
};

unsigned int qcf_dimension_values(enum qcf_dimension dimension)
{
	unsigned int count = 0;

	while (dimensions[dimension].values[count])
		count++;
	return count;
}

struct qcf_traits qcf_spec_traits(const struct qcf_spec *spec)
{
	const uint8_t *v = spec->value;
	unsigned int encryption = v[QCF_DIM_ENCRYPTION];
	unsigned int backing = v[QCF_DIM_BACKING];
	bool luks = encryption >= ENCRYPTION_FIRST_LUKS;

	return (struct qcf_traits){
		.version = v[QCF_DIM_VERSION] + 1u,
		.cluster_size = cluster_sizes[v[QCF_DIM_CLUSTER_SIZE]],
		.compressed_writes = v[QCF_DIM_COMPRESSION] != COMPRESSION_NONE,
		.compression_type = v[QCF_DIM_COMPRESSION] == COMPRESSION_ZSTD,
		.encryption =
			luks ? QCOWFMT_ENCRYPTION_LUKS : (int32_t)encryption,
		.luks = luks ? &luks_kinds[encryption - ENCRYPTION_FIRST_LUKS]
		             : NULL,
		.extended_l2 = v[QCF_DIM_EXTENDED_L2] != 0,
		.data_file = v[QCF_DIM_DATA_FILE] != DATA_FILE_NONE,
		.raw_data_file = v[QCF_DIM_DATA_FILE] == DATA_FILE_RAW,
		.backing = (enum qcf_backing_kind)((backing + 1) / 2),
		.backing_is_long = backing != 0 && backing % 2 == 0,
		.preallocation = v[QCF_DIM_PREALLOCATION],
		.preallocation_name = dimensions[QCF_DIM_PREALLOCATION]
		                              .values[v[QCF_DIM_PREALLOCATION]],
		.refcount_bits = refcount_bits[v[QCF_DIM_REFCOUNT_BITS]],
		.lazy_refcounts = v[QCF_DIM_LAZY_REFCOUNTS] != 0,
		.snapshot = v[QCF_DIM_SNAPSHOT] != 0,
	};
}

static bool version_allows(const struct qcf_traits *t)
{
	switch (t->version) {
	case 1:
		return t->cluster_size <= 65536 && t->compression_type == 0 &&
		       t->encryption != QCOWFMT_ENCRYPTION_LUKS &&
		       t->refcount_bits == 0 && t->preallocation == 0 &&
		       !t->extended_l2 && !t->data_file && !t->lazy_refcounts &&
		       !t->snapshot;
	case 2:
		return t->compression_type == 0 && t->refcount_bits == 16 &&
		       !t->extended_l2 && !t->data_file && !t->lazy_refcounts;
	default:
		return t->refcount_bits != 0 &&
		       (t->compression_type == 0 || built_with_zstd());
	}
}

/* Counts double with a snapshot, and small clusters pack many into one. */
static bool snapshot_allows(const struct qcf_traits *t)
{
	return !t->snapshot ||
	       (!t->data_file && t->refcount_bits > 1 &&
	        (!t->compressed_writes || t->refcount_bits >= 8));
}

bool qcf_spec_is_legal(const struct qcf_spec *spec)
{
	struct qcf_traits t = qcf_spec_traits(spec);
	bool backed = t.backing != QCF_BACKING_NONE;

	if (!version_allows(&t) || !snapshot_allows(&t))
		return false;
	if (t.compressed_writes && (t.encryption != 0 || t.data_file))
		return false;
	if (t.extended_l2 && t.cluster_size < 16384)
		return false;
	if (t.raw_data_file && backed)
		return false;
	return t.preallocation == 0 || !backed || t.extended_l2;
}

bool qcf_can_be_created(const struct qcf_traits *traits)
{
	if (traits->version > 1)
		return true;
	return traits->cluster_size ==
	       (traits->backing == QCF_BACKING_NONE ? 4096 : 512);
}

void qcf_spec_print(const struct qcf_spec *spec, char out[QCF_SPEC_SIZE])
{
	size_t used = 0;
	int d;

	for (d = 0; d < QCF_DIMENSIONS && used < QCF_SPEC_SIZE; d++)
		used += (size_t)snprintf(out + used, QCF_SPEC_SIZE - used,
		                         "%s%s=%s", d ? "," : "",
		                         dimensions[d].name,
		                         dimensions[d].values[spec->value[d]]);
}

static bool parse_value(int d, const char *text, struct qcf_spec *spec)
{
	unsigned int i;

	for (i = 0; dimensions[d].values[i]; i++) {
		if (strcmp(text, dimensions[d].values[i]) == 0) {
			spec->value[d] = (uint8_t)i;
			return true;
		}
	}
	fprintf(stderr, "%s cannot be %s\n", dimensions[d].name, text);
	return false;
}

static bool parse_item(const char *item, struct qcf_spec *spec)
{
	size_t len;
	int d;

	for (d = 0; d < QCF_DIMENSIONS; d++) {
		len = strlen(dimensions[d].name);
		if (strncmp(item, dimensions[d].name, len) == 0 &&
		    item[len] == '=')
			return parse_value(d, item + len + 1, spec);
	}
	fprintf(stderr, "nothing is called %s\n", item);
	return false;
}

bool qcf_spec_parse(const char *text, struct qcf_spec *spec)
{
	char copy[QCF_SPEC_SIZE * 2];
	char *rest = copy;
	const char *item;

	snprintf(copy, sizeof(copy), "%s", text);
	memset(spec, 0, sizeof(*spec));
	while ((item = strsep(&rest, ",")) != NULL) {
		if (!parse_item(item, spec))
			return false;
	}
	if (qcf_spec_is_legal(spec))
		return true;
	fprintf(stderr, "there are no such images: %s\n", text);
	return false;
}

uint64_t qcf_spec_hash(const struct qcf_spec *spec)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	int d;

	for (d = 0; d < QCF_DIMENSIONS; d++)
		hash = (hash ^ spec->value[d]) * UINT64_C(0x100000001b3);
	return hash;
}
