/* SPDX-License-Identifier: MIT */
/*
 * map.c - print where the bytes of a virtual disk are
 *
 *   map IMAGE
 *
 * The map tells a backup which ranges hold data at all, a converter what it
 * may skip, and an emulator where it can read without asking again.  One call
 * fills an array; it may cover less than was asked for, so go on where the
 * last extent ends until the whole disk is seen.
 *
 * The policy lets the image follow its backing files beneath its own
 * directory.  Extents carry the depth of the image that holds them: 0 is the
 * one named on the command line, 1 its backing file, and so on.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#include <qcowfmt.h>

#define BATCH 64

static int report(const char *what, struct qcowfmt_error *error)
{
	fprintf(stderr, "%s: %s\n", what, qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return 1;
}

static const char *kind_name(int32_t kind)
{
	switch (kind) {
	case QCOWFMT_EXTENT_UNALLOCATED:
		return "unallocated";
	case QCOWFMT_EXTENT_DATA:
		return "data";
	case QCOWFMT_EXTENT_ZERO:
		return "zero";
	case QCOWFMT_EXTENT_COMPRESSED:
		return "compressed";
	default:
		return "unknown"; /* a newer library may have more kinds */
	}
}

static void print_extent(const struct qcowfmt_extent *extent)
{
	printf("%12" PRIu64 " %12" PRIu64 "  depth %" PRIu32 "  %s",
	       extent->guest_offset, extent->length, extent->depth,
	       kind_name(extent->kind));
	if (extent->flags & QCOWFMT_EXTENT_HOST_OFFSET)
		printf(" at %" PRIu64, extent->host_offset);
	if (extent->flags & QCOWFMT_EXTENT_HOLE)
		printf(", a hole in the file");
	printf("\n");
}

static int print_map(struct qcowfmt_image *image)
{
	struct qcowfmt_extent extents[BATCH];
	struct qcowfmt_error *error = NULL;
	uint64_t size = qcowfmt_get_size(image);
	uint64_t offset = 0;

	printf("%12s %12s\n", "offset", "length");
	while (offset < size) {
		int count =
			qcowfmt_map(image, offset, size - offset,
		                    QCOWFMT_MAP_HOLES, extents, BATCH, &error);

		if (count < 0)
			return report("map", error);
		for (int i = 0; i < count; i++) {
			print_extent(&extents[i]);
			offset = extents[i].guest_offset + extents[i].length;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int failed;

	if (argc != 2) {
		fprintf(stderr, "usage: map IMAGE\n");
		return 2;
	}
	if (qcowfmt_open_file(argv[1], &options, &image, &error) < 0)
		return report("open", error);
	failed = print_map(image);
	qcowfmt_close(image, NULL);
	return failed;
}
