/* SPDX-License-Identifier: MIT */
/*
 * Promise: whatever is written, taken, applied, deleted and resized in any order,
 * the disk and each snapshot hold what they should, through this library and
 * through QEMU, which may do some of the operations itself.
 */
#include <stdio.h>

#include "api_test.h"

#define SECTOR        512u
#define MAX_SECTORS   600u
#define MAX_SNAPSHOTS 6

struct state {
	uint64_t size; /* bytes */
	uint64_t vm_size;
	uint8_t vm_value;
	char id[16];
	uint8_t sectors[MAX_SECTORS]; /* a value for each */
};

static const struct kind {
	const char *name;
	uint32_t version;
	uint64_t cluster_size;
	uint32_t flags;
	uint32_t refcount_bits;
} kinds[] = {
	{ "v3, 512", 3, 512, 0, 16 },
	{ "v2, 512", 2, 512, 0, 16 },
	{ "v3, 4096, 8 bits", 3, 4096, 0, 8 },
	{ "v3, 65536, lazy", 3, 65536, QCOWFMT_CREATE_LAZY_REFCOUNTS, 64 },
	{ "v3, 16384, subclusters", 3, 16384, QCOWFMT_CREATE_EXTENDED_L2, 16 },
};

static struct world {
	const struct kind *kind;
	char path[200];
	struct qcowfmt_image *image;
	struct unit_random random;
	struct state now;
	struct state snapshots[MAX_SNAPSHOTS];
	int count;
	uint64_t next_id;
	uint8_t value;
	uint8_t have[MAX_SECTORS * SECTOR];
	int by_qemu;
} w;

static uint64_t below(uint64_t limit)
{
	return unit_random_below(&w.random, limit);
}

/* ------------------------------------------------------------------- operations */

static void write_some(void)
{
	uint64_t sectors = w.now.size / SECTOR;
	uint64_t first = below(sectors);
	uint64_t count = 1 + below(QCF_MIN(sectors - first, (uint64_t)60));

	w.value = (uint8_t)(w.value % 250 + 1);
	memset(w.now.sectors + first, w.value, count);
	api_write(w.image, first * SECTOR, count * SECTOR, w.value);
}

static void zero_some(void)
{
	uint64_t sectors = w.now.size / SECTOR;
	uint64_t first = below(sectors);
	uint64_t count = 1 + below(QCF_MIN(sectors - first, (uint64_t)60));

	memset(w.now.sectors + first, 0, count);
	API_OK(qcowfmt_write_zeroes(w.image, first * SECTOR, count * SECTOR,
	                            QCOWFMT_ZERO_MAY_UNMAP, &api_error));
}

static void write_vm_state(void)
{
	static uint8_t bytes[50000];
	uint64_t size = 1 + below(sizeof(bytes));

	w.value = (uint8_t)(w.value % 250 + 1);
	memset(bytes, w.value, size);
	/* What was there before may be longer. */
	if (size < w.now.vm_size)
		size = w.now.vm_size;
	memset(bytes, w.value, size);
	API_OK(qcowfmt_vm_state_pwrite(w.image, bytes, size, 0, &api_error));
	w.now.vm_size = size;
	w.now.vm_value = w.value;
}

static void reopen(void)
{
	api_close(w.image);
	api_qemu_check(w.path);
	w.image = api_open(w.path, API_RW);
}

/* Whether QEMU does an operation in our place. */
static bool let_qemu(void)
{
	if (api_qemu_img == NULL || below(4) != 0)
		return false;
	w.by_qemu++;
	return true;
}

static void run_qemu(const char *option, const char *argument)
{
	api_close(w.image);
	ck_assert_int_eq(api_run(api_qemu_img, "snapshot", option, argument,
	                         w.path, NULL),
	                 0);
	w.image = api_open(w.path, API_RW);
}

static void take(void)
{
	struct qcowfmt_snapshot_options options = {
		.struct_size = sizeof(options),
	};
	struct state *s = &w.snapshots[w.count];

	if (w.count == MAX_SNAPSHOTS)
		return;
	*s = w.now;
	snprintf(s->id, sizeof(s->id), "%" PRIu64, w.next_id);
	options.name = s->id;
	options.vm_state_size = s->vm_size;
	/* QEMU leaves VM state in the active state, too. */
	if (w.now.vm_size == 0 && let_qemu())
		run_qemu("-c", s->id);
	else
		API_OK(qcowfmt_snapshot_create(w.image, &options, &api_error));
	w.next_id++;
	w.count++;
	w.now.vm_size = 0;
	w.now.vm_value = 0;
}

static void apply(void)
{
	const struct state *s = &w.snapshots[below((uint64_t)w.count)];

	if (w.kind->version == 2 && s->size != w.now.size) {
		API_FAILS(qcowfmt_snapshot_apply(w.image, s->id, NULL,
		                                 &api_error),
		          ENOTSUP, QCOWFMT_ERR_UNSUPPORTED);
		return;
	}
	/* QEMU leaks VM state when the size changes. */
	if (w.now.vm_size == 0 && let_qemu())
		run_qemu("-a", s->id);
	else
		API_OK(qcowfmt_snapshot_apply(w.image, s->id, NULL,
		                              &api_error));
	w.now = *s;
	w.now.id[0] = '\0';
}

static uint64_t largest_id(void)
{
	uint64_t largest = 0;

	for (int i = 0; i < w.count; i++)
		largest = QCF_MAX(largest, (uint64_t)strtoull(w.snapshots[i].id,
		                                              NULL, 10));
	return largest;
}

static void delete (void)
{
	int index = (int)below((uint64_t)w.count);

	if (let_qemu())
		run_qemu("-d", w.snapshots[index].id);
	else
		API_OK(qcowfmt_snapshot_delete(w.image, w.snapshots[index].id,
		                               NULL, &api_error));
	w.count--;
	for (; index < w.count; index++)
		w.snapshots[index] = w.snapshots[index + 1];
	w.next_id = largest_id() + 1;
}

static uint64_t vm_start(uint64_t size)
{
	uint64_t entry = w.kind->flags == QCOWFMT_CREATE_EXTENDED_L2 ? 16 : 8;
	uint64_t span = w.kind->cluster_size * w.kind->cluster_size / entry;

	return (size + span - 1) / span;
}

static void resize(void)
{
	struct qcowfmt_resize_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	uint64_t size = (1 + below(MAX_SECTORS - 1)) * SECTOR;

	if (w.kind->version == 2 && w.count > 0)
		return;
	API_OK(qcowfmt_resize(w.image, size, &options, &api_error));
	if (size < w.now.size)
		memset(w.now.sectors + size / SECTOR, 0,
		       (w.now.size - size) / SECTOR);
	if (vm_start(size) != vm_start(w.now.size))
		w.now.vm_size = w.now.vm_value = 0;
	w.now.size = size;
}

/* -------------------------------------------------------------------- judgement */

static void expect_state(struct qcowfmt_image *image, const struct state *s,
                         const char *what)
{
	static uint8_t vm[60000];

	ck_assert_uint_eq(qcowfmt_get_size(image), s->size);
	API_OK(qcowfmt_pread(image, w.have, s->size, 0, &api_error));
	for (uint64_t i = 0; i < s->size; i++)
		ck_assert_msg(w.have[i] == s->sectors[i / SECTOR],
		              "%s, %s %s: byte %" PRIu64 " is %u, want %u",
		              w.kind->name, what, s->id, i, w.have[i],
		              s->sectors[i / SECTOR]);
	API_OK(qcowfmt_vm_state_pread(image, vm, sizeof(vm), 0, &api_error));
	for (uint64_t i = 0; i < sizeof(vm); i++)
		ck_assert_msg(vm[i] == (i < s->vm_size ? s->vm_value : 0),
		              "%s, VM state of %s %s: byte %" PRIu64 " is %u",
		              w.kind->name, what, s->id, i, vm[i]);
}

static void expect_snapshot(const struct state *s)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.snapshot_id = s->id,
	};
	struct qcowfmt_image *image = NULL;

	API_OK(qcowfmt_open_file(w.path, &options, &image, &api_error));
	expect_state(image, s, "snapshot");
	api_close(image);
}

/* QEMU pads or cuts a snapshot to the present size. */
static void expect_qemu_reads(const struct state *s)
{
	const char *raw = scratch_path("snapshot.raw");
	struct api_bytes bytes;

	if (api_qemu_img == NULL || s->size != w.now.size)
		return;
	ck_assert_int_eq(api_run(api_qemu_img, "convert", "-l", s->id, "-f",
	                         "qcow2", "-O", "raw", w.path, raw, NULL),
	                 0);
	bytes = api_read_file(raw);
	ck_assert_uint_eq(bytes.len, s->size);
	for (uint64_t i = 0; i < s->size; i++)
		ck_assert_uint_eq(bytes.bytes[i], s->sectors[i / SECTOR]);
	api_bytes_free(&bytes);
}

static void expect_list(void)
{
	struct qcowfmt_snapshot_list *list = NULL;

	API_OK(qcowfmt_snapshot_list(w.image, 0, &list, &api_error));
	ck_assert_uint_eq(qcowfmt_snapshot_list_count(list),
	                  (unsigned int)w.count);
	for (uint32_t i = 0; i < (uint32_t)w.count; i++) {
		struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

		API_OK(qcowfmt_snapshot_list_get(list, i, &s, &api_error));
		ck_assert_str_eq(s.id, w.snapshots[i].id);
		ck_assert_str_eq(s.name, w.snapshots[i].id);
		ck_assert_uint_eq(s.virtual_size, w.snapshots[i].size);
	}
	qcowfmt_snapshot_list_free(list);
}

static void expect_everything(void)
{
	api_check_clean(w.image);
	expect_state(w.image, &w.now, "disk");
	expect_list();
	reopen();
	expect_state(w.image, &w.now, "disk");
	api_close(w.image);
	for (int i = 0; i < w.count; i++)
		expect_snapshot(&w.snapshots[i]);
	if (w.count > 0)
		expect_qemu_reads(&w.snapshots[below((uint64_t)w.count)]);
	w.image = api_open(w.path, API_RW);
}

static void step(void)
{
	uint64_t choice = below(w.count > 0 ? 14 : 10);

	if (choice < 4)
		write_some();
	else if (choice < 5)
		zero_some();
	else if (choice < 6)
		write_vm_state();
	else if (choice < 8)
		take();
	else if (choice < 9)
		resize();
	else if (choice < 10)
		reopen();
	else if (choice < 12)
		apply();
	else
		delete ();
}

START_TEST(any_order)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.version = kinds[_i].version,
		.flags = kinds[_i].flags,
		.cluster_size = kinds[_i].cluster_size,
		.refcount_bits = kinds[_i].refcount_bits,
		.virtual_size = 300 * SECTOR,
	};

	int steps = getenv("QCF_LONG") == NULL ? 45 : 450;

	w = (struct world){
		.kind = &kinds[_i],
		.random = unit_random_init(),
		.now.size = options.virtual_size,
		.next_id = 1,
	};
	w.random.state += (uint64_t)_i;
	snprintf(w.path, sizeof(w.path), "%s", scratch_path("image.qcow2"));
	API_OK(qcowfmt_create_file(w.path, &options, &api_error));
	w.image = api_open(w.path, API_RW);
	for (int i = 0; i < steps; i++) {
		step();
		if (i % 15 == 14)
			expect_everything();
	}
	printf("%s: %d operations by QEMU\n", w.kind->name, w.by_qemu);
	api_close(w.image);
	api_qemu_check(w.path);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, any_order, 0, QCF_ARRAY_LEN(kinds));
}

int main(int argc, char **argv)
{
	return api_main("snapshots_keep_their_content", add, argc, argv);
}
