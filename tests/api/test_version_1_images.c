/* SPDX-License-Identifier: MIT */
/*
 * Promise: version 1 images of every geometry hold what was written, as we and
 * as QEMU see it; with a backing file a write to part of a cluster keeps the
 * rest of what the guest saw; encrypted clusters, and clusters at any sector,
 * are read and replaced.
 */
#include <sys/stat.h>

#include "api_test.h"
#include "compressed_data.h"
#include "v1_model.h"

#define STEPS 25

/* --------------------------------------------------------------- geometries */

START_TEST(every_geometry)
{
	v1.random = unit_random_init();
	for (uint32_t l2_bits = 6; l2_bits <= 13; l2_bits++) {
		struct forged_v1 spec = {
			.cluster_bits = (uint32_t)_i,
			.l2_bits = l2_bits,
		};

		v1_make_window("g.qcow", &spec);
		v1_sessions(2, STEPS, true);
	}
}

END_TEST

START_TEST(tables_at_odd_places)
{
	static const uint64_t places[] = { 64, 1000, 4096, 65536, 70008 };

	v1.random = unit_random_init();
	for (size_t i = 0; i < QCF_ARRAY_LEN(places); i++) {
		struct forged_v1 spec = {
			.cluster_bits = 12,
			.l2_bits = 6,
			.l1_offset = places[i],
		};

		v1_make_window("p.qcow", &spec);
		v1_sessions(2, STEPS, false);
	}
}

END_TEST

/* Other writers append at the next sector, so no cluster may be cut short; and
 * nothing is left out between the L1 table and the first L2 table. */
START_TEST(files_end_where_clusters_do)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = 1 << 20,
	};
	struct stat st;

	v1_start("e.qcow", 12);
	API_OK(qcowfmt_create_file(v1.path, &options, &api_error));
	v1_open_model(API_RW);
	api_write(v1.image, 100000, 1, 1);
	api_close(v1.image);
	ck_assert_uint_eq(api_get(v1.path, 48, 8), 4096);
	ck_assert_uint_eq(api_get(v1.path, 4096 + 24 * 8, 8), 8192);
	ck_assert_int_eq(stat(v1.path, &st), 0);
	ck_assert_int_eq(st.st_size, 8192 + 4096);
	/* Opening for writing alone changes nothing. */
	v1_open_model(API_RW);
	api_expect(v1.image, 100000, 1, 1);
	api_close(v1.image);
	ck_assert_int_eq(stat(v1.path, &st), 0);
	ck_assert_int_eq(st.st_size, 8192 + 4096);
}

END_TEST

START_TEST(info_says_version_1)
{
	struct forged_v1 spec = { .cluster_bits = 12, .l2_bits = 9 };
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_open_options options = v1_options(0);

	v1_make_window("i.qcow", &spec);
	options.format = QCOWFMT_FORMAT_PROBE;
	API_OK(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error));
	API_OK(qcowfmt_get_info(v1.image, 0, &info, &api_error));
	ck_assert_int_eq(info.format, QCOWFMT_FORMAT_QCOW);
	ck_assert_uint_eq(info.version, 1);
	ck_assert_uint_eq(info.cluster_size, 4096);
	ck_assert_uint_eq(info.refcount_bits, 0);
	ck_assert_uint_eq(info.virtual_size, spec.virtual_size);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_NONE);
	api_close(v1.image);
	/* Who says qcow2 does not get it, and the other way round. */
	options.format = QCOWFMT_FORMAT_QCOW2;
	ck_assert_int_lt(
		qcowfmt_open_file(v1.path, &options, &v1.image, &api_error), 0);
	api_error_reset();
	api_create(scratch_path("two.qcow2"), 1 << 20, 0);
	options.format = QCOWFMT_FORMAT_QCOW;
	ck_assert_int_lt(qcowfmt_open_file(scratch_path("two.qcow2"), &options,
	                                   &v1.image, &api_error),
	                 0);
	api_error_reset();
}

END_TEST

/* ------------------------------------------------------------------ backing */

START_TEST(backing_files_show_through)
{
	static uint8_t base[V1_WINDOW];

	v1.random = unit_random_init();
	compressed_fill(base, V1_WINDOW, 5);
	/* The backing file ends before the disk does. */
	memset(base + V1_WINDOW - 10000, 0, 10000);
	api_write_file(scratch_path("base.raw"), base, V1_WINDOW - 10000);
	for (uint32_t bits = 9; bits <= 16; bits++) {
		struct forged_v1 spec = {
			.cluster_bits = bits,
			.l2_bits = 6 + (bits * 5) % 8,
			.virtual_size = V1_WINDOW,
			.backing = "base.raw",
		};

		v1_start("o.qcow", bits);
		v1_make(v1.path, &spec);
		memcpy(v1.bytes, base, V1_WINDOW);
		v1_sessions(2, STEPS, true);
	}
}

END_TEST

START_TEST(a_small_write_keeps_the_rest_of_the_cluster)
{
	struct forged_v1 spec = {
		.cluster_bits = 16,
		.l2_bits = 9,
		.virtual_size = V1_WINDOW,
		.backing = "ones.raw",
	};

	v1_start("o.qcow", 16);
	memset(v1.bytes, 1, V1_WINDOW);
	api_write_file(scratch_path("ones.raw"), v1.bytes, V1_WINDOW);
	v1_make(v1.path, &spec);
	v1_open_model(API_RW);
	api_write(v1.image, 70000, 10, 2);
	memset(v1.bytes + 70000, 2, 10);
	v1_expect();
	api_close(v1.image);
	v1_open_model(0);
	v1_expect();
	api_close(v1.image);
	v1_expect_by_qemu();
}

END_TEST

/* ------------------------------------------------------------- any alignment */

/* As VirtualBox does: the next thing goes to the next sector. */
static uint64_t append(const char *path, const void *bytes, size_t len)
{
	struct stat st;
	FILE *file = fopen(path, "r+b");
	uint64_t at;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(stat(path, &st), 0);
	at = ((uint64_t)st.st_size + 511) / 512 * 512;
	ck_assert_int_eq(fseeko(file, (off_t)at, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
	return at;
}

START_TEST(clusters_at_any_sector)
{
	static const uint8_t empty_table[64 * 8];
	struct forged_v1 spec = {
		.cluster_bits = 12,
		.l2_bits = 6,
		.virtual_size = V1_WINDOW,
	};

	v1.random = unit_random_init();
	v1_start("v.qcow", 12);
	v1_make(v1.path, &spec);
	compressed_fill(v1.bytes, 8 * 4096, 9);
	api_put(v1.path, 48, 8,
	        append(v1.path, empty_table, sizeof(empty_table)));
	for (uint64_t i = 0; i < 8; i++) {
		uint64_t at = append(v1.path, v1.bytes + i * 4096, 4096);

		ck_assert_uint_ne(at % 4096, 0);
		api_put(v1.path, api_get(v1.path, 48, 8) + i * 8, 8, at);
	}
	v1_open_model(0);
	v1_expect();
	api_close(v1.image);
	v1_sessions(3, STEPS, false);
}

END_TEST

/* --------------------------------------------------------------- encryption */

static void create_encrypted(const char *name)
{
	struct qcowfmt_encryption_options aes = {
		.struct_size = sizeof(aes),
		.encryption = QCOWFMT_ENCRYPTION_AES,
		.secret = "123456",
		.secret_len = 6,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = V1_WINDOW,
		.encryption = &aes,
	};

	v1_start(name, 12);
	v1.encrypted = true;
	API_OK(qcowfmt_create_file(v1.path, &options, &api_error));
	ck_assert_uint_eq(api_get(v1.path, 36, 4), 1);
}

START_TEST(encrypted_images)
{
	v1.random = unit_random_init();
	create_encrypted("a.qcow");
	v1_sessions(3, STEPS, false);
}

END_TEST

START_TEST(encrypted_bytes_are_the_known_ones)
{
	uint64_t l2;

	create_encrypted("k.qcow");
	v1_open_model(API_RW);
	/* Guest sector 16 */
	api_write(v1.image, 8192, 512, 'A');
	API_FAILS(qcowfmt_pwrite_compressed(v1.image, v1.bytes, 4096, 0,
	                                    &api_error),
	          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	api_close(v1.image);
	l2 = api_get(v1.path, 48, 8);
	ck_assert_uint_eq(api_get(v1.path, api_get(v1.path, l2 + 16, 8), 8),
	                  UINT64_C(0x194c3ee1c4381c6c));
}

END_TEST

START_TEST(encrypted_images_need_a_secret)
{
	struct qcowfmt_open_options options = v1_options(0);

	create_encrypted("s.qcow");
	API_FAILS(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error),
	          ENOKEY, QCOWFMT_ERR_NO_SECRET);
	options.flags = QCOWFMT_OPEN_NO_DATA;
	API_OK(qcowfmt_open_file(v1.path, &options, &v1.image, &api_error));
	api_close(v1.image);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, every_geometry, 9, 17);
	tcase_add_test(tcase, tables_at_odd_places);
	tcase_add_test(tcase, files_end_where_clusters_do);
	tcase_add_test(tcase, info_says_version_1);
	tcase_add_test(tcase, backing_files_show_through);
	tcase_add_test(tcase, a_small_write_keeps_the_rest_of_the_cluster);
	tcase_add_test(tcase, clusters_at_any_sector);
	tcase_add_test(tcase, encrypted_images);
	tcase_add_test(tcase, encrypted_bytes_are_the_known_ones);
	tcase_add_test(tcase, encrypted_images_need_a_secret);
}

int main(int argc, char **argv)
{
	return api_main("version_1_images", add_tests, argc, argv);
}
