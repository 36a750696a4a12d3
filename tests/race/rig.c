/* SPDX-License-Identifier: MIT */
/* rig.c - an image under stress, in a file or in memory */
#include "rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "approve.h"
#include "run.h"
#include "scratch.h"

/*
 * The caches are so small that tables are evicted and written early; with
 * 512-byte clusters many of them share what is evicted.
 */
const struct qcf_rig_shape qcf_rig_shapes[] = {
	{ true, 512, 2 << 20, 3, 16, false, 65536 },
	{ true, 4096, 16 << 20, 3, 16, false, 0 },
	{ true, 65536, 48 << 20, 3, 1, false, 65536 },
	{ false, 512, 2 << 20, 3, 64, false, 32768 },
	{ false, 4096, 16 << 20, 2, 16, false, 65536 },
	{ false, 65536, 48 << 20, 3, 16, true, 0 },
};
const int qcf_rig_shape_count =
	(int)(sizeof(qcf_rig_shapes) / sizeof(qcf_rig_shapes[0]));

static struct qcowfmt_create_options create_options(
	const struct qcf_rig_shape *s)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = s->size,
		.version = s->version,
		.cluster_size = s->cluster_size,
		.refcount_bits = s->refcount_bits,
		.flags = s->lazy_refcounts ? QCOWFMT_CREATE_LAZY_REFCOUNTS : 0,
	};

	return options;
}

static struct qcowfmt_open_options open_options(const struct qcf_rig_shape *s)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.cache_size = s->cache_size,
	};

	return options;
}

static bool open_in_memory(struct qcf_rig *rig, struct qcf_finding *finding)
{
	struct qcowfmt_create_options create = create_options(&rig->shape);
	struct qcowfmt_open_options options = open_options(&rig->shape);
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_storage_new_memory(0, &storage, &error);

	if (ret == 0)
		ret = qcowfmt_create(storage, &create, &error);
	if (ret == 0)
		ret = qcowfmt_open(storage, &options, &rig->image, &error);
	if (ret == 0)
		return true;
	qcowfmt_storage_free(storage);
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

bool qcf_rig_fini(struct qcf_rig *rig, struct qcf_finding *finding)
{
	if (rig->shape.in_memory)
		return qcf_rig_flush(rig, finding) &&
		       qcf_check_is_clean(rig->image, true, finding) &&
		       close_image(rig, finding);
	if (!close_image(rig, finding) ||
	    !qcf_library_approves(rig->path, finding))
		return false;
	if (qcf_program_exists("qemu-img") &&
	    !qcf_qemu_approves(rig->path, finding))
		return false;
	unlink(rig->path);
	return true;
}

void qcf_rig_print(const struct qcf_rig_shape *s, char *out, size_t size)
{
	snprintf(out, size,
	         "%s, v%u, clusters of %" PRIu64
	         ", %u-bit refcounts%s, cache %" PRIu64,
	         s->in_memory ? "memory" : "file", s->version, s->cluster_size,
	         s->refcount_bits, s->lazy_refcounts ? ", lazy" : "",
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
