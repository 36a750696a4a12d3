/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever the snapshot table, the tables of snapshots and the counts
 * claim, working with snapshots ends with success or an error, and the header,
 * which nothing of it may overwrite, still opens.
 */
#include <stdio.h>

#include "api_test.h"

#define ROUNDS   400
#define VM_STATE UINT64_C(100)

/* An image with two snapshots that share data, and VM state. */
static struct api_bytes make_image(const char *path, uint32_t version)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = version,
		.cluster_size = 512,
		.virtual_size = 80000,
	};
	struct qcowfmt_image *image;

	options.virtual_size -= options.virtual_size % 512;
	API_OK(qcowfmt_create_file(path, &options, &api_error));
	image = api_open(path, API_RW);
	api_write(image, 0, 60000, 1);
	API_OK(qcowfmt_vm_state_pwrite(image, "state", 6, VM_STATE,
	                               &api_error));
	API_OK(qcowfmt_snapshot_create(image, NULL, &api_error));
	api_write(image, 10000, 20000, 2);
	API_OK(qcowfmt_snapshot_create(image, NULL, &api_error));
	api_write(image, 15000, 20000, 3);
	api_close(image);
	return api_read_file(path);
}

static uint64_t be(const uint8_t *bytes, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

static const uint64_t evil[] = {
	0,
	1,
	512,
	0x200,
	0x400,
	0x8000000000000200,
	0x4000000000000201,
	0xffffffffffffffff,
	0x7fffffffffffffff,
	0x00fffffffffffe00,
	0x8000000000010000,
	0x0000000000001a00,
};

/* Change a word of the snapshot table or of a metadata cluster. */
static void spoil(const struct api_bytes *good, struct api_bytes *bad,
                  struct unit_random *random)
{
	uint64_t table = be(good->bytes + 64, 8);
	uint64_t l1 = be(good->bytes + table, 8);
	uint64_t places[] = {
		60,
		table,
		table + 8,
		table + 36,
		table + 40 + 8,
		l1,
		be(good->bytes + l1, 8) & 0xfffffe00,
		be(good->bytes + be(good->bytes + 40, 8), 8) & 0xfffffe00,
		be(good->bytes + 40, 8),
		be(good->bytes + 48, 8),
		be(good->bytes + be(good->bytes + 48, 8), 8),
	};
	uint64_t at = places[unit_random_below(random, QCF_ARRAY_LEN(places))];
	uint64_t value = evil[unit_random_below(random, QCF_ARRAY_LEN(evil))];

	at += 8 * unit_random_below(random, 3);
	for (size_t i = 0; i < 8 && at + i < bad->len; i++)
		bad->bytes[at + i] = (uint8_t)(value >> (56 - 8 * i));
}

/* Any outcome is fine, if it is told properly. */
static void settle(int ret)
{
	ck_assert_int_le(ret, 0);
	ck_assert((ret == 0) == (api_error == NULL));
	api_error_reset();
}

static void list_all(struct qcowfmt_image *image)
{
	struct qcowfmt_snapshot_list *list = NULL;
	int ret = qcowfmt_snapshot_list(image, 0, &list, &api_error);

	for (uint32_t i = 0; ret == 0 && i < qcowfmt_snapshot_list_count(list);
	     i++) {
		struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

		API_OK(qcowfmt_snapshot_list_get(list, i, &s, &api_error));
		ck_assert_ptr_nonnull(s.id);
		ck_assert_ptr_nonnull(s.name);
	}
	qcowfmt_snapshot_list_free(list);
	settle(ret);
}

static void look_inside(const char *path)
{
	static uint8_t bytes[80000];
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.snapshot_id = "1",
	};
	struct qcowfmt_image *image = NULL;
	int ret = qcowfmt_open_file(path, &options, &image, &api_error);

	settle(ret);
	if (ret < 0)
		return;
	if (qcowfmt_get_size(image) >= sizeof(bytes))
		settle(qcowfmt_pread(image, bytes, sizeof(bytes), 0,
		                     &api_error));
	settle(qcowfmt_vm_state_pread(image, bytes, 1000, 0, &api_error));
	list_all(image);
	settle(qcowfmt_close(image, &api_error));
}

static int change(struct qcowfmt_image *image, uint64_t choice)
{
	static const uint8_t bytes[3000];

	switch (choice) {
	case 0:
		return qcowfmt_snapshot_create(image, NULL, &api_error);
	case 1:
		return qcowfmt_snapshot_apply(image, "1", NULL, &api_error);
	case 2:
		return qcowfmt_snapshot_delete(image, "1", NULL, &api_error);
	case 3:
		return qcowfmt_snapshot_delete(image, "2", NULL, &api_error);
	case 4:
		return qcowfmt_vm_state_pwrite(image, bytes, sizeof(bytes), 0,
		                               &api_error);
	default:
		return qcowfmt_pwrite(image, bytes, sizeof(bytes), 9999,
		                      &api_error);
	}
}

static bool work(const char *path, struct unit_random *random)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = API_RW,
	};
	struct qcowfmt_image *image = NULL;
	int ret = qcowfmt_open_file(path, &options, &image, &api_error);

	settle(ret);
	if (ret < 0)
		return false;
	for (int i = 0; i < 4; i++)
		settle(change(image, unit_random_below(random, 6)));
	list_all(image);
	settle(qcowfmt_close(image, &api_error));
	return true;
}

START_TEST(hostile_snapshots)
{
	struct unit_random random = unit_random_init();
	char path[200];
	struct api_bytes good;
	int opened = 0;

	snprintf(path, sizeof(path), "%s", scratch_path("image"));
	good = make_image(path, _i == 0 ? 2 : 3);
	for (int i = 0; i < ROUNDS; i++) {
		struct api_bytes bad = { malloc(good.len), good.len };

		ck_assert_ptr_nonnull(bad.bytes);
		memcpy(bad.bytes, good.bytes, good.len);
		for (uint64_t n = unit_random_below(&random, 3) + 1; n > 0; n--)
			spoil(&good, &bad, &random);
		api_write_file(path, bad.bytes, bad.len);
		look_inside(path);
		if (work(path, &random)) {
			opened++;
			ck_assert_uint_eq(api_get(path, 0, 4), 0x514649fb);
			ck_assert_uint_eq(api_get(path, 20, 4), 9);
		}
		api_bytes_free(&bad);
	}
	printf("%d of %d could be opened for writing\n", opened, ROUNDS);
	ck_assert_int_gt(opened, ROUNDS / 10);
	api_bytes_free(&good);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, hostile_snapshots, 0, 2);
}

int main(int argc, char **argv)
{
	return api_main("hostile_snapshots_are_survived", add, argc, argv);
}
