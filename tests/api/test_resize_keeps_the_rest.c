/* SPDX-License-Identifier: MIT */
/*
 * Promise: after any sequence of writes and changes of size the guest sees what
 * it wrote, zeros where the disk was extended, and nothing that was cut off.
 */
#include "api_test.h"

#define MAX_SIZE ((uint64_t)6 << 20)
#define STEP     ((uint64_t)512)

/* What a kind of image is created with. */
struct kind {
	const char *name;
	uint64_t cluster_size;
	uint32_t version;
	uint32_t flags;
	bool backing; /* longer than the image */
	bool data_file;
	bool snapshot;
	bool encrypted;
};

static const struct kind kinds[] = {
	{ .name = "v3_4k", .cluster_size = 4096, .version = 3 },
	{ .name = "v3_512", .cluster_size = 512, .version = 3 },
	{ .name = "v2_512", .cluster_size = 512, .version = 2 },
	{ .name = "v3_4k_backing",
	  .cluster_size = 4096,
	  .version = 3,
	  .backing = true },
	{ .name = "v2_4k_backing",
	  .cluster_size = 4096,
	  .version = 2,
	  .backing = true },
	{ .name = "v3_extended_l2",
	  .cluster_size = 16384,
	  .version = 3,
	  .flags = QCOWFMT_CREATE_EXTENDED_L2,
	  .backing = true },
	{ .name = "v3_data_file",
	  .cluster_size = 4096,
	  .version = 3,
	  .data_file = true },
	{ .name = "v3_raw_data_file",
	  .cluster_size = 4096,
	  .version = 3,
	  .flags = QCOWFMT_CREATE_DATA_FILE_RAW,
	  .data_file = true },
	{ .name = "v2_encrypted",
	  .cluster_size = 4096,
	  .version = 2,
	  .encrypted = true },
	{ .name = "v3_encrypted",
	  .cluster_size = 4096,
	  .version = 3,
	  .encrypted = true },
	{ .name = "v3_snapshot",
	  .cluster_size = 4096,
	  .version = 3,
	  .snapshot = true },
};

/* A disk under test and what must be on it. */
struct world {
	const struct kind *kind;
	char path[200];
	char data[200];
	struct qcowfmt_image *image;
	uint64_t size;
	uint8_t *want;
	uint8_t *have;
	struct unit_random random;
};

static const char secret[] = "resize";

static const struct qcowfmt_encryption_options aes = {
	.struct_size = sizeof(aes),
	.encryption = QCOWFMT_ENCRYPTION_AES,
	.secret = secret,
	.secret_len = sizeof(secret) - 1,
};

static void create(struct world *w)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = w->size,
		.version = w->kind->version,
		.cluster_size = w->kind->cluster_size,
		.flags = w->kind->flags,
		.data_filename = w->kind->data_file ? w->data : NULL,
		.backing_filename = w->kind->backing ? "base.raw" : NULL,
		.backing_format = w->kind->backing ? "raw" : NULL,
		.encryption = w->kind->encrypted ? &aes : NULL,
	};

	API_OK(qcowfmt_create_file(w->path, &options, &api_error));
}

static void open_world(struct world *w)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.secret = w->kind->encrypted ? secret : NULL,
		.secret_len = w->kind->encrypted ? sizeof(secret) - 1 : 0,
	};

	API_OK(qcowfmt_open_file(w->path, &options, &w->image, &api_error));
}

static void make_world(struct world *w, const struct kind *kind)
{
	*w = (struct world){ .kind = kind, .size = 300 * STEP };
	w->random = unit_random_init();
	w->want = calloc(1, MAX_SIZE);
	w->have = malloc(MAX_SIZE);
	ck_assert(w->want != NULL && w->have != NULL);
	snprintf(w->path, sizeof(w->path), "%s", scratch_path("x.qcow2"));
	snprintf(w->data, sizeof(w->data), "%s", scratch_path("x.data"));
	if (kind->backing) {
		memset(w->want, 'b', MAX_SIZE / 2);
		api_write_file(scratch_path("base.raw"), w->want, MAX_SIZE / 2);
		memset(w->want + w->size, 0, MAX_SIZE - w->size);
	}
	create(w);
	if (kind->snapshot && api_has_qemu())
		ck_assert_int_eq(api_run(api_qemu_img, "snapshot", "-c", "s",
		                         w->path, NULL),
		                 0);
	open_world(w);
}

static void check(struct world *w)
{
	API_OK(qcowfmt_pread(w->image, w->have, w->size, 0, &api_error));
	for (uint64_t i = 0; i < w->size; i++) {
		if (w->have[i] != w->want[i])
			ck_abort_msg("%s: byte %" PRIu64 " is %u, want %u",
			             w->kind->name, i, w->have[i], w->want[i]);
	}
}

static void write_some(struct world *w)
{
	uint64_t len = 1 + unit_random_below(&w->random, 40000);
	uint64_t at;
	uint8_t value = (uint8_t)unit_random_below(&w->random, 255);

	if (w->size == 0)
		return;
	at = unit_random_below(&w->random, w->size);
	len = len < w->size - at ? len : w->size - at;
	memset(w->want + at, value, len);
	API_OK(qcowfmt_pwrite(w->image, w->want + at, len, at, &api_error));
}

static void resize_some(struct world *w)
{
	uint64_t size = unit_random_below(&w->random, MAX_SIZE / STEP) * STEP;
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	uint64_t low = size < w->size ? size : w->size;

	if (unit_random_below(&w->random, 2) == 0)
		size = w->size + unit_random_below(&w->random, 60) * STEP;
	if (size > MAX_SIZE)
		return;
	if (size > w->size)
		options.preallocation =
			(int32_t)unit_random_below(&w->random, 4);
	API_OK(qcowfmt_resize(w->image, size, &options, &api_error));
	low = size < w->size ? size : w->size;
	memset(w->want + low, 0, MAX_SIZE - low);
	w->size = size;
	ck_assert_uint_eq(qcowfmt_get_size(w->image), size);
}

static void reopen(struct world *w)
{
	API_OK(qcowfmt_close(w->image, &api_error));
	if (!w->kind->data_file && !w->kind->encrypted)
		api_qemu_check(w->path);
	open_world(w);
	ck_assert_uint_eq(qcowfmt_get_size(w->image), w->size);
}

START_TEST(random_sizes)
{
	struct world w;

	make_world(&w, &kinds[_i]);
	for (int i = 0; i < 30; i++) {
		for (uint64_t n = unit_random_below(&w.random, 6); n > 0; n--)
			write_some(&w);
		resize_some(&w);
		check(&w);
		api_check_clean(w.image);
		if (unit_random_below(&w.random, 4) == 0)
			reopen(&w);
	}
	check(&w);
	api_close(w.image);
	free(w.want);
	free(w.have);
}

END_TEST

START_TEST(a_short_image_has_a_short_file)
{
	struct qcowfmt_resize_options shrink = {
		.struct_size = sizeof(shrink),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	struct qcowfmt_image *image;
	struct api_bytes file;

	api_create(scratch_path("x.qcow2"), MAX_SIZE, 0);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	api_write(image, 0, MAX_SIZE, 'x');
	API_OK(qcowfmt_resize(image, 65536, &shrink, &api_error));
	api_check_clean(image);
	api_close(image);
	file = api_read_file(scratch_path("x.qcow2"));
	ck_assert_uint_le(file.len, 8 * 65536);
	api_bytes_free(&file);
}

END_TEST

START_TEST(what_cannot_be_is_refused)
{
	struct qcowfmt_resize_options none = { .struct_size = sizeof(none) };
	struct qcowfmt_resize_options bad = {
		.struct_size = sizeof(bad),
		.flags = QCOWFMT_RESIZE_SHRINK,
		.preallocation = QCOWFMT_PREALLOCATION_FULL,
	};
	struct qcowfmt_image *image;

	api_create(scratch_path("x.qcow2"), 65536, 0);
	image = api_open(scratch_path("x.qcow2"), 0);
	API_FAILS(qcowfmt_resize(image, 1 << 20, NULL, &api_error), EROFS,
	          QCOWFMT_ERR_READ_ONLY);
	api_close(image);
	image = api_open(scratch_path("x.qcow2"), API_RW);
	API_FAILS(qcowfmt_resize(image, 512, &none, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_resize(image, 512, &bad, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_resize(image, 1000, NULL, &api_error), EINVAL,
	          QCOWFMT_ERR_USAGE);
	API_FAILS(qcowfmt_resize(image, UINT64_C(1) << 62, NULL, &api_error),
	          EFBIG, QCOWFMT_ERR_USAGE);
	ck_assert_uint_eq(qcowfmt_get_size(image), 65536);
	/* 64 TiB need a longer L1 table, and little else. */
	API_OK(qcowfmt_resize(image, UINT64_C(64) << 40, NULL, &api_error));
	api_write(image, (UINT64_C(64) << 40) - 512, 512, 'e');
	api_check_clean(image);
	api_close(image);
	api_qemu_check(scratch_path("x.qcow2"));
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_loop_test(tcase, random_sizes, 0,
	                    (int)(sizeof(kinds) / sizeof(kinds[0])));
	tcase_add_test(tcase, a_short_image_has_a_short_file);
	tcase_add_test(tcase, what_cannot_be_is_refused);
}

int main(int argc, char **argv)
{
	return api_main("resize keeps the rest", add, argc, argv);
}
