/* SPDX-License-Identifier: MIT */
/*
 * make_images.c - images whose every byte follows from this file
 *
 *   make_images DIRECTORY        make one image of each kind, with all operations
 *   make_images --read FILE...   say what files hold: extents and a digest
 *   make_images --version
 *
 * Run on two machines, the images and what is said about them must be the same:
 * a number that is written in the order of the machine, or cut to its width, shows.
 * What is random otherwise, keys and how long deriving them takes, is put in
 * place of the library's functions by the linker.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcowfmt.h>

#include "luks_keys.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t random_state;
static struct qcowfmt_error *error;

/* -------------------------------------------------- in place of the library's */

int __wrap_qcf_random_bytes(void *bytes, size_t len,
                            struct qcowfmt_error **errp);
int __wrap_qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                             uint64_t *iterations, struct qcowfmt_error **errp);

static uint64_t draw(void)
{
	uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t draw_below(uint64_t limit)
{
	return draw() % limit;
}

int __wrap_qcf_random_bytes(void *bytes, size_t len,
                            struct qcowfmt_error **errp)
{
	(void)errp;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)bytes)[i] = (uint8_t)draw();
	return 0;
}

int __wrap_qcf_kdf_calibrate(const char *hash, size_t key_len, uint32_t time_ms,
                             uint64_t *iterations, struct qcowfmt_error **errp)
{
	(void)hash, (void)key_len, (void)time_ms, (void)errp;
	*iterations = QCF_MIN_ITERATIONS;
	return 0;
}

/* --------------------------------------------------------------- small things */

static void must(int ret, const char *what)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "make_images: %s: %s\n", what,
	        qcowfmt_error_message(error));
	exit(EXIT_FAILURE);
}

static void *need(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

/* Half of it is easy to compress. */
static void fill(uint8_t *bytes, size_t len)
{
	uint8_t repeated = (uint8_t)draw();

	for (size_t i = 0; i < len; i++)
		bytes[i] = i % 64 < 32 ? repeated : (uint8_t)draw();
}

/* ------------------------------------------------------------------ the images */

struct kind {
	const char *name;
	struct qcowfmt_create_options create;
	bool no_snapshots;
	bool bitmaps;
	bool compressed;
	const char *secret;
};

#define SIZED .struct_size = sizeof(struct qcowfmt_create_options)

static const struct qcowfmt_encryption_options luks = {
	.struct_size = sizeof(luks),
	.encryption = QCOWFMT_ENCRYPTION_LUKS,
	.secret = "secret",
	.secret_len = 6,
	.iter_time_ms = 1,
};

static const struct qcowfmt_encryption_options aes = {
	.struct_size = sizeof(aes),
	.encryption = QCOWFMT_ENCRYPTION_AES,
	.secret = "secret",
	.secret_len = 6,
};

static const struct kind kinds[] = {
	{ "default", { SIZED, .virtual_size = 24 * MIB }, .bitmaps = true },
	{ "small-clusters",
	  { SIZED, .virtual_size = 3 * MIB + 512, .cluster_size = 512 },
	  .bitmaps = true },
	{ "version-2",
	  { SIZED, .virtual_size = 9 * MIB, .version = 2, .cluster_size = 4096,
	    .refcount_bits = 16 } },
	{ "lazy-64-bit-counts",
	  { SIZED, .virtual_size = 9 * MIB, .cluster_size = 8192,
	    .refcount_bits = 64, .flags = QCOWFMT_CREATE_LAZY_REFCOUNTS } },
	{ "8-bit-counts",
	  { SIZED, .virtual_size = 9 * MIB, .cluster_size = 4096,
	    .refcount_bits = 8 },
	  .compressed = true },
	{ "subclusters",
	  { SIZED, .virtual_size = 9 * MIB, .cluster_size = 32768,
	    .flags = QCOWFMT_CREATE_EXTENDED_L2 },
	  .bitmaps = true,
	  .compressed = true },
	{ "zlib",
	  { SIZED, .virtual_size = 9 * MIB, .cluster_size = 16384 },
	  .compressed = true },
	{ "zstd",
	  { SIZED, .virtual_size = 9 * MIB, .cluster_size = 16384,
	    .compression_type = 1 },
	  .compressed = true },
	{ "preallocated",
	  { SIZED, .virtual_size = 5 * MIB, .cluster_size = 4096,
	    .preallocation = QCOWFMT_PREALLOCATION_METADATA } },
	{ "large", { SIZED, .virtual_size = UINT64_C(1) << 45 } },
	{ "luks",
	  { SIZED, .virtual_size = 3 * MIB, .cluster_size = 4096,
	    .encryption = &luks },
	  .secret = "secret" },
	{ "aes",
	  { SIZED, .virtual_size = 3 * MIB, .cluster_size = 4096,
	    .encryption = &aes },
	  .secret = "secret" },
	{ "version-1",
	  { SIZED, .virtual_size = 3 * MIB, .format = QCOWFMT_FORMAT_QCOW },
	  .no_snapshots = true,
	  .compressed = true },
};

static struct qcowfmt_image *open_image(const char *path, uint32_t flags,
                                        const char *secret)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_BENEATH,
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
		.secret = secret,
		.secret_len = secret == NULL ? 0 : strlen(secret),
	};
	struct qcowfmt_image *image = NULL;

	must(qcowfmt_open_file(path, &options, &image, &error), path);
	return image;
}

static void one_write(struct qcowfmt_image *image, const struct kind *kind)
{
	uint64_t size = qcowfmt_get_size(image);
	uint64_t offset = draw_below(size);
	uint64_t len =
		1 + draw_below(size - offset < 150000 ? size - offset : 150000);
	uint8_t *bytes = need(malloc(len));
	uint64_t unit = kind->create.cluster_size;

	fill(bytes, len);
	uint64_t way = draw_below(5);
	uint64_t cluster = unit == 0 ? 0 : offset / unit * unit;

	if (way == 0)
		must(qcowfmt_write_zeroes(image, offset, len,
		                          (uint32_t)draw_below(2), &error),
		     "write_zeroes");
	else if (way == 1)
		must(qcowfmt_discard(image, offset, len, &error), "discard");
	else if (way == 2 && kind->compressed && unit != 0 && len >= unit &&
	         cluster + unit <= size)
		must(qcowfmt_pwrite_compressed(image, bytes, unit, cluster,
		                               &error),
		     "pwrite_compressed");
	else
		must(qcowfmt_pwrite(image, bytes, len, offset, &error),
		     "pwrite");
	free(bytes);
}

static void write_some(struct qcowfmt_image *image, const struct kind *kind,
                       int count)
{
	for (int i = 0; i < count; i++) {
		one_write(image, kind);
		if (i % 10 == 9)
			must(qcowfmt_flush(image, &error), "flush");
	}
}

static void take_snapshot(struct qcowfmt_image *image, const char *name)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
		.name = name,
		.date_sec = 0xfedcba98, /* only unsigned is it after 1970 */
		.date_nsec = 123456789,
		.vm_clock_nsec = UINT64_C(0x123456789abcdef0),
		.vm_state_size = 5000,
		.icount = UINT64_MAX,
	};

	must(qcowfmt_vm_state_pwrite(image, "state", 5, 4995, &error),
	     "vm_state_pwrite");
	must(qcowfmt_snapshot_create(image, &options, &error), name);
}

static void change_bitmap(struct qcowfmt_image *image, int32_t kind,
                          const char *name)
{
	struct qcowfmt_bitmap_action action = {
		.struct_size = sizeof(action),
		.image = image,
		.name = name,
		.kind = kind,
		.granularity = kind == QCOWFMT_BITMAP_ADD ? 4096 : 0,
	};

	must(qcowfmt_bitmap_change(&action, 1, NULL, &error), name);
}

static void work_with_snapshots(struct qcowfmt_image *image,
                                const struct kind *kind)
{
	take_snapshot(image, "first");
	write_some(image, kind, 20);
	take_snapshot(image, "second");
	write_some(image, kind, 20);
	must(qcowfmt_snapshot_delete(image, NULL, "first", &error), "delete");
	write_some(image, kind, 10);
	if (!kind->bitmaps)
		must(qcowfmt_snapshot_apply(image, NULL, "second", &error),
		     "apply");
	write_some(image, kind, 5);
}

static void change_whole(struct qcowfmt_image *image, const struct kind *kind)
{
	struct qcowfmt_amend_options amend = {
		.struct_size = sizeof(amend),
		.refcount_bits = 32,
	};
	struct qcowfmt_compact_result result = {
		.struct_size = sizeof(result),
	};

	if (kind->create.version != 2) {
		must(qcowfmt_resize(image, qcowfmt_get_size(image) + 2 * MIB,
		                    NULL, &error),
		     "resize");
		must(qcowfmt_amend(image, &amend, &error), "amend");
		write_some(image, kind, 5);
	}
	must(qcowfmt_discard(image, 0, MIB, &error), "discard");
	must(qcowfmt_compact(image, NULL, &result, &error), "compact");
	write_some(image, kind, 5);
}

static void make(const char *directory, const struct kind *kind)
{
	char path[4096];
	struct qcowfmt_image *image;
	int ret;

	snprintf(path, sizeof(path), "%s/%s", directory, kind->name);
	random_state = strlen(kind->name) * 1000;
	ret = qcowfmt_create_file(path, &kind->create, &error);
	if (ret < 0 && qcowfmt_error_code(error) == QCOWFMT_ERR_UNSUPPORTED) {
		printf("%s: not built in\n", kind->name);
		qcowfmt_error_free(error);
		error = NULL;
		return;
	}
	must(ret, path);
	image = open_image(path, QCOWFMT_OPEN_READ_WRITE, kind->secret);
	if (kind->bitmaps)
		change_bitmap(image, QCOWFMT_BITMAP_ADD, "changes");
	write_some(image, kind, 40);
	if (!kind->no_snapshots) {
		work_with_snapshots(image, kind);
		change_whole(image, kind);
	}
	must(qcowfmt_close(image, &error), "close");
	printf("%s: made\n", kind->name);
}

/* ----------------------------------------------------------- what files hold */

static uint64_t digest_of(uint64_t digest, const uint8_t *bytes, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		digest = (digest ^ bytes[i]) * UINT64_C(0x100000001b3);
	return digest;
}

static uint64_t digest_extent(struct qcowfmt_image *image,
                              const struct qcowfmt_extent *extent)
{
	static uint8_t bytes[1 << 16];
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	for (uint64_t done = 0; done < extent->length;) {
		uint64_t part = extent->length - done;

		if (part > sizeof(bytes))
			part = sizeof(bytes);
		must(qcowfmt_pread(image, bytes, (size_t)part,
		                   extent->guest_offset + done, &error),
		     "pread");
		digest = digest_of(digest, bytes, part);
		done += part;
	}
	return digest;
}

static bool reads_as_zeros(const struct qcowfmt_extent *extent)
{
	return extent->kind == QCOWFMT_EXTENT_UNALLOCATED ||
	       extent->kind == QCOWFMT_EXTENT_ZERO;
}

static void say_extents(struct qcowfmt_image *image)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_extent extent;

	for (uint64_t at = 0; at < size; at += extent.length) {
		must(qcowfmt_map(image, at, size - at, 0, &extent, 1, &error),
		     "map");
		printf("  %" PRIx64 "+%" PRIx64
		       " kind %d depth %u host %" PRIx64,
		       extent.guest_offset, extent.length, extent.kind,
		       extent.depth, extent.host_offset);
		if (!reads_as_zeros(&extent))
			printf(" digest %016" PRIx64,
			       digest_extent(image, &extent));
		printf("\n");
	}
}

static void say_finding(void *opaque, uint32_t id, uint64_t offset,
                        const char *message)
{
	(void)opaque;
	printf("  finding %u at %" PRIx64 ": %s\n", id, offset, message);
}

static void say_checks(struct qcowfmt_image *image)
{
	struct qcowfmt_check_result r = { .struct_size = sizeof(r) };

	if (qcowfmt_check(image, 0, say_finding, NULL, &r, &error) < 0) {
		qcowfmt_error_free(error);
		error = NULL;
		return;
	}
	printf("  %" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64
	       " of %" PRIu64 " clusters, %" PRIu64 " fragmented, %" PRIu64
	       " compressed, end %" PRIx64 "\n",
	       r.corruptions, r.leaks, r.allocated_clusters, r.total_clusters,
	       r.fragmented_clusters, r.compressed_clusters,
	       r.image_end_offset);
}

static void say(const char *path)
{
	struct qcowfmt_image *image = open_image(path, 0, "secret");
	struct qcowfmt_snapshot_list *list = NULL;
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

	printf("%s: %" PRIu64 " bytes\n", path, qcowfmt_get_size(image));
	must(qcowfmt_snapshot_list(image, 0, &list, &error), "snapshot list");
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		must(qcowfmt_snapshot_list_get(list, i, &s, &error), "entry");
		printf("  snapshot %s %s %" PRIu64 " %" PRIu64 " %u.%u\n", s.id,
		       s.name, s.virtual_size, s.vm_clock_nsec, s.date_sec,
		       s.date_nsec);
	}
	qcowfmt_snapshot_list_free(list);
	say_extents(image);
	say_checks(image);
	must(qcowfmt_close(image, &error), "close");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts(qcowfmt_version());
		return EXIT_SUCCESS;
	}
	if (argc >= 2 && strcmp(argv[1], "--read") == 0) {
		for (int i = 2; i < argc; i++)
			say(argv[i]);
		return EXIT_SUCCESS;
	}
	if (argc != 2) {
		fprintf(stderr, "usage: make_images DIRECTORY\n");
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		make(argv[1], &kinds[i]);
	return EXIT_SUCCESS;
}
