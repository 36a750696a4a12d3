/* SPDX-License-Identifier: MIT */
/*
 * overlay.c - a thin copy of an image, and who decides what may be opened
 *
 *   overlay DIRECTORY
 *
 * An overlay holds only what was written to it and names a backing file for
 * the rest.  That name comes out of the image, so whoever made the image chose
 * it; a program that followed it blindly would read any file of the host for a
 * stranger.  This program opens the same overlay three times: by default,
 * which is refused; with a policy that stays beneath the directory of the
 * image; and with a callback that decides about each name itself.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qcowfmt.h>

#define DISK_SIZE (16u << 20)

static const char base_text[] = "written to the base";
static const char top_text[] = "written to the overlay";

struct vetting {
	const char *allowed_name; /* the only name that is let through */
	const char *path;         /* where that file is */
	int asked;                /* how often the library asked */
};

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static int create(const char *path, const char *backing_filename)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = DISK_SIZE,
		.backing_filename = backing_filename,
		/* Always declare it: a format found by probing is the guest's
		 * choice, not yours. */
		.backing_format = backing_filename ? "qcow2" : NULL,
	};
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_create_file(path, &options, &error) < 0)
		return report("create", error);
	return 0;
}

/* Write text at offset through an image opened with the given policy. */
static int write_text(const char *path, int policy, const char *text,
                      size_t len, uint64_t offset)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = policy,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		return report("open for writing", error);
	if (qcowfmt_pwrite(image, text, len, offset, &error) < 0) {
		qcowfmt_close(image, NULL);
		return report("write", error);
	}
	if (qcowfmt_close(image, &error) < 0)
		return report("close", error);
	return 0;
}

static int refused_by_default(const char *path)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	if (qcowfmt_open_file(path, NULL, &image, &error) == 0) {
		fprintf(stderr, "the default opened a backing file\n");
		qcowfmt_close(image, NULL);
		return 1;
	}
	if (qcowfmt_error_code(error) != QCOWFMT_ERR_REFUSED)
		return report("not the expected error", error);
	printf("by default: %s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 0;
}

/* Called once for each file that the chain names. */
static int vet(void *opaque, const struct qcowfmt_reference *reference,
               struct qcowfmt_storage **storage, int32_t *format)
{
	struct vetting *vetting = opaque;
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_READ_ONLY,
	};

	vetting->asked++;
	if (strcmp(reference->name, vetting->allowed_name) != 0)
		return -EACCES;
	*format = QCOWFMT_FORMAT_QCOW2;
	return qcowfmt_storage_open_file(vetting->path, &options, storage,
	                                 NULL);
}

static int read_both(const char *path, struct vetting *vetting)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_CALLBACK,
		.reference_callback = vet,
		.reference_opaque = vetting,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	char low[sizeof(base_text)];
	char high[sizeof(top_text)];

	if (qcowfmt_open_file(path, &options, &image, &error) < 0)
		return report("open with a callback", error);
	if (qcowfmt_pread(image, low, sizeof(low), 0, &error) < 0 ||
	    qcowfmt_pread(image, high, sizeof(high), DISK_SIZE / 2, &error) <
	            0) {
		qcowfmt_close(image, NULL);
		return report("read", error);
	}
	qcowfmt_close(image, NULL);
	if (memcmp(low, base_text, sizeof(low)) != 0 ||
	    memcmp(high, top_text, sizeof(high)) != 0 || vetting->asked != 1) {
		fprintf(stderr, "the chain does not read as it was written\n");
		return 1;
	}
	printf("through the overlay: \"%s\" and \"%s\"\n", low, high);
	return 0;
}

int main(int argc, char **argv)
{
	char base[4096];
	char top[4096];
	struct vetting vetting = { .allowed_name = "base.qcow2", .path = base };

	if (argc != 2 || strlen(argv[1]) > sizeof(base) - 32) {
		fprintf(stderr, "usage: overlay DIRECTORY\n");
		return 2;
	}
	snprintf(base, sizeof(base), "%s/base.qcow2", argv[1]);
	snprintf(top, sizeof(top), "%s/overlay.qcow2", argv[1]);

	if (create(base, NULL) || write_text(base, QCOWFMT_REFERENCES_REFUSE,
	                                     base_text, sizeof(base_text), 0))
		return 1;
	/* The name is stored as given; a relative one is looked up beside the
	 * overlay, so the two files can move together. */
	if (create(top, "base.qcow2") || refused_by_default(top) ||
	    write_text(top, QCOWFMT_REFERENCES_BENEATH, top_text,
	               sizeof(top_text), DISK_SIZE / 2))
		return 1;
	return read_both(top, &vetting);
}
