/* SPDX-License-Identifier: MIT */
/* rig.c - an image under stress, in a file or in memory */
#include "rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "approve.h"
#include "qemu_image.h"
#include "run.h"
#include "scratch.h"

/*
 * The caches are so small that tables are evicted and written early; with
 * 512-byte clusters many of them share what is evicted.
 */
const struct qcf_rig_shape qcf_rig_shapes[] = {
	{ true, 512, 2 << 20, 3, 16, .cache_size = 65536 },
	{ true, 4096, 16 << 20, 3, 16 },
	{ true, 65536, 48 << 20, 3, 1, .cache_size = 65536 },
	{ false, 512, 2 << 20, 3, 64, .cache_size = 32768 },
	{ false, 4096, 16 << 20, 2, 16, .cache_size = 65536 },
	{ false, 65536, 48 << 20, 3, 16, .lazy_refcounts = true },
};
const int qcf_rig_shape_count =
	(int)(sizeof(qcf_rig_shapes) / sizeof(qcf_rig_shapes[0]));

/* Writers of one sector, one subcluster and one cluster meet. */
const struct qcf_rig_shape qcf_rig_feature_shapes[] = {
	{ true, 16384, 8 << 20, 3, 16, .extended_l2 = true },
	{ false, 65536, 24 << 20, 3, 16, .cache_size = 65536,
	  .extended_l2 = true },
	{ true, 4096, 8 << 20, 3, 16, .encryption = QCOWFMT_ENCRYPTION_AES },
	{ false, 4096, 8 << 20, 3, 16, .encryption = QCOWFMT_ENCRYPTION_LUKS },
	{ true, 32768, 16 << 20, 3, 16, .extended_l2 = true,
	  .encryption = QCOWFMT_ENCRYPTION_LUKS },
	{ true, 4096, 8 << 20, 3, 16, .cache_size = 65536, .data_file = true },
	{ false, 16384, 8 << 20, 3, 16, .extended_l2 = true,
	  .data_file = true },
	{ true, 4096, 8 << 20, 1, 0 },
	{ false, 4096, 4 << 20, 1, 0, .encryption = QCOWFMT_ENCRYPTION_AES },
};
const int qcf_rig_feature_shape_count =
	(int)(sizeof(qcf_rig_feature_shapes) /
              sizeof(qcf_rig_feature_shapes[0]));

#define SECRET "shared by all threads"

static const struct qcowfmt_encryption_options aes = {
	.struct_size = sizeof(aes),
	.encryption = QCOWFMT_ENCRYPTION_AES,
	.secret = SECRET,
	.secret_len = sizeof(SECRET) - 1,
};

static const struct qcowfmt_encryption_options luks = {
	.struct_size = sizeof(luks),
	.encryption = QCOWFMT_ENCRYPTION_LUKS,
	.iter_time_ms = 1,
	.secret = SECRET,
	.secret_len = sizeof(SECRET) - 1,
};

static int32_t format_of(const struct qcf_rig_shape *s)
{
	return s->version == 1 ? QCOWFMT_FORMAT_QCOW : QCOWFMT_FORMAT_QCOW2;
}

static struct qcowfmt_create_options create_options(
	const struct qcf_rig_shape *s)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = s->size,
		.format = format_of(s),
		.version = s->version == 1 ? 0 : s->version,
		.cluster_size = s->cluster_size,
		.refcount_bits = s->refcount_bits,
		.flags = (s->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS
		                            : 0) |
		         (s->extended_l2 ? QCOWFMT_CREATE_EXTENDED_L2 : 0),
	};

	if (s->encryption != QCOWFMT_ENCRYPTION_NONE)
		options.encryption =
			s->encryption == QCOWFMT_ENCRYPTION_AES ? &aes : &luks;
	return options;
}

static struct qcowfmt_open_options open_options(const struct qcf_rig_shape *s)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = format_of(s),
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.cache_size = s->cache_size,
	};

	if (s->encryption != QCOWFMT_ENCRYPTION_NONE) {
		options.secret = SECRET;
		options.secret_len = sizeof(SECRET) - 1;
	}
	return options;
}

static bool open_in_memory(struct qcf_rig *rig, struct qcf_finding *finding)
{
	struct qcowfmt_create_options create = create_options(&rig->shape);
	struct qcowfmt_open_options options = open_options(&rig->shape);
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_storage *data = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_storage_new_memory(0, &storage, &error);

	if (ret == 0 && rig->shape.data_file)
		ret = qcowfmt_storage_new_memory(0, &data, &error);
	create.data_filename = data ? "data" : NULL;
	create.data_storage = data;
	options.data_storage = data;
	if (ret == 0)
		ret = qcowfmt_create(storage, &create, &error);
	if (ret == 0)
		ret = qcowfmt_open(storage, &options, &rig->image, &error);
	if (ret == 0)
		return true;
	qcowfmt_storage_free(storage);
	qcowfmt_storage_free(data);
	return qcf_found_error(finding, "making an image", ret, error);
}

static bool open_file(struct qcf_rig *rig, struct qcf_finding *finding)
{
	struct qcowfmt_open_options options = open_options(&rig->shape);
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_open_file(rig->path, &options, &rig->image, &error);

	return ret == 0 ? true : qcf_found_error(finding, "open", ret, error);
}

bool qcf_rig_init(struct qcf_rig *rig, const struct qcf_rig_shape *shape,
                  struct qcf_finding *finding)
{
	struct qcowfmt_create_options create = create_options(shape);
	struct qcowfmt_error *error = NULL;
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->shape = *shape;
	if (shape->in_memory)
		return open_in_memory(rig, finding);
	snprintf(rig->path, sizeof(rig->path), "%s-%d", scratch_path("rig"),
	         (int)getpid());
	snprintf(rig->data_path, sizeof(rig->data_path), "%s.data", rig->path);
	if (shape->data_file)
		create.data_filename = rig->data_path;
	ret = qcowfmt_create_file(rig->path, &create, &error);
	if (ret < 0)
		return qcf_found_error(finding, "create", ret, error);
	return open_file(rig, finding);
}

static bool close_image(struct qcf_rig *rig, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_close(rig->image, &error);

	rig->image = NULL;
	return ret == 0 ? true : qcf_found_error(finding, "close", ret, error);
}

bool qcf_rig_reopen(struct qcf_rig *rig, struct qcf_finding *finding)
{
	if (rig->shape.in_memory)
		return true;
	return close_image(rig, finding) && open_file(rig, finding);
}

static bool qemu_approves(const struct qcf_rig *rig,
                          struct qcf_finding *finding)
{
	struct qcf_qemu_image image;

	if (!qcf_program_exists("qemu-img"))
		return true;
	qcf_qemu_image_init(&image, "qcow2", rig->path);
	if (rig->shape.encryption != QCOWFMT_ENCRYPTION_NONE)
		qcf_qemu_image_add(&image, "", NULL, NULL, SECRET);
	return qcf_qemu_image_approves(&image, finding);
}

/* Version 1 has nothing to check but its content. */
static bool is_sound(struct qcf_rig *rig, struct qcf_finding *finding)
{
	return rig->shape.version == 1 ||
	       qcf_check_is_clean(rig->image, true, finding);
}

bool qcf_rig_fini(struct qcf_rig *rig, struct qcf_finding *finding)
{
	if (rig->shape.in_memory)
		return qcf_rig_flush(rig, finding) && is_sound(rig, finding) &&
		       close_image(rig, finding);
	if (!close_image(rig, finding))
		return false;
	if (rig->shape.version > 1 &&
	    (!qcf_library_approves(rig->path, finding) ||
	     !qemu_approves(rig, finding)))
		return false;
	unlink(rig->path);
	if (rig->shape.data_file)
		unlink(rig->data_path);
	return true;
}

bool qcf_rig_compresses(const struct qcf_rig *rig)
{
	return rig->shape.encryption == QCOWFMT_ENCRYPTION_NONE &&
	       !rig->shape.data_file;
}

void qcf_rig_print(const struct qcf_rig_shape *s, char *out, size_t size)
{
	snprintf(out, size,
	         "%s, v%u, clusters of %" PRIu64
	         ", %u-bit refcounts%s%s%s, encryption %d, cache %" PRIu64,
	         s->in_memory ? "memory" : "file", s->version, s->cluster_size,
	         s->refcount_bits, s->lazy_refcounts ? ", lazy" : "",
	         s->extended_l2 ? ", subclusters" : "",
	         s->data_file ? ", data file" : "", s->encryption,
	         s->cache_size);
}

bool qcf_rig_read(struct qcf_rig *rig, void *buffer, size_t len,
                  uint64_t offset, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_pread(rig->image, buffer, len, offset, &error);

	return ret == 0 ? true : qcf_found_error(finding, "read", ret, error);
}

bool qcf_rig_write(struct qcf_rig *rig, const void *buffer, size_t len,
                   uint64_t offset, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_pwrite(rig->image, buffer, len, offset, &error);

	return ret == 0 ? true : qcf_found_error(finding, "write", ret, error);
}

bool qcf_rig_compress(struct qcf_rig *rig, const void *buffer, size_t len,
                      uint64_t offset, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_pwrite_compressed(rig->image, buffer, len, offset,
	                                    &error);

	return ret == 0 ? true
	                : qcf_found_error(finding, "compress", ret, error);
}

bool qcf_rig_zero(struct qcf_rig *rig, uint64_t offset, uint64_t len,
                  bool may_unmap, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_write_zeroes(rig->image, offset, len,
	                               may_unmap ? QCOWFMT_ZERO_MAY_UNMAP : 0,
	                               &error);

	return ret == 0 ? true : qcf_found_error(finding, "zero", ret, error);
}

bool qcf_rig_discard(struct qcf_rig *rig, uint64_t offset, uint64_t len,
                     struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_discard(rig->image, offset, len, &error);

	return ret == 0 ? true
	                : qcf_found_error(finding, "discard", ret, error);
}

bool qcf_rig_flush(struct qcf_rig *rig, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(rig->image, &error);

	return ret == 0 ? true : qcf_found_error(finding, "flush", ret, error);
}
