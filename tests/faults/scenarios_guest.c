/* SPDX-License-Identifier: MIT */
/*
 * scenarios_guest.c - what a guest does, while something fails
 *
 * Of the disk, in clusters: 0 to 2 hold data (1 newer than the snapshot), 3 and 4
 * nothing, 5 data in its second sector, 6 zeros, 7 was discarded, 8 holds data, 10
 * and 11 are compressed where the kind has that.
 */
#include <string.h>

#include "auto.h"
#include "fault_images.h"

static uint8_t bytes[TRIAL_MAX_DISK];

static uint64_t cluster(const struct trial *t, uint64_t number)
{
	return t->kind->cluster_size * number;
}

static void flush(struct trial *t, int64_t ret)
{
	if (ret >= 0)
		TRY(t, qcowfmt_flush, t->image, &t->error);
}

static int64_t write_at(struct trial *t, uint64_t offset, uint64_t len,
                        uint8_t seed)
{
	trial_stamp(bytes, (size_t)len, seed);
	return TRY(t, qcowfmt_pwrite, t->image, bytes, (size_t)len, offset,
	           &t->error);
}

/* ---------------------------------------------------------------- open and close */

static void open_and_close(struct trial *t, uint32_t flags)
{
	struct qcowfmt_open_options options = trial_options(t, flags);
	struct qcowfmt_storage *storage = trial_try_storage(
		t, TRIAL_TOP, (flags & QCOWFMT_OPEN_READ_WRITE) != 0);
	struct qcowfmt_image *image = NULL;
	uint64_t size;

	if (storage == NULL)
		return;
	if (TRY(t, qcowfmt_open, storage, &options, &image, &t->error) < 0) {
		TRY_VOID(t, qcowfmt_storage_free, storage);
		return;
	}
	size = TRY_VALUE(t, qcowfmt_get_size, image);
	trial_put(t, &size, sizeof(size));
	TRY(t, qcowfmt_close, image, &t->error);
}

static void open_to_read(struct trial *t)
{
	open_and_close(t, 0);
}

static void open_to_write(struct trial *t)
{
	open_and_close(t, QCOWFMT_OPEN_READ_WRITE);
}

static void open_without_data(struct trial *t)
{
	open_and_close(t, QCOWFMT_OPEN_NO_DATA);
}

static void open_snapshot(struct trial *t)
{
	struct qcowfmt_open_options options = trial_options(t, 0);
	struct qcowfmt_storage *storage =
		trial_try_storage(t, TRIAL_TOP, false);
	struct qcowfmt_image *image = NULL;

	options.snapshot_name = "one";
	if (storage == NULL)
		return;
	if (TRY(t, qcowfmt_open, storage, &options, &image, &t->error) < 0) {
		TRY_VOID(t, qcowfmt_storage_free, storage);
		return;
	}
	if (TRY(t, qcowfmt_pread, image, bytes, (size_t)cluster(t, 12), 0,
	        &t->error) >= 0)
		trial_put(t, bytes, (size_t)cluster(t, 12));
	TRY(t, qcowfmt_close, image, &t->error);
}

/* What was written before reaches storage by closing. */
static void write_before(struct trial *t)
{
	trial_stamp(bytes, (size_t)cluster(t, 2), 111);
	qcowfmt_pwrite(t->image, bytes, (size_t)cluster(t, 2),
	               cluster(t, 3) + 512, NULL);
	qcowfmt_pwrite(t->image, bytes, 512, cluster(t, 8), NULL);
}

static void close_it(struct trial *t)
{
	struct qcowfmt_image *image = qcf_take(&t->image);

	TRY(t, qcowfmt_close, image, &t->error);
}

/* ---------------------------------------------------------------------- reading */

static void read_all(struct trial *t)
{
	size_t len = (size_t)trial_disk_size(t->kind);

	if (TRY(t, qcowfmt_pread, t->image, bytes, len, 0, &t->error) >= 0)
		trial_put(t, bytes, len);
}

/* Many buffers at odd places, so that helper vectors are needed. */
static void read_vector(struct trial *t)
{
	struct iovec iov[80];

	for (int i = 0; i < 80; i++)
		iov[i] = (struct iovec){ bytes + i * 300, 300 };
	if (TRY(t, qcowfmt_preadv, t->image, iov, 80, 77, &t->error) >= 0)
		trial_put(t, bytes, (size_t)80 * 300);
}

/* ---------------------------------------------------------------------- writing */

/* Part of clusters that are not there. */
static void write_new(struct trial *t)
{
	flush(t, write_at(t, cluster(t, 3) + 700, cluster(t, 1), 120));
}

static void write_in_place(struct trial *t)
{
	flush(t, write_at(t, cluster(t, 8) + 100, 300, 121));
}

/* Clusters that a snapshot has, too, and one that is compressed. */
static void write_shared(struct trial *t)
{
	int64_t ret = write_at(t, 600, 1000, 122);

	if (ret >= 0)
		ret = write_at(t, cluster(t, 10) + 512, 1024, 123);
	flush(t, ret);
}

static void write_vector(struct trial *t)
{
	size_t len = (size_t)cluster(t, 5);
	struct iovec iov[] = {
		{ bytes, 100 },
		{ bytes + 100, len - 200 },
		{ bytes + len - 100, 100 },
	};

	trial_stamp(bytes, len, 124);
	flush(t, TRY(t, qcowfmt_pwritev, t->image, iov, 3, cluster(t, 4) + 512,
	             &t->error));
}

static void write_compressed(struct trial *t)
{
	size_t len = (size_t)cluster(t, 3);

	trial_stamp(bytes, len, 125);
	flush(t, TRY(t, qcowfmt_pwrite_compressed, t->image, bytes, len,
	             cluster(t, 10), &t->error));
}

static void write_zeroes(struct trial *t)
{
	flush(t, TRY(t, qcowfmt_write_zeroes, t->image, 512, cluster(t, 9), 0,
	             &t->error));
}

static void unmap_zeroes(struct trial *t)
{
	flush(t, TRY(t, qcowfmt_write_zeroes, t->image, cluster(t, 1) + 512,
	             cluster(t, 10), QCOWFMT_ZERO_MAY_UNMAP, &t->error));
}

static void discard(struct trial *t)
{
	flush(t, TRY(t, qcowfmt_discard, t->image, cluster(t, 2), cluster(t, 9),
	             &t->error));
}

static void write_vm_state(struct trial *t)
{
	trial_stamp(bytes, 3000, 126);
	flush(t, TRY(t, qcowfmt_vm_state_pwrite, t->image, bytes, 3000, 700,
	             &t->error));
	if (t->failures == 0 && TRY(t, qcowfmt_vm_state_pread, t->image, bytes,
	                            4000, 0, &t->error) >= 0)
		trial_put(t, bytes, 4000);
}

/* Several writes share a commit; what was freed is used again. */
static void write_and_reuse(struct trial *t)
{
	int64_t ret = write_at(t, cluster(t, 13), cluster(t, 1), 127);

	if (ret >= 0)
		ret = TRY(t, qcowfmt_discard, t->image, cluster(t, 8),
		          cluster(t, 1), &t->error);
	if (ret >= 0)
		ret = TRY(t, qcowfmt_flush, t->image, &t->error);
	if (ret >= 0)
		ret = write_at(t, cluster(t, 3), 512, 128);
	if (ret >= 0)
		ret = TRY(t, qcowfmt_write_zeroes, t->image, cluster(t, 5),
		          cluster(t, 1), 0, &t->error);
	flush(t, ret);
}

const struct scenario guest_scenarios[] = {
	{ "open to read", 0, OPENS | READS_ONLY, open_to_read },
	{ "open to write", 0, OPENS | DIRTY, open_to_write },
	{ "open without data", NEEDS_QCOW2, OPENS | READS_ONLY,
	  open_without_data },
	{ "open a snapshot", NEEDS_SNAPSHOTS, OPENS | READS_ONLY,
	  open_snapshot },
	{ "close", 0, ONCE | DIRTY, close_it, write_before },
	{ "read", 0, READS_ONLY, read_all },
	{ "read while writable", 0, 0, read_all },
	{ "read a vector", 0, READS_ONLY, read_vector },
	{ "write new clusters", 0, DIRTY, write_new },
	{ "write in place", 0, DIRTY, write_in_place },
	{ "write shared clusters", 0, DIRTY, write_shared },
	{ "write a vector", 0, DIRTY, write_vector },
	{ "write compressed", NEEDS_QCOW | NEEDS_NO_DATA | NEEDS_NO_SECRET,
	  DIRTY, write_compressed },
	{ "write zeroes", 0, DIRTY, write_zeroes },
	{ "unmap zeroes", 0, DIRTY, unmap_zeroes },
	{ "discard", 0, DIRTY, discard },
	{ "write VM state", NEEDS_QCOW2 | NEEDS_NO_DATA, DIRTY,
	  write_vm_state },
	{ "write and use again", 0, DIRTY, write_and_reuse },
};
const size_t guest_scenario_count = QCF_ARRAY_LEN(guest_scenarios);
