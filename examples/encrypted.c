/* SPDX-License-Identifier: MIT */
/*
 * encrypted.c - an encrypted disk, and a compressed copy to keep
 *
 *   encrypted DIRECTORY
 *
 * Makes DIRECTORY/secret.qcow2, encrypted with LUKS, and packs it into
 * DIRECTORY/packed.qcow2, which is compressed and in clear: encrypted data does
 * not get smaller.
 *
 * What to take away: a passphrase is bytes, without a terminator; the library
 * keeps its copy in locked memory and wipes it.  A program that opens chains,
 * or that asks its user, gives a callback instead.  Compressed data is written
 * in whole clusters.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcowfmt.h>

#define DISK_SIZE    (64u << 20)
#define CLUSTER_SIZE (64u << 10)
#define DATA_SIZE    (4u << 20)

static const char passphrase[] = "correct horse battery staple";

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

/* ---------------------------------------------------------------- encrypted */

static int create_encrypted(const char *path)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.secret = passphrase,
		.secret_len = strlen(passphrase),
		/* For a demonstration.  The default makes every guess at the
		 * passphrase cost two seconds. */
		.iter_time_ms = 50,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK_SIZE,
		.encryption = &encryption,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

/* A real one would ask the user, who may know only some of the passphrases of a
 * chain: request->name says which image it is for. */
static int64_t ask(void *opaque, const struct qcowfmt_secret_request *request,
                   void *buffer, size_t room)
{
	const char *answer = opaque;
	size_t len = strlen(answer);

	printf("asked for the passphrase of image %u of the chain\n",
	       (unsigned int)request->depth);
	if (len > room)
		return -EINVAL;
	memcpy(buffer, answer, len);
	return (int64_t)len;
}

static int open_encrypted(const char *path, const char *answer, uint32_t flags,
                          struct qcowfmt_image **image,
                          struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.secret_callback = ask,
		/* The callback only reads it. */
		.secret_opaque = (void *)(uintptr_t)answer,
	};

	return qcowfmt_open_file(path, &options, image, errp);
}

static int fill(const char *path)
{
	char *data = malloc(DATA_SIZE);
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int status = 0;

	if (data == NULL)
		return 1;
	memset(data, 'x', DATA_SIZE);
	if (open_encrypted(path, passphrase, QCOWFMT_OPEN_READ_WRITE, &image,
	                   &error) < 0)
		status = report("open for writing", error);
	else if (qcowfmt_pwrite(image, data, DATA_SIZE, 0, &error) < 0)
		status = report("write", error);
	free(data);
	error = NULL;
	if (qcowfmt_close(image, &error) < 0)
		status = report("close", error);
	return status;
}

/* A wrong passphrase is told from other trouble by its code. */
static int try_wrong(const char *path)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int code;

	if (open_encrypted(path, "guess", 0, &image, &error) == 0) {
		fprintf(stderr, "opened with a wrong passphrase\n");
		qcowfmt_close(image, NULL);
		return 1;
	}
	code = qcowfmt_error_code(error);
	if (code != QCOWFMT_ERR_WRONG_SECRET)
		return report("open with a wrong passphrase", error);
	printf("refused: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 0;
}

/* --------------------------------------------------------------- compressed */

static int create_packed(const char *path, struct qcowfmt_image **image)
{
	struct qcowfmt_create_options create = {
		.struct_size = sizeof(create),
		.virtual_size = DISK_SIZE,
		.cluster_size = CLUSTER_SIZE,
	};
	struct qcowfmt_open_options open = {
		.struct_size = sizeof(open),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.compression_level = 9,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &create, &error) < 0)
		return report("create the packed image", error);
	if (qcowfmt_open_file(path, &open, image, &error) < 0)
		return report("open the packed image", error);
	return 0;
}

/* Copy one extent, cluster by cluster; zeros need not be written. */
static int pack_extent(struct qcowfmt_image *from, struct qcowfmt_image *to,
                       const struct qcowfmt_extent *extent,
                       struct qcowfmt_error **errp)
{
	static char cluster[CLUSTER_SIZE];
	uint64_t offset = extent->guest_offset;
	uint64_t end = offset + extent->length;
	int ret = 0;

	if (extent->kind == QCOWFMT_EXTENT_UNALLOCATED ||
	    extent->kind == QCOWFMT_EXTENT_ZERO)
		return 0;
	for (; ret == 0 && offset < end; offset += CLUSTER_SIZE) {
		ret = qcowfmt_pread(from, cluster, CLUSTER_SIZE, offset, errp);
		if (ret == 0)
			ret = qcowfmt_pwrite_compressed(
				to, cluster, CLUSTER_SIZE, offset, errp);
	}
	return ret;
}

/* Both images have clusters of the same size, so that extents end at them. */
static int pack(struct qcowfmt_image *from, struct qcowfmt_image *to)
{
	struct qcowfmt_error *error = NULL;
	uint64_t offset = 0;

	while (offset < DISK_SIZE) {
		struct qcowfmt_extent extent;

		if (qcowfmt_map(from, offset, DISK_SIZE - offset, 0, &extent, 1,
		                &error) < 0)
			return report("map", error);
		if (pack_extent(from, to, &extent, &error) < 0)
			return report("pack", error);
		offset = extent.guest_offset + extent.length;
	}
	return 0;
}

static int print_result(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_flush(image, &error) < 0)
		return report("flush", error);
	if (qcowfmt_get_info(image, 0, &info, &error) < 0)
		return report("info", error);
	printf("packed %llu bytes of disk into %llu bytes\n",
	       (unsigned long long)info.virtual_size,
	       (unsigned long long)info.file_size);
	return 0;
}

static int pack_file(const char *secret_path, const char *packed_path)
{
	struct qcowfmt_image *from = NULL;
	struct qcowfmt_image *to = NULL;
	struct qcowfmt_error *error = NULL;
	int status;

	if (open_encrypted(secret_path, passphrase, 0, &from, &error) < 0)
		return report("open", error);
	status = create_packed(packed_path, &to);
	if (status == 0)
		status = pack(from, to);
	if (status == 0)
		status = print_result(to);
	if (qcowfmt_close(to, &error) < 0)
		status = report("close the packed image", error);
	qcowfmt_close(from, NULL); /* read-only: there is nothing to lose */
	return status;
}

int main(int argc, char **argv)
{
	char secret_path[4096];
	char packed_path[4096];

	if (argc != 2 || strlen(argv[1]) > 4000) {
		fprintf(stderr, "usage: encrypted DIRECTORY\n");
		return 2;
	}
	snprintf(secret_path, sizeof(secret_path), "%s/secret.qcow2", argv[1]);
	snprintf(packed_path, sizeof(packed_path), "%s/packed.qcow2", argv[1]);
	if (create_encrypted(secret_path) || try_wrong(secret_path) ||
	    fill(secret_path))
		return 1;
	return pack_file(secret_path, packed_path);
}
