/* SPDX-License-Identifier: MIT */
/* layer_create.c - making the image of a layer, by the library or by QEMU */
#include "layer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge_v1.h"
#include "run.h"

static const char *encryption_name(const struct qcf_shape *s)
{
	if (s->encryption == QCOWFMT_ENCRYPTION_NONE)
		return "";
	return s->encryption == QCOWFMT_ENCRYPTION_AES ? ", aes" : ", luks";
}

static const char *data_file_name(const struct qcf_shape *s)
{
	if (s->data_file == QCF_DATA_INSIDE)
		return "";
	return s->data_file == QCF_DATA_FILE ? ", data file"
	                                     : ", raw data file";
}

void qcf_shape_print(const struct qcf_shape *s, char *out, size_t size)
{
	static const char *const makers[] = {
		[QCF_MADE_BY_LIBRARY] = "library",
		[QCF_MADE_BY_QEMU] = "qemu",
		[QCF_MADE_BY_HAND] = "hand",
	};

	if (s->raw)
		snprintf(out, size, "raw, %" PRIu64 " bytes", s->size);
	else
		snprintf(out, size,
		         "v%u, clusters of %" PRIu64
		         ", %u-bit refcounts%s%s%s%s%s%s, preallocation %s, "
		         "%" PRIu64 " bytes, made by %s",
		         s->version, s->cluster_size, s->refcount_bits,
		         s->lazy_refcounts ? ", lazy" : "",
		         s->extended_l2 ? ", subclusters" : "",
		         s->compresses ? ", compressing" : "",
		         s->zstd ? " with zstd" : "", data_file_name(s),
		         encryption_name(s),
		         s->preallocation ? s->preallocation : "off", s->size,
		         makers[s->maker]);
}

const char *qcf_layer_driver(const struct qcf_layer *layer)
{
	if (layer->shape.raw)
		return "raw";
	return layer->shape.version == 1 ? "qcow" : "qcow2";
}

const char *qcf_layer_secret(const struct qcf_layer *layer)
{
	return !layer->shape.raw && layer->shape.encryption ? layer->secret
	                                                    : NULL;
}

/* Each algorithm of each kind once; the first are the defaults. */
static const struct {
	const char *cipher, *mode, *ivgen, *ivgen_hash, *hash;
} luks_kinds[] = {
	{ "aes-256", "xts", "plain64", NULL, "sha256" },
	{ "aes-128", "cbc", "essiv", "sha256", "sha1" },
	{ "serpent-256", "xts", "plain64", NULL, "sha512" },
	{ "twofish-256", "cbc", "plain", NULL, "ripemd160" },
	{ "cast5-128", "cbc", "plain64", NULL, "md5" },
	{ "aes-256", "ecb", "plain64", NULL, "sha224" },
	{ "aes-128", "ctr", "plain64", NULL, "sha384" },
};

#define LUKS_KINDS (int)(sizeof(luks_kinds) / sizeof(luks_kinds[0]))

static void choose_encryption(const struct qcf_layer *layer,
                              struct qcowfmt_encryption_options *options)
{
	int kind = layer->shape.luks % LUKS_KINDS;

	*options = (struct qcowfmt_encryption_options){
		.struct_size = sizeof(*options),
		.encryption = layer->shape.encryption,
		.secret = layer->secret,
		.secret_len = strlen(layer->secret),
	};
	if (layer->shape.encryption != QCOWFMT_ENCRYPTION_LUKS)
		return;
	options->iter_time_ms = 1;
	options->cipher_alg = luks_kinds[kind].cipher;
	options->cipher_mode = luks_kinds[kind].mode;
	options->ivgen_alg = luks_kinds[kind].ivgen;
	options->ivgen_hash_alg = luks_kinds[kind].ivgen_hash;
	options->hash_alg = luks_kinds[kind].hash;
}

static uint32_t create_flags(const struct qcf_shape *s)
{
	return (s->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0) |
	       (s->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0) |
	       (s->data_file == QCF_DATA_FILE_RAW ? QCOWFMT_CREATE_DATA_FILE_RAW
	                                          : 0);
}

static int32_t preallocation_of(const struct qcf_shape *s)
{
	static const char *const names[] = { "off", "metadata", "falloc",
		                             "full" };
	int i;

	for (i = 0; i < 4; i++) {
		if (s->preallocation && strcmp(s->preallocation, names[i]) == 0)
			return i;
	}
	return QCOWFMT_PREALLOCATION_OFF;
}

static bool create_with_library(const struct qcf_layer *layer,
                                const struct qcf_layer *backing,
                                struct qcf_finding *finding)
{
	const struct qcf_shape *s = &layer->shape;
	bool v1 = s->version == 1;
	struct qcowfmt_encryption_options encryption;
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = s->size,
		.format = v1 ? QCOWFMT_FORMAT_QCOW : QCOWFMT_FORMAT_QCOW2,
		.version = v1 ? 0 : s->version,
		.cluster_size = s->cluster_size,
		.refcount_bits = v1 ? 0 : s->refcount_bits,
		.flags = create_flags(s),
		.backing_filename = backing ? backing->name : NULL,
		.backing_format =
			backing && !v1 ? qcf_layer_driver(backing) : NULL,
		.compression_type = s->zstd ? 1 : 0,
		.preallocation = preallocation_of(s),
		.data_filename = s->data_file ? layer->data_path : NULL,
		.encryption = s->encryption ? &encryption : NULL,
	};
	int ret;

	choose_encryption(layer, &encryption);
	ret = qcowfmt_create_file(layer->path, &options, &error);
	return ret < 0 ? qcf_found_error(finding, "create", ret, error) : true;
}

static void add_option(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_option(char *out, size_t size, const char *format, ...)
{
	size_t used = strlen(out);
	va_list args;

	if (used > 0 && used < size - 1) {
		strcat(out, ",");
		used++;
	}
	va_start(args, format);
	vsnprintf(out + used, size - used, format, args);
	va_end(args);
}

static void print_encryption(const struct qcf_shape *s, char *out, size_t size)
{
	int kind = s->luks % LUKS_KINDS;

	add_option(out, size, "encrypt.format=%s,encrypt.key-secret=secret0",
	           s->encryption == QCOWFMT_ENCRYPTION_AES ? "aes" : "luks");
	if (s->encryption != QCOWFMT_ENCRYPTION_LUKS)
		return;
	add_option(out, size,
	           "encrypt.iter-time=1,encrypt.cipher-alg=%s,"
	           "encrypt.cipher-mode=%s,encrypt.ivgen-alg=%s,"
	           "encrypt.hash-alg=%s",
	           luks_kinds[kind].cipher, luks_kinds[kind].mode,
	           luks_kinds[kind].ivgen, luks_kinds[kind].hash);
	if (luks_kinds[kind].ivgen_hash)
		add_option(out, size, "encrypt.ivgen-hash-alg=%s",
		           luks_kinds[kind].ivgen_hash);
}

static void print_options(const struct qcf_layer *layer, char *out, size_t size)
{
	const struct qcf_shape *s = &layer->shape;

	out[0] = '\0';
	if (s->version > 1)
		add_option(out, size,
		           "compat=%s,cluster_size=%" PRIu64
		           ",refcount_bits=%u,lazy_refcounts=%s",
		           s->version == 2 ? "0.10" : "1.1", s->cluster_size,
		           s->refcount_bits, s->lazy_refcounts ? "on" : "off");
	if (s->extended_l2)
		add_option(out, size, "extended_l2=on");
	if (s->zstd)
		add_option(out, size, "compression_type=zstd");
	if (s->data_file)
		add_option(out, size, "data_file=%s,data_file_raw=%s",
		           layer->data_path,
		           s->data_file == QCF_DATA_FILE_RAW ? "on" : "off");
	if (s->encryption)
		print_encryption(s, out, size);
	if (s->preallocation)
		add_option(out, size, "preallocation=%s", s->preallocation);
}

static bool create_with_qemu(const struct qcf_layer *layer,
                             const struct qcf_layer *backing,
                             struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = {
		"qemu-img", "create", "-q", "-u", "-f", qcf_layer_driver(layer)
	};
	char options[QCF_PATH_SIZE + 512];
	char object[64];
	char size[32];
	int n = 6;

	print_options(layer, options, sizeof(options));
	snprintf(size, sizeof(size), "%" PRIu64, layer->shape.size);
	snprintf(object, sizeof(object), "secret,id=secret0,data=%s",
	         layer->secret);
	if (options[0] != '\0') {
		argv[n++] = "-o";
		argv[n++] = options;
	}
	if (layer->shape.encryption) {
		argv[n++] = "--object";
		argv[n++] = object;
	}
	if (backing) {
		argv[n++] = "-b";
		argv[n++] = backing->name;
		argv[n++] = "-F";
		argv[n++] = qcf_layer_driver(backing);
	}
	argv[n++] = layer->path;
	argv[n++] = size;
	return qcf_run_ok(argv, NULL, QCF_FOUND_HARNESS, finding);
}

static bool create_raw(const struct qcf_layer *layer,
                       struct qcf_finding *finding)
{
	struct qcf_oracle file = { .fd = -1 };
	bool good = qcf_oracle_create(&file, layer->path, layer->shape.size,
	                              finding);

	qcf_oracle_close(&file);
	return good;
}

static bool create_by_hand(const struct qcf_layer *layer,
                           const struct qcf_layer *backing,
                           struct qcf_finding *finding)
{
	struct forged_v1 v1 = {
		.l2_bits = layer->shape.l2_bits,
		.virtual_size = layer->shape.size,
		.crypt_method = (uint32_t)layer->shape.encryption,
		.backing = backing ? backing->name : NULL,
	};
	FILE *file = fopen(layer->path, "w");
	uint8_t *bytes;
	size_t len;
	bool good;

	while (UINT64_C(1) << v1.cluster_bits < layer->shape.cluster_size)
		v1.cluster_bits++;
	bytes = forge_v1(&v1, &len);
	good = file && fwrite(bytes, 1, len, file) == len;
	if (file)
		good = fclose(file) == 0 && good;
	free(bytes);
	return good ? true
	            : qcf_found(finding, QCF_FOUND_HARNESS, "cannot make %s",
	                        layer->path);
}

bool qcf_layer_create(const struct qcf_layer *layer,
                      const struct qcf_layer *backing,
                      struct qcf_finding *finding)
{
	if (layer->shape.raw)
		return create_raw(layer, finding);
	if (layer->shape.maker == QCF_MADE_BY_HAND)
		return create_by_hand(layer, backing, finding);
	if (layer->shape.maker == QCF_MADE_BY_QEMU || qcf_subject_is_qemu())
		return create_with_qemu(layer, backing, finding);
	return create_with_library(layer, backing, finding);
}
