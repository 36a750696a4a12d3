/* SPDX-License-Identifier: MIT */
/*
 * Promise: with nothing in the caches a request reads one slice of metadata and
 * its data, never a table, and what it asks of storage is the same whatever the
 * virtual size and the number of snapshots; and so is opening for reading.
 */
#include "api_test.h"
#include "count_storage.h"

#define GIB     (UINT64_C(1) << 30)
#define TIB     (UINT64_C(1) << 40)
#define CLUSTER UINT64_C(65536)
#define BLOCK   4096u
#define SLICE   4096u
/* What one L2 table of CLUSTER maps. */
#define TABLE_SPAN (CLUSTER / 8 * CLUSTER)

static const uint64_t sizes[] = { GIB, TIB, 64 * TIB };
static const unsigned int snapshots[] = { 0, 10, 200 };

enum step {
	STEP_OPEN,
	STEP_COLD_READ,
	STEP_SAME_SLICE_READ,
	STEP_OTHER_SLICE_READ,
	STEP_UNALLOCATED_READ,
	STEP_WRITE,
	STEP_ALLOCATE,
	STEP_FLUSH,
	STEP_COUNT
};

static const char *const step_names[] = {
	[STEP_OPEN] = "open",
	[STEP_COLD_READ] = "cold read",
	[STEP_SAME_SLICE_READ] = "read of the same slice",
	[STEP_OTHER_SLICE_READ] = "read of another slice",
	[STEP_UNALLOCATED_READ] = "read of nothing",
	[STEP_WRITE] = "write in place",
	[STEP_ALLOCATE] = "allocating write",
	[STEP_FLUSH] = "flush",
};

struct cost {
	uint64_t calls[VERB_COUNT];
	uint64_t bytes[VERB_COUNT];
};

static struct storage_counts counts;

static const char *image_path(void)
{
	return scratch_path("cold.qcow2");
}

static void add_snapshots(struct qcowfmt_image *image, unsigned int count)
{
	char name[16];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		api_take_snapshot(image, name);
	}
}

/* A slice of an L2 table maps 32 MiB: the second block of a place is in the
 * slice of the first, the third is not. */
static void write_place(struct qcowfmt_image *image, uint64_t at)
{
	api_write(image, at, BLOCK, 'a');
	api_write(image, at + CLUSTER, BLOCK, 'b');
	api_write(image, at + TABLE_SPAN / 2, BLOCK, 'c');
}

/* The clusters that are looked at belong to the disk alone, as they do once a
 * guest has written to them after a snapshot. */
static void make_image(uint64_t size, unsigned int snapshot_count)
{
	struct qcowfmt_image *image;

	api_create(image_path(), size, CLUSTER);
	image = api_open(image_path(), API_RW);
	write_place(image, 0);
	write_place(image, size - TABLE_SPAN);
	add_snapshots(image, snapshot_count);
	write_place(image, 0);
	write_place(image, size - TABLE_SPAN);
	api_close(image);
}

static struct qcowfmt_image *open_counted(uint32_t flags)
{
	const struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
	};
	struct qcowfmt_file_options file = {
		.struct_size = sizeof(file),
		.flags = flags & API_RW ? 0 : QCOWFMT_FILE_READ_ONLY,
	};
	struct qcowfmt_storage *storage = NULL;
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_storage_open_file(image_path(), &file, &storage,
	                                 &api_error));
	storage = count_storage_new(storage, &counts);
	API_OK(qcowfmt_open(storage, &options, &image, &api_error));
	return image;
}

static void take_cost(struct cost *cost)
{
	for (int verb = 0; verb < VERB_COUNT; verb++) {
		cost->calls[verb] = atomic_load(&counts.calls[verb]);
		cost->bytes[verb] = atomic_load(&counts.bytes[verb]);
	}
	storage_counts_reset(&counts);
}

static void look(uint64_t at, uint64_t hole, struct cost costs[STEP_COUNT])
{
	struct qcowfmt_image *image;

	storage_counts_reset(&counts);
	image = open_counted(API_RW);
	take_cost(&costs[STEP_OPEN]);
	api_expect(image, at, BLOCK, 'a');
	take_cost(&costs[STEP_COLD_READ]);
	api_expect(image, at + CLUSTER, BLOCK, 'b');
	take_cost(&costs[STEP_SAME_SLICE_READ]);
	api_expect(image, at + TABLE_SPAN / 2, BLOCK, 'c');
	take_cost(&costs[STEP_OTHER_SLICE_READ]);
	api_expect(image, hole, BLOCK, 0);
	take_cost(&costs[STEP_UNALLOCATED_READ]);
	api_write(image, at, BLOCK, 'a');
	take_cost(&costs[STEP_WRITE]);
	api_write(image, at + 2 * CLUSTER, BLOCK, 'd');
	take_cost(&costs[STEP_ALLOCATE]);
	API_OK(qcowfmt_flush(image, &api_error));
	take_cost(&costs[STEP_FLUSH]);
	api_close(image);
}

static void expect_reads(const struct cost costs[STEP_COUNT], enum step step,
                         uint64_t calls, uint64_t bytes)
{
	const struct cost *cost = &costs[step];

	ck_assert_msg(cost->calls[VERB_READ] == calls &&
	                      cost->bytes[VERB_READ] == bytes,
	              "%s: %" PRIu64 " reads of %" PRIu64
	              " bytes, want %" PRIu64 " of %" PRIu64,
	              step_names[step], cost->calls[VERB_READ],
	              cost->bytes[VERB_READ], calls, bytes);
}

static void expect_same(const struct cost *first, const struct cost *cost,
                        enum step step)
{
	for (int verb = 0; verb < VERB_COUNT; verb++)
		ck_assert_msg(first->calls[verb] == cost->calls[verb] &&
		                      first->bytes[verb] == cost->bytes[verb],
		              "%s: %s %" PRIu64 " times, %" PRIu64
		              " bytes; small images %" PRIu64
		              " times, %" PRIu64,
		              step_names[step],
		              storage_verb_name((enum storage_verb)verb),
		              cost->calls[verb], cost->bytes[verb],
		              first->calls[verb], first->bytes[verb]);
}

/*
 * Nothing is read beside the header, the start of which is as a rule enough, the
 * active L1 table, the refcount table, and for each snapshot its entry.
 */
static void expect_opening_to_be_cheap(const struct cost *cost, uint64_t size,
                                       unsigned int snapshot_count)
{
	uint64_t l1_size = size / TABLE_SPAN * 8;
	uint64_t limit = 512 + 4096 + CLUSTER + l1_size + 4096 +
	                 snapshot_count * UINT64_C(128);

	ck_assert_uint_le(cost->calls[VERB_READ], 6);
	ck_assert_uint_eq(cost->calls[VERB_WRITE], 0);
	ck_assert_msg(cost->bytes[VERB_READ] <= limit,
	              "%u snapshots: opening reads %" PRIu64
	              " bytes, want at most %" PRIu64,
	              snapshot_count, cost->bytes[VERB_READ], limit);
}

static void check_requests(const struct cost costs[STEP_COUNT])
{
	expect_reads(costs, STEP_COLD_READ, 2, SLICE + BLOCK);
	expect_reads(costs, STEP_SAME_SLICE_READ, 1, BLOCK);
	expect_reads(costs, STEP_OTHER_SLICE_READ, 2, SLICE + BLOCK);
	expect_reads(costs, STEP_UNALLOCATED_READ, 1, SLICE);
	expect_reads(costs, STEP_WRITE, 0, 0);
	ck_assert_uint_eq(costs[STEP_WRITE].calls[VERB_WRITE], 1);
	ck_assert_uint_eq(costs[STEP_WRITE].bytes[VERB_WRITE], BLOCK);
	/* The slice of counts that is looked at first may have no free cluster. */
	ck_assert_uint_le(costs[STEP_ALLOCATE].bytes[VERB_READ], 2 * SLICE);
	ck_assert_uint_eq(costs[STEP_ALLOCATE].calls[VERB_WRITE], 1);
}

static void check_image(uint64_t size, unsigned int snapshot_count,
                        const struct cost first[STEP_COUNT],
                        struct cost costs[STEP_COUNT])
{
	expect_opening_to_be_cheap(&costs[STEP_OPEN], size, snapshot_count);
	check_requests(costs);
	for (int step = STEP_OPEN + 1; step < STEP_COUNT; step++)
		if (step != STEP_ALLOCATE)
			expect_same(&first[step], &costs[step],
			            (enum step)step);
}

/* Both ends of the disk are looked at. */
START_TEST(requests_cost_the_same_everywhere)
{
	struct cost first[STEP_COUNT];
	struct cost costs[STEP_COUNT];

	for (size_t i = 0; i < 9; i++) {
		uint64_t size = sizes[i / 3];

		make_image(size, snapshots[i % 3]);
		for (uint64_t end = 0; end < 2; end++) {
			look(end * (size - TABLE_SPAN), TABLE_SPAN / 4, costs);
			if (i == 0 && end == 0)
				memcpy(first, costs, sizeof(first));
			check_image(size, snapshots[i % 3], first, costs);
		}
	}
}

END_TEST

/* ------------------------------------------------------------- only for reading */

/* A piece of an L1 table */
#define PIECE 4096u

static void read_by_queue(struct qcowfmt_image *image, uint64_t at,
                          uint8_t value)
{
	struct qcowfmt_queue *queue = NULL;
	struct qcowfmt_completion done = { 0 };
	uint8_t bytes[BLOCK];

	API_OK(qcowfmt_queue_new(image, NULL, &queue, &api_error));
	API_OK(qcowfmt_queue_pread(queue, bytes, BLOCK, at, 0, &api_error));
	ck_assert_int_eq(qcowfmt_queue_reap(queue, &done, 1, -1), 1);
	ck_assert_int_eq(done.result, 0);
	for (unsigned int i = 0; i < BLOCK; i++)
		ck_assert_uint_eq(bytes[i], value);
	qcowfmt_queue_free(queue);
}

static uint64_t bytes_read(void)
{
	struct cost cost;

	take_cost(&cost);
	return cost.bytes[VERB_READ];
}

START_TEST(readers_open_any_size_alike)
{
	for (size_t i = 0; i < 9; i++) {
		uint64_t size = sizes[i / 3];
		uint64_t far = size - TABLE_SPAN;
		/* One of a single piece is read at once. */
		uint64_t piece = size / TABLE_SPAN * 8 > PIECE ? PIECE : 0;
		struct qcowfmt_image *image;

		make_image(size, snapshots[i % 3]);
		storage_counts_reset(&counts);
		image = open_counted(0);
		/* To probe, the header, and a short L1 table. */
		ck_assert_uint_le(bytes_read(), 512 + 2 * 4096);
		api_expect(image, far, BLOCK, 'a');
		ck_assert_uint_eq(bytes_read(), piece + SLICE + BLOCK);
		api_expect(image, far, BLOCK, 'a');
		ck_assert_uint_eq(bytes_read(), BLOCK);
		api_close(image);
		image = open_counted(0);
		read_by_queue(image, far, 'a');
		read_by_queue(image, 0, 'a');
		read_by_queue(image, TABLE_SPAN / 4, 0);
		api_close(image);
	}
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, readers_open_any_size_alike);
	tcase_add_test(tcase, requests_cost_the_same_everywhere);
}

int main(int argc, char **argv)
{
	return api_main("cold_requests_read_little", add_tests, argc, argv);
}
