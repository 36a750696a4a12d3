/* SPDX-License-Identifier: MIT */
/*
 * Promise: images with extended L2 entries, data files and LUKS headers that were
 * damaged by hand get the verdict from qcowfmt_check() that qemu-img check gives,
 * by the right corruption id; what can be repaired is.
 */
#include <unistd.h>

#include "api_test.h"
#include "check_id.h"

/* Exit statuses of "qemu-img check". */
enum verdict { CLEAN = 0, CORRUPT = 2, LEAKY = 3 };

#define MAX_CHANGES 3

struct change {
	uint64_t at; /* relative to the L2 entry of guest offset 0 */
	uint64_t value;
};

struct row {
	const char *what;
	struct change changes[MAX_CHANGES]; /* at and value 0: no more */
	enum verdict verdict;
	uint32_t id; /* of the first finding; 0 = none */
};

struct findings {
	uint32_t first;
	unsigned int count;
};

static void note(void *opaque, uint32_t id, uint64_t host_offset,
                 const char *message)
{
	struct findings *findings = opaque;

	(void)host_offset;
	ck_assert_ptr_nonnull(message);
	if (findings->count++ == 0)
		findings->first = id;
}

static struct qcowfmt_image *open_local(const char *name, uint32_t flags)
{
	/* What is not encrypted needs no secret. */
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(name, &options, &image, &api_error));
	return image;
}

static enum verdict verdict_of(const struct qcowfmt_check_result *result)
{
	ck_assert_uint_eq(result->check_errors, 0);
	if (result->corruptions > 0)
		return CORRUPT;
	return result->leaks > 0 ? LEAKY : CLEAN;
}

static enum verdict our_verdict(uint32_t open_flags, uint32_t check_flags,
                                struct findings *findings)
{
	struct qcowfmt_image *image = open_local("x", open_flags);
	struct qcowfmt_check_result result = {
		.struct_size = sizeof(result),
	};

	*findings = (struct findings){ 0 };
	API_OK(qcowfmt_check(image, check_flags, note, findings, &result,
	                     &api_error));
	api_close(image);
	return verdict_of(&result);
}

static enum verdict their_verdict(void)
{
	return (enum verdict)api_run(api_qemu_img, "check", "-q", "x", NULL);
}

static void damage(const struct row *row)
{
	uint64_t l2 = api_l2_entry_at("x");

	for (size_t i = 0; i < MAX_CHANGES; i++) {
		const struct change *c = &row->changes[i];

		if (c->at != 0 || c->value != 0)
			api_put("x", l2 + c->at, 8, c->value);
	}
}

static void check_row(const struct row *row, enum verdict theirs)
{
	struct findings findings;

	damage(row);
	ck_assert_msg(their_verdict() == theirs, "%s: qemu-img says %d",
	              row->what, their_verdict());
	ck_assert_msg(our_verdict(0, 0, &findings) == row->verdict, "%s",
	              row->what);
	ck_assert_msg(findings.first == row->id, "%s: id %u, want %u",
	              row->what, findings.first, row->id);
	/* Repairing does not make it worse. */
	(void)our_verdict(QCOWFMT_OPEN_READ_WRITE | QCOWFMT_OPEN_REPAIR,
	                  QCOWFMT_CHECK_REPAIR_ALL, &findings);
	if (theirs == CLEAN)
		ck_assert_int_eq(their_verdict(), CLEAN);
}

static void enter_scratch(void)
{
	ck_assert_int_eq(chdir(scratch_path(".")), 0);
}

/* ------------------------------------------------------ extended L2 entries */

#define SUB_CLUSTER UINT64_C(16384)

/* Guest clusters: 0 is data, 1 has one subcluster with data, 2 none. */
static void make_extended(void)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.cluster_size = SUB_CLUSTER,
		.flags = QCOWFMT_CREATE_EXTENDED_L2,
	};
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file("x", &options, &api_error));
	image = open_local("x", QCOWFMT_OPEN_READ_WRITE);
	api_write(image, 0, SUB_CLUSTER, 'a');
	api_write(image, SUB_CLUSTER, 512, 'b');
	api_close(image);
}

/* The same, whose host clusters are at 5 and 6. */
static const struct row extended_rows[] = {
	{ "nothing", { { 0, 0 } }, CLEAN, 0 },
	{ "a subcluster is data and zero",
	  { { 8, UINT64_C(0x00000001ffffffff) } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "the last subcluster is data and zero",
	  { { 24, UINT64_C(0x8000000080000000) } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "data without a cluster",
	  { { 40, UINT64_C(1) } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "zeros without a cluster",
	  { { 40, UINT64_C(0xffffffff00000000) } },
	  CLEAN,
	  0 },
	{ "zeros with a cluster",
	  { { 24, UINT64_C(0xfffffffe00000001) } },
	  CLEAN,
	  0 },
	{ "nothing allocated of a cluster", { { 24, 0 } }, CLEAN, 0 },
	{ "the zero flag means nothing",
	  { { 0, UINT64_C(0x8000000000014001) } },
	  CLEAN,
	  0 },
	{ "a compressed cluster that is also elsewhere",
	  { { 32, UINT64_C(0x4000000000014000) } },
	  CORRUPT,
	  QCF_CHECK_REFCOUNT_LOW },
	{ "a compressed cluster with subclusters",
	  { { 32, UINT64_C(0x4000000000014000) }, { 40, 1 } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "a compressed cluster with zero subclusters",
	  { { 32, UINT64_C(0x4000000000014000) },
	    { 40, UINT64_C(0x100000000) } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "reserved bits",
	  { { 32, UINT64_C(0x0100000000000000) } },
	  CORRUPT,
	  QCF_CHECK_L2_RESERVED },
	{ "an unaligned offset",
	  { { 0, UINT64_C(0x8000000000014200) } },
	  CORRUPT,
	  QCF_CHECK_DATA_OFFSET },
	{ "an unaligned offset and a wrong bitmap",
	  { { 0, UINT64_C(0x8000000000014200) }, { 8, UINT64_MAX } },
	  CORRUPT,
	  QCF_CHECK_SUBCLUSTER_BITMAP },
	{ "a cluster that is nobody's",
	  { { 16, 0 }, { 24, UINT64_C(0x100000000) } },
	  LEAKY,
	  QCF_CHECK_LEAK },
	{ "COPIED is missing",
	  { { 16, UINT64_C(0x0000000000018000) } },
	  CORRUPT,
	  QCF_CHECK_DATA_COPIED },
	{ "beyond the end of the file",
	  { { 16, UINT64_C(0x8000000040000000) } },
	  CORRUPT,
	  QCF_CHECK_BEYOND_END },
};

START_TEST(extended_l2_entries)
{
	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(extended_rows); i++) {
		make_extended();
		ck_assert_uint_eq(api_get("x", api_l2_entry_at("x"), 8),
		                  UINT64_C(0x8000000000014000));
		check_row(&extended_rows[i], extended_rows[i].verdict);
	}
}

END_TEST

START_TEST(a_leak_of_an_extended_cluster_is_repaired)
{
	struct findings findings;

	enter_scratch();
	make_extended();
	damage(&(struct row){ .changes = { { 16, 0 }, { 24, 0 } } });
	ck_assert_int_eq(their_verdict(), LEAKY);
	ck_assert_int_eq(our_verdict(QCOWFMT_OPEN_READ_WRITE,
	                             QCOWFMT_CHECK_REPAIR_LEAKS, &findings),
	                 CLEAN);
	ck_assert_int_eq(their_verdict(), CLEAN);
}

END_TEST

/* -------------------------------------------------------------- data files */

/* Guest clusters: 0 and 1 are data, 2 reads as zeros. */
static void make_data_file(uint32_t flags)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.data_filename = "d.raw",
		.flags = flags,
	};
	struct qcowfmt_image *image;

	API_OK(qcowfmt_create_file("x", &options, &api_error));
	image = open_local("x", QCOWFMT_OPEN_READ_WRITE);
	api_write(image, 0, 131072, 'a');
	API_OK(qcowfmt_write_zeroes(image, 131072, 65536,
	                            QCOWFMT_ZERO_MAY_UNMAP, &api_error));
	api_close(image);
}

static const struct row data_file_rows[] = {
	{ "nothing", { { 0, 0 } }, CLEAN, 0 },
	{ "COPIED is missing",
	  { { 8, UINT64_C(0x10000) } },
	  CORRUPT,
	  QCF_CHECK_DATA_COPIED },
	{ "a compressed cluster",
	  { { 32, UINT64_C(0x4000000000050000) } },
	  CORRUPT,
	  QCF_CHECK_DATA_FILE_COMPRESSED },
	{ "an unaligned offset",
	  { { 8, UINT64_C(0x8000000000010200) } },
	  CORRUPT,
	  QCF_CHECK_DATA_OFFSET },
	{ "reserved bits",
	  { { 8, UINT64_C(0xa000000000010000) } },
	  CORRUPT,
	  QCF_CHECK_L2_RESERVED },
	{ "zeros with their cluster",
	  { { 16, UINT64_C(0x8000000000020001) } },
	  CLEAN,
	  0 },
};

START_TEST(data_files)
{
	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(data_file_rows); i++) {
		make_data_file(0);
		check_row(&data_file_rows[i], data_file_rows[i].verdict);
	}
}

END_TEST

/* qemu-img does not look; it never writes such an image. */
START_TEST(a_wrong_place_in_the_data_file_is_found)
{
	static const struct row rows[] = {
		{ "the place of another cluster",
		  { { 8, UINT64_C(0x8000000000000000) } },
		  CORRUPT,
		  QCF_CHECK_DATA_FILE_OFFSET },
		{ "far away",
		  { { 0, UINT64_C(0x8000001000000000) } },
		  CORRUPT,
		  QCF_CHECK_DATA_FILE_OFFSET },
	};

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		make_data_file(0);
		check_row(&rows[i], CLEAN);
	}
}

END_TEST

START_TEST(copied_in_a_data_file_is_repaired)
{
	struct findings findings;

	enter_scratch();
	make_data_file(QCOWFMT_CREATE_EXTENDED_L2);
	api_put("x", api_l2_entry_at("x") + 16, 8, 0x10000);
	ck_assert_int_eq(their_verdict(), CORRUPT);
	ck_assert_int_eq(our_verdict(QCOWFMT_OPEN_READ_WRITE,
	                             QCOWFMT_CHECK_REPAIR_ALL, &findings),
	                 CLEAN);
	ck_assert_int_eq(their_verdict(), CLEAN);
	ck_assert_uint_eq(api_get("x", api_l2_entry_at("x") + 16, 8),
	                  UINT64_C(0x8000000000010000));
}

END_TEST

START_TEST(snapshots_do_not_go_with_a_data_file)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_OPEN_READ_WRITE,
		.reference_policy = QCOWFMT_REFERENCES_LOCAL,
	};
	struct findings findings;

	enter_scratch();
	make_data_file(0);
	/* Number of snapshots; their table, of zeros, is the unused cluster. */
	api_put("x", 60, 4, 1);
	api_put("x", API_AT_SNAPSHOTS, 8, 0x60000);
	api_put("x", 0x6ffff, 1, 0);
	ck_assert_int_eq(their_verdict(), CORRUPT);
	ck_assert_int_eq(our_verdict(0, 0, &findings), CORRUPT);
	ck_assert_uint_eq(findings.first, QCF_CHECK_DATA_FILE_SNAPSHOTS);
	API_FAILS_KEEP(qcowfmt_open_file("x", &options, &image, &api_error),
	               ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	API_ERROR_NAMES("snapshots");
	api_error_reset();
}

END_TEST

/* -------------------------------------------------------------------- LUKS */

/* The refcount block is at 0x20000, the LUKS area in clusters 4 to 35. */
#define COUNT_OF(cluster) (0x20000 + 2 * (cluster))

static void make_luks(void)
{
	const struct qcowfmt_encryption_options luks = {
		.struct_size = sizeof(luks),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 10,
		.secret = "secret",
		.secret_len = 6,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.encryption = &luks,
	};

	API_OK(qcowfmt_create_file("x", &options, &api_error));
}

static enum verdict their_luks_verdict(void)
{
	return (enum verdict)api_run(
		api_qemu_img, "check", "-q", "--object",
		"secret,id=sec0,data=secret", "--image-opts",
		"driver=qcow2,file.filename=x,encrypt.key-secret=sec0", NULL);
}

START_TEST(the_luks_area_is_counted)
{
	static const struct {
		uint64_t cluster;
		uint64_t count;
		enum verdict verdict;
		uint32_t id;
	} counts[] = {
		{ 4, 1, CLEAN, 0 },
		{ 4, 0, CORRUPT, QCF_CHECK_REFCOUNT_LOW },
		{ 35, 0, CORRUPT, QCF_CHECK_REFCOUNT_LOW },
		{ 4, 2, LEAKY, QCF_CHECK_LEAK },
		{ 35, 65535, LEAKY, QCF_CHECK_LEAK },
	};
	struct findings findings;

	enter_scratch();
	for (size_t i = 0; i < QCF_ARRAY_LEN(counts); i++) {
		make_luks();
		api_put("x", COUNT_OF(counts[i].cluster), 2, counts[i].count);
		ck_assert_int_eq(their_luks_verdict(), counts[i].verdict);
		ck_assert_int_eq(our_verdict(0, 0, &findings),
		                 counts[i].verdict);
		ck_assert_uint_eq(findings.first, counts[i].id);
		ck_assert_int_eq(our_verdict(QCOWFMT_OPEN_READ_WRITE,
		                             QCOWFMT_CHECK_REPAIR_ALL,
		                             &findings),
		                 CLEAN);
		ck_assert_int_eq(their_luks_verdict(), CLEAN);
	}
}

END_TEST

/* For qemu-img there is nothing to check in one. */
START_TEST(version_1_is_checked_and_not_repaired)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW,
		.virtual_size = 1 << 20,
	};
	struct qcowfmt_check_result result = {
		.struct_size = sizeof(result),
	};
	struct qcowfmt_image *image;

	enter_scratch();
	API_OK(qcowfmt_create_file("x", &options, &api_error));
	image = open_local("x", QCOWFMT_OPEN_READ_WRITE);
	API_OK(qcowfmt_check(image, 0, NULL, NULL, &result, &api_error));
	ck_assert_uint_eq(result.total_clusters, 256);
	ck_assert_uint_eq(result.corruptions + result.check_errors, 0);
	API_FAILS_KEEP(qcowfmt_check(image, QCOWFMT_CHECK_REPAIR_ALL, NULL,
	                             NULL, &result, &api_error),
	               ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
	API_ERROR_NAMES("version 1");
	api_error_reset();
	api_close(image);
	ck_assert_int_eq(api_run(api_qemu_img, "check", "x", NULL), 63);
}

END_TEST

static void add_tests(TCase *tcase)
{
	if (!api_has_qemu())
		return;
	tcase_add_test(tcase, extended_l2_entries);
	tcase_add_test(tcase, a_leak_of_an_extended_cluster_is_repaired);
	tcase_add_test(tcase, data_files);
	tcase_add_test(tcase, a_wrong_place_in_the_data_file_is_found);
	tcase_add_test(tcase, copied_in_a_data_file_is_repaired);
	tcase_add_test(tcase, snapshots_do_not_go_with_a_data_file);
	tcase_add_test(tcase, the_luks_area_is_counted);
	tcase_add_test(tcase, version_1_is_checked_and_not_repaired);
}

int main(int argc, char **argv)
{
	return api_main("check_agrees_with_qemu", add_tests, argc, argv);
}
