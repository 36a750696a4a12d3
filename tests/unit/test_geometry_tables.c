/* SPDX-License-Identifier: MIT */
/*
 * Promise: geometry gives the documented figures for every cluster size and
 * refcount width, and refuses everything outside the limits.
 */
#include <errno.h>
#include <string.h>

#include "geometry.h"
#include "unit.h"

#define KIB(n) (UINT64_C(n) << 10)
#define MIB(n) (UINT64_C(n) << 20)
#define GIB(n) (UINT64_C(n) << 30)
#define TIB(n) (UINT64_C(n) << 40)
#define PIB(n) (UINT64_C(n) << 50)
#define EIB(n) (UINT64_C(n) << 60)

static struct qcf_geometry geometry(uint32_t cluster_bits, uint32_t order,
                                    bool extended_l2)
{
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, 3, cluster_bits, order,
	                                   extended_l2, NULL),
	                 0);
	return g;
}

START_TEST(guest_side_of_every_cluster_size)
{
	static const struct {
		uint32_t cluster_bits;
		uint64_t per_l1_entry;
		uint64_t max_size;
	} rows[] = {
		{ 9, KIB(32), GIB(128) },   { 10, KIB(128), GIB(512) },
		{ 11, KIB(512), TIB(2) },   { 12, MIB(2), TIB(8) },
		{ 13, MIB(8), TIB(32) },    { 14, MIB(32), TIB(128) },
		{ 15, MIB(128), TIB(512) }, { 16, MIB(512), PIB(2) },
		{ 17, GIB(2), PIB(8) },     { 18, GIB(8), PIB(32) },
		{ 19, GIB(32), PIB(128) },  { 20, GIB(128), PIB(512) },
		{ 21, GIB(512), EIB(2) },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcf_geometry g =
			geometry(rows[i].cluster_bits, 4, false);

		ck_assert_uint_eq(g.cluster_size,
		                  UINT64_C(1) << rows[i].cluster_bits);
		ck_assert_uint_eq(g.l2_entry_size, 8);
		ck_assert_uint_eq(g.l2_entry_count * 8, g.cluster_size);
		ck_assert_uint_eq(UINT64_C(1) << g.l2_bits, g.l2_entry_count);
		ck_assert_uint_eq(UINT64_C(1) << g.l1_shift,
		                  rows[i].per_l1_entry);
		ck_assert_uint_eq(g.max_virtual_size, rows[i].max_size);
		ck_assert_uint_eq(qcf_l1_entries_for(&g, rows[i].max_size),
		                  4194304);
	}
}

END_TEST

START_TEST(extended_l2_halves_the_reach)
{
	static const struct {
		uint32_t cluster_bits;
		uint64_t max_size;
	} rows[] = {
		{ 14, TIB(64) },
		{ 16, PIB(1) },
		{ 20, PIB(256) },
		{ 21, EIB(1) },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		struct qcf_geometry g = geometry(rows[i].cluster_bits, 4, true);

		ck_assert_uint_eq(g.l2_entry_size, 16);
		ck_assert_uint_eq(g.max_virtual_size, rows[i].max_size);
		ck_assert_uint_eq(g.slice_entry_count, KIB(4) / 16);
	}
}

END_TEST

START_TEST(host_side_of_every_refcount_width)
{
	for (uint32_t bits = QCF_MIN_CLUSTER_BITS; bits <= QCF_MAX_CLUSTER_BITS;
	     bits++) {
		for (uint32_t order = 0; order <= 6; order++) {
			struct qcf_geometry g = geometry(bits, order, false);
			uint64_t per_block =
				g.cluster_size * 8 / g.refcount_bits;

			ck_assert_uint_eq(g.refcount_bits, 1u << order);
			ck_assert_uint_eq(UINT64_C(1) << g.block_bits,
			                  per_block);
			ck_assert_uint_eq(g.slice_refcount_count *
			                          g.refcount_bits,
			                  g.slice_size * 8);
			ck_assert_uint_eq(qcf_block_index(&g, per_block), 1);
			ck_assert_uint_eq(qcf_index_in_block(&g, per_block), 0);
			ck_assert_uint_eq(qcf_index_in_block(&g, per_block - 1),
			                  per_block - 1);
			ck_assert_uint_eq(g.max_reftable_entry_count, 1048576);
		}
	}
}

END_TEST

START_TEST(largest_count_of_every_width)
{
	static const uint64_t max[] = { 1,     3,          15,        255,
		                        65535, UINT32_MAX, UINT64_MAX };

	for (uint32_t order = 0; order <= 6; order++)
		ck_assert_uint_eq(geometry(16, order, false).refcount_max,
		                  max[order]);
}

END_TEST

START_TEST(slices_are_at_most_4_kib)
{
	ck_assert_uint_eq(geometry(9, 4, false).slice_size, 512);
	ck_assert_uint_eq(geometry(12, 4, false).slice_size, 4096);
	ck_assert_uint_eq(geometry(13, 4, false).slice_size, 4096);
	ck_assert_uint_eq(geometry(21, 4, false).slice_size, 4096);
	ck_assert_uint_eq(geometry(21, 4, false).slice_entry_count, 512);
}

END_TEST

START_TEST(offsets_are_cut_into_indices)
{
	struct qcf_geometry g = geometry(16, 4, false);
	uint64_t offset = 5 * MIB(512) + 7 * KIB(64) + 9;

	ck_assert_uint_eq(qcf_l1_index(&g, offset), 5);
	ck_assert_uint_eq(qcf_l2_index(&g, offset), 7);
	ck_assert_uint_eq(qcf_offset_in_cluster(&g, offset), 9);
	ck_assert_uint_eq(qcf_cluster_start(&g, offset), offset - 9);
	ck_assert_uint_eq(qcf_left_in_l2_table(&g, offset),
	                  MIB(512) - 7 * KIB(64) - 9);
	ck_assert_uint_eq(qcf_left_in_slice(&g, offset),
	                  512 * KIB(64) - 7 * KIB(64) - 9);
	ck_assert_uint_eq(qcf_left_in_slice(&g, 0), 512 * KIB(64));
	ck_assert_uint_eq(qcf_slice_offset(&g, 513), 4096);
	ck_assert_uint_eq(qcf_slice_index(&g, 513), 1);
	ck_assert_uint_eq(qcf_slice_offset(&g, 8191), 15 * 4096);
	ck_assert_uint_eq(qcf_slice_index(&g, 8191), 511);
	ck_assert_uint_eq(qcf_host_cluster(&g, KIB(64) * 3 + 1), 3);
	ck_assert_uint_eq(qcf_host_offset(&g, 3), KIB(64) * 3);
}

END_TEST

START_TEST(counts_round_up)
{
	struct qcf_geometry g = geometry(9, 4, false);

	ck_assert_uint_eq(qcf_l1_entries_for(&g, 0), 0);
	ck_assert_uint_eq(qcf_l1_entries_for(&g, 1), 1);
	ck_assert_uint_eq(qcf_l1_entries_for(&g, KIB(32)), 1);
	ck_assert_uint_eq(qcf_l1_entries_for(&g, KIB(32) + 1), 2);
	ck_assert_uint_eq(qcf_l1_entries_for(&g, UINT64_MAX), UINT64_C(1)
	                                                              << 49);
	ck_assert_uint_eq(qcf_clusters_for(&g, 0), 0);
	ck_assert_uint_eq(qcf_clusters_for(&g, 1), 1);
	ck_assert_uint_eq(qcf_clusters_for(&g, 512), 1);
	ck_assert_uint_eq(qcf_clusters_for(&g, 513), 2);
	ck_assert_uint_eq(qcf_clusters_for(&g, UINT64_MAX), UINT64_C(1) << 55);
}

END_TEST

static void refused(uint32_t version, uint32_t cluster_bits, uint32_t order,
                    bool extended_l2, const char *field)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_geometry g;

	ck_assert_int_eq(qcf_geometry_init(&g, version, cluster_bits, order,
	                                   extended_l2, &error),
	                 -EINVAL);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_USAGE);
	ck_assert_ptr_nonnull(strstr(qcowfmt_error_message(error), field));
	qcowfmt_error_free(error);
}

START_TEST(arguments_outside_the_limits_are_named)
{
	refused(1, 16, 4, false, "version");
	refused(4, 16, 4, false, "version");
	refused(3, 8, 4, false, "cluster_bits");
	refused(3, 22, 4, false, "cluster_bits");
	refused(3, UINT32_MAX, 4, false, "cluster_bits");
	refused(3, 13, 4, true, "cluster_bits");
	refused(3, 16, 7, false, "refcount_order");
	refused(3, 16, UINT32_MAX, false, "refcount_order");
}

END_TEST

static void refused_v1(uint32_t cluster_bits, uint32_t l2_bits,
                       const char *words)
{
	struct qcowfmt_error *error = NULL;
	struct qcf_geometry g;

	ck_assert_int_eq(
		qcf_geometry_init_v1(&g, cluster_bits, l2_bits, &error),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(qcowfmt_error_message(error), words));
	qcowfmt_error_free(error);
}

START_TEST(version_1_has_limits_of_its_own)
{
	refused_v1(8, 9, "cluster_bits");
	refused_v1(17, 9, "cluster_bits");
	refused_v1(12, 5, "l2_bits");
	refused_v1(12, 14, "l2_bits");
	refused_v1(UINT32_MAX, UINT32_MAX, "cluster_bits");
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, guest_side_of_every_cluster_size);
	tcase_add_test(tcase, extended_l2_halves_the_reach);
	tcase_add_test(tcase, host_side_of_every_refcount_width);
	tcase_add_test(tcase, largest_count_of_every_width);
	tcase_add_test(tcase, slices_are_at_most_4_kib);
	tcase_add_test(tcase, offsets_are_cut_into_indices);
	tcase_add_test(tcase, counts_round_up);
	tcase_add_test(tcase, arguments_outside_the_limits_are_named);
	tcase_add_test(tcase, version_1_has_limits_of_its_own);
}

int main(void)
{
	return unit_run("geometry_tables", add_tests);
}
