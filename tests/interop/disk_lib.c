/* SPDX-License-Identifier: MIT */
/*
 * disk_lib.c - the library as the disk under test
 *
 * inspect() holds qcowfmt_map() against the oracle: extents without data must
 * be zeros there, and the bytes at a reported host offset, read from the image
 * file directly, must be the guest's bytes.
 */
#include "approve.h"
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcowfmt.h>

#define MAX_PIECES  6
#define MAX_EXTENTS 8
#define PIECE       65536u

struct lib_disk {
	struct qcf_disk disk;
	struct qcf_disk_options options;
	char path[QCF_PATH_SIZE];
	struct qcf_rng rng;
	struct qcowfmt_image *image; /* NULL when closed */
};

static struct lib_disk *from_disk(struct qcf_disk *disk)
{
	return (struct lib_disk *)(void *)disk;
}

static int64_t give_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	const struct lib_disk *lib = opaque;
	const char *secret = request->depth < QCF_MAX_LAYERS
	                             ? lib->options.secrets[request->depth]
	                             : NULL;

	if (!secret || strlen(secret) > room)
		return -ENOKEY;
	memcpy(buffer, secret, strlen(secret));
	return (int64_t)strlen(secret);
}

static bool lib_open(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = lib->options.format ? lib->options.format
		                              : QCOWFMT_FORMAT_QCOW2,
		.flags = lib->options.open_flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
		.discard_mode = lib->options.discard_mode,
		.cache_size = lib->options.cache_size,
		.secret_callback = give_secret,
		.secret_opaque = lib,
		.snapshot_name = lib->options.snapshot,
	};
	int ret;

	if (!lib->options.snapshot)
		options.flags |= QCOWFMT_OPEN_READ_WRITE;
	/* The secret of the image itself is given in one way or the other. */
	if (lib->options.secrets[0] && qcf_rng_percent(&lib->rng, 50)) {
		options.secret = lib->options.secrets[0];
		options.secret_len = strlen(lib->options.secrets[0]);
	}
	ret = qcowfmt_open_file(lib->path, &options, &lib->image, &error);

	if (ret < 0) {
		lib->image = NULL;
		return qcf_found_error(finding, "open", ret, error);
	}
	return true;
}

static bool lib_close(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_close(lib->image, &error);

	lib->image = NULL;
	return ret < 0 ? qcf_found_error(finding, "close", ret, error) : true;
}

/* Cut len bytes into random pieces, of which some are empty. */
static int cut(struct qcf_rng *rng, uint8_t *base, size_t len,
               struct iovec iov[MAX_PIECES])
{
	int count = (int)qcf_rng_between(rng, 1, MAX_PIECES);
	size_t done = 0;
	int i;

	for (i = 0; i < count; i++) {
		size_t left = len - done;
		size_t part =
			i == count - 1 ? left : qcf_rng_below(rng, left + 1);

		iov[i].iov_base = base + done;
		iov[i].iov_len = part;
		done += part;
	}
	return count;
}

static bool lib_read(struct qcf_disk *disk, void *buffer, size_t len,
                     uint64_t offset, struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_error *error = NULL;
	struct iovec iov[MAX_PIECES];
	int count;
	int ret;

	if (qcf_rng_percent(&lib->rng, 70)) {
		ret = qcowfmt_pread(lib->image, buffer, len, offset, &error);
	} else {
		count = cut(&lib->rng, buffer, len, iov);
		ret = qcowfmt_preadv(lib->image, iov, count, offset, &error);
	}
	return ret < 0 ? qcf_found_error(finding, "read", ret, error) : true;
}

/* A vector's elements are not const, but a write must leave them alone. */
static int write_vector(struct lib_disk *lib, const void *buffer, size_t len,
                        uint64_t offset, struct qcowfmt_error **errp)
{
	size_t slip = qcf_rng_below(&lib->rng, 16);
	uint8_t *copy = malloc(len + slip);
	struct iovec iov[MAX_PIECES];
	int count;
	int ret;

	if (!copy)
		return -ENOMEM;
	memcpy(copy + slip, buffer, len);
	count = cut(&lib->rng, copy + slip, len, iov);
	ret = qcowfmt_pwritev(lib->image, iov, count, offset, errp);
	if (ret == 0 && memcmp(copy + slip, buffer, len) != 0)
		ret = -EFAULT;
	free(copy);
	return ret;
}

static bool lib_write(struct qcf_disk *disk, const void *buffer, size_t len,
                      uint64_t offset, struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_error *error = NULL;
	int ret;

	if (qcf_rng_percent(&lib->rng, 70))
		ret = qcowfmt_pwrite(lib->image, buffer, len, offset, &error);
	else
		ret = write_vector(lib, buffer, len, offset, &error);
	return ret < 0 ? qcf_found_error(finding, "write", ret, error) : true;
}

static bool lib_compress(struct qcf_disk *disk, const void *buffer, size_t len,
                         uint64_t offset, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_pwrite_compressed(from_disk(disk)->image, buffer, len,
	                                    offset, &error);

	return ret < 0 ? qcf_found_error(finding, "compress", ret, error)
	               : true;
}

static bool lib_zero(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_write_zeroes(from_disk(disk)->image, offset, len,
	                               may_unmap ? QCOWFMT_ZERO_MAY_UNMAP : 0,
	                               &error);

	return ret < 0 ? qcf_found_error(finding, "zero", ret, error) : true;
}

static bool lib_discard(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                        struct qcf_finding *finding)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_discard(from_disk(disk)->image, offset, len, &error);

	return ret < 0 ? qcf_found_error(finding, "discard", ret, error) : true;
}

static bool lib_flush(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_flush(lib->image, &error);

	if (ret < 0)
		return qcf_found_error(finding, "flush", ret, error);
	/* No corruption may be visible then, even while the image is open. */
	if (lib->options.format == QCOWFMT_FORMAT_QCOW ||
	    !qcf_rng_percent(&lib->rng, 20))
		return true;
	return qcf_check_is_clean(lib->image, true, finding);
}

static bool all_zero(const uint8_t *bytes, uint64_t len)
{
	return len == 0 ||
	       (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static bool map_found(const struct qcowfmt_extent *extent, const char *what,
                      struct qcf_finding *finding)
{
	return qcf_found(
		finding, QCF_FOUND_METADATA,
		"map: extent at %" PRIu64 " of %" PRIu64
		" bytes, kind %d, flags 0x%x, depth %u, host %" PRIu64 ": %s",
		extent->guest_offset, extent->length, extent->kind,
		extent->flags, extent->depth, extent->host_offset, what);
}

/* The host bytes of a data extent must be the guest's bytes. */
static bool host_bytes_match(struct lib_disk *lib,
                             const struct qcf_oracle *oracle,
                             const struct qcowfmt_extent *extent,
                             struct qcf_finding *finding)
{
	static uint8_t bytes[PIECE];
	size_t len = extent->length < PIECE ? extent->length : PIECE;
	const char *path =
		lib->options.data_path ? lib->options.data_path : lib->path;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return map_found(extent, strerror(errno), finding);
	memset(bytes, 0, len);
	got = pread(fd, bytes, len, (off_t)extent->host_offset);
	close(fd);
	if (got < 0)
		return map_found(extent, strerror(errno), finding);
	if (memcmp(bytes, oracle->bytes + extent->guest_offset, len) != 0)
		return map_found(extent, "other bytes at the host offset",
		                 finding);
	return true;
}

static bool extent_is_true(struct lib_disk *lib,
                           const struct qcf_oracle *oracle,
                           const struct qcowfmt_extent *extent,
                           struct qcf_finding *finding)
{
	bool placed = (extent->flags & QCOWFMT_EXTENT_HOST_OFFSET) != 0;

	if (placed != (extent->host_offset != QCOWFMT_NO_OFFSET))
		return map_found(extent, "flag contradicts host offset",
		                 finding);
	switch (extent->kind) {
	case QCOWFMT_EXTENT_UNALLOCATED:
	case QCOWFMT_EXTENT_ZERO:
		if (all_zero(oracle->bytes + extent->guest_offset,
		             extent->length))
			return true;
		return map_found(extent, "the oracle has data here", finding);
	case QCOWFMT_EXTENT_DATA:
		if (!placed)
			return map_found(extent, "data without place", finding);
		if (((extent->flags & QCOWFMT_EXTENT_ENCRYPTED) != 0) !=
		    (lib->options.secrets[extent->depth] != NULL))
			return map_found(extent, "encrypted or not", finding);
		if (extent->depth > 0 ||
		    (extent->flags & QCOWFMT_EXTENT_ENCRYPTED) != 0)
			return true;
		return host_bytes_match(lib, oracle, extent, finding);
	case QCOWFMT_EXTENT_COMPRESSED:
		return placed ? map_found(extent, "compressed and placed",
		                          finding)
		              : true;
	default:
		return map_found(extent, "unexpected kind", finding);
	}
}

/* Check extents that must follow each other from *offset, and move it on. */
static bool extents_are_true(struct lib_disk *lib,
                             const struct qcf_oracle *oracle,
                             const struct qcowfmt_extent *extents, int count,
                             uint64_t *offset, uint64_t end,
                             struct qcf_finding *finding)
{
	int i;

	for (i = 0; i < count; i++) {
		if (extents[i].guest_offset != *offset ||
		    extents[i].length == 0 || extents[i].length > end - *offset)
			return map_found(&extents[i], "out of line", finding);
		if (!extent_is_true(lib, oracle, &extents[i], finding))
			return false;
		*offset += extents[i].length;
	}
	return true;
}

static bool lib_inspect(struct qcf_disk *disk, const struct qcf_oracle *oracle,
                        uint64_t offset, uint64_t len,
                        struct qcf_finding *finding)
{
	struct lib_disk *lib = from_disk(disk);
	struct qcowfmt_extent extents[MAX_EXTENTS];
	struct qcowfmt_error *error = NULL;
	uint64_t end = offset + len;
	int max;
	int ret;

	while (offset < end) {
		max = (int)qcf_rng_between(&lib->rng, 1, MAX_EXTENTS);
		ret = qcowfmt_map(lib->image, offset, end - offset, 0, extents,
		                  max, &error);
		if (ret < 0)
			return qcf_found_error(finding, "map", ret, error);
		if (ret == 0 || ret > max)
			return qcf_found(finding, QCF_FOUND_METADATA,
			                 "map returns %d of at most %d extents",
			                 ret, max);
		if (!extents_are_true(lib, oracle, extents, ret, &offset, end,
		                      finding))
			return false;
	}
	return true;
}

static void lib_free(struct qcf_disk *disk)
{
	struct lib_disk *lib = from_disk(disk);

	qcowfmt_close(lib->image, NULL);
	free(lib);
}

static const struct qcf_disk_verbs lib_verbs = {
	.open = lib_open,
	.close = lib_close,
	.read = lib_read,
	.write = lib_write,
	.compress = lib_compress,
	.zero = lib_zero,
	.discard = lib_discard,
	.flush = lib_flush,
	.inspect = lib_inspect,
	.free = lib_free,
};

struct qcf_disk *qcf_disk_lib_new(const struct qcf_disk_options *options)
{
	struct lib_disk *lib = calloc(1, sizeof(*lib));

	if (!lib)
		abort();
	lib->disk.verbs = &lib_verbs;
	lib->options = *options;
	snprintf(lib->path, sizeof(lib->path), "%s", options->path);
	lib->options.path = lib->path;
	lib->rng = qcf_rng_new(options->seed, 0);
	return &lib->disk;
}

struct qcowfmt_image *qcf_disk_lib_image(struct qcf_disk *disk)
{
	return from_disk(disk)->image;
}

bool qcf_subject_is_qemu(void)
{
	const char *subject = getenv("QCF_SUBJECT");

	return subject && strcmp(subject, "qemu") == 0;
}

struct qcf_disk *qcf_disk_new(const struct qcf_disk_options *options)
{
	return qcf_subject_is_qemu() ? qcf_disk_qemu_new(options)
	                             : qcf_disk_lib_new(options);
}
