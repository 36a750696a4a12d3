/* SPDX-License-Identifier: MIT */
/* disk.c - storage that takes time, loses what was not flushed and fails */
#include "disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "schedule.h"

#define SECTOR     512u
#define GARBAGE    0xdb
#define MAX_CHANGE 4096

/* Something that a flush has not covered yet. */
struct change {
	uint64_t offset;
	uint64_t len;
	uint8_t *data; /* NULL: the size became offset */
	bool ended;
	bool stable;
};

struct qcf_disk {
	struct qcf_bytes now;
	struct qcf_bytes stable;
	struct change changes[MAX_CHANGE]; /* in the order they began */
	uint64_t change_count;
	uint64_t forgotten; /* changes dropped from the front so far */
	enum qcf_fault fault;
	uint64_t fails_in;
	bool is_full;
	int victim;
};

void qcf_bytes_free(struct qcf_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct qcf_bytes){ 0 };
}

static void note_change(struct qcf_bytes *bytes, uint64_t start, uint64_t end)
{
	uint64_t last = (end + QCF_DISK_PAGE - 1) / QCF_DISK_PAGE;

	for (uint64_t i = start / QCF_DISK_PAGE; i < last; i++)
		bytes->changed[i] = true;
	if (last > bytes->changed_end)
		bytes->changed_end = last;
}

static void make_room(struct qcf_bytes *bytes, uint64_t size)
{
	if (size > QCF_DISK_SIZE)
		abort();
	if (size <= bytes->room)
		return;
	bytes->room = size * 2;
	bytes->data = realloc(bytes->data, bytes->room);
	if (bytes->data == NULL)
		abort();
}

/* New bytes are zeros. */
static void set_size(struct qcf_bytes *bytes, uint64_t size)
{
	make_room(bytes, size);
	if (size > bytes->size) {
		memset(bytes->data + bytes->size, 0, size - bytes->size);
		note_change(bytes, bytes->size, size);
	} else if (size < bytes->size) {
		note_change(bytes, size, bytes->size);
	}
	bytes->size = size;
}

/* What it is like, as far as it goes. */
static void copy_page(struct qcf_bytes *to, const struct qcf_bytes *from,
                      uint64_t page)
{
	uint64_t start = page * QCF_DISK_PAGE;
	uint64_t len = QCF_DISK_PAGE;

	if (start >= from->size)
		return;
	if (len > from->size - start)
		len = from->size - start;
	memcpy(to->data + start, from->data + start, len);
}

static void copy_all(struct qcf_bytes *to, const struct qcf_bytes *from)
{
	make_room(to, from->size);
	if (from->size > 0)
		memcpy(to->data, from->data, from->size);
	to->size = from->size;
}

/* Make it like what does not change. */
static void become(struct qcf_bytes *to, const struct qcf_bytes *from)
{
	if (to->like != from) {
		copy_all(to, from);
		to->like = from;
		memset(to->changed, 0, sizeof(to->changed));
	}
	for (uint64_t i = 0; i < to->changed_end; i++) {
		if (to->changed[i])
			copy_page(to, from, i);
		to->changed[i] = false;
	}
	to->changed_end = 0;
	to->size = from->size;
}

/* Make two equal that are like the same. */
static void follow(struct qcf_bytes *to, const struct qcf_bytes *from)
{
	become(to, from->like);
	make_room(to, from->size);
	to->size = from->size;
	for (uint64_t i = 0; i < from->changed_end; i++) {
		if (!from->changed[i])
			continue;
		copy_page(to, from, i);
		to->changed[i] = true;
	}
	to->changed_end = from->changed_end;
}

static void put(struct qcf_bytes *bytes, const void *data, uint64_t len,
                uint64_t offset)
{
	if (offset + len > bytes->size)
		set_size(bytes, offset + len);
	memcpy(bytes->data + offset, data, len);
	note_change(bytes, offset, offset + len);
}

struct qcf_disk *qcf_disk_new(void)
{
	struct qcf_disk *disk = calloc(1, sizeof(*disk));

	if (disk == NULL)
		abort();
	disk->victim = -1;
	return disk;
}

static void forget_changes(struct qcf_disk *disk)
{
	for (uint64_t i = 0; i < disk->change_count; i++)
		free(disk->changes[i].data);
	disk->forgotten += disk->change_count;
	disk->change_count = 0;
}

void qcf_disk_free(struct qcf_disk *disk)
{
	if (disk == NULL)
		return;
	forget_changes(disk);
	qcf_bytes_free(&disk->now);
	qcf_bytes_free(&disk->stable);
	free(disk);
}

void qcf_disk_load(struct qcf_disk *disk, const struct qcf_bytes *bytes)
{
	forget_changes(disk);
	become(&disk->now, bytes);
	become(&disk->stable, bytes);
	disk->fault = QCF_FAULT_NONE;
	disk->is_full = false;
	disk->victim = -1;
}

void qcf_disk_save(const struct qcf_disk *disk, struct qcf_bytes *bytes)
{
	copy_all(bytes, &disk->now);
}

/* ----------------------------------------------------------------- changes */

/* Returns the number of the change, which stays its name. */
static uint64_t begin_change(struct qcf_disk *disk, const void *data,
                             uint64_t len, uint64_t offset)
{
	struct change *c = &disk->changes[disk->change_count];

	if (disk->change_count == MAX_CHANGE)
		abort();
	*c = (struct change){ .offset = offset, .len = len };
	if (data != NULL) {
		c->data = malloc(len);
		if (c->data == NULL)
			abort();
		memcpy(c->data, data, len);
	}
	return disk->forgotten + disk->change_count++;
}

static void apply(struct qcf_bytes *bytes, const struct change *c)
{
	if (c->stable)
		return;
	if (c->data != NULL)
		put(bytes, c->data, c->len, c->offset);
	else
		set_size(bytes, c->offset);
}

/* Make stable what had ended when a flush began: of the first count changes. */
static void settle(struct qcf_disk *disk, const bool *covered, uint64_t count)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < disk->change_count; i++) {
		struct change *c = &disk->changes[i];

		if (i < count && covered[i]) {
			apply(&disk->stable, c);
			c->stable = true;
		}
		if (!c->stable)
			kept++;
	}
	if (kept == 0)
		forget_changes(disk);
}

/* Some sectors of a write. */
static void apply_torn(struct qcf_bytes *bytes, const struct change *c)
{
	uint64_t done = 0;

	while (done < c->len) {
		uint64_t part = SECTOR - (c->offset + done) % SECTOR;

		part = part < c->len - done ? part : c->len - done;
		if (qcf_schedule_random(2) == 0)
			put(bytes, c->data + done, part, c->offset + done);
		done += part;
	}
}

void qcf_disk_cut(const struct qcf_disk *disk, struct qcf_disk *left)
{
	uint64_t likely = qcf_schedule_random(4);

	forget_changes(left);
	follow(&left->now, &disk->stable);
	for (uint64_t i = 0; i < disk->change_count; i++) {
		const struct change *c = &disk->changes[i];
		uint64_t choice = qcf_schedule_random(4);

		if (choice < likely)
			apply(&left->now, c);
		else if (choice == 3 && c->data != NULL && !c->stable)
			apply_torn(&left->now, c);
	}
}

/* ---------------------------------------------------------------- failures */

void qcf_disk_fail(struct qcf_disk *disk, enum qcf_fault fault, uint64_t n)
{
	disk->fault = fault;
	disk->fails_in = n;
}

int qcf_disk_victim(const struct qcf_disk *disk)
{
	return disk->victim;
}

static bool fails(struct qcf_disk *disk, enum qcf_fault fault)
{
	if (disk->fault != fault || qcf_fiber_self() < 0 ||
	    --disk->fails_in > 0)
		return false;
	disk->fault = QCF_FAULT_NONE;
	disk->victim = qcf_fiber_self();
	return true;
}

static int check_write(struct qcf_disk *disk, uint64_t end)
{
	if (end > QCF_DISK_SIZE)
		return -ENOSPC;
	if (fails(disk, QCF_FAULT_WRITE))
		return -EIO;
	if (end <= disk->now.size)
		return 0;
	if (disk->is_full || fails(disk, QCF_FAULT_NO_SPACE)) {
		disk->is_full = qcf_fiber_self() >= 0;
		return -ENOSPC;
	}
	return 0;
}

/* --------------------------------------------------------------- operations */

static uint64_t whole_sectors(uint64_t len)
{
	return len > SECTOR ? len / 2 - len / 2 % SECTOR : len;
}

static uint64_t copy_out(const struct qcf_bytes *bytes, void *to, uint64_t len,
                         uint64_t offset)
{
	if (offset >= bytes->size)
		return 0;
	len = len < bytes->size - offset ? len : bytes->size - offset;
	memcpy(to, bytes->data + offset, len);
	return len;
}

static int64_t disk_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	struct qcf_disk *disk = opaque;
	uint64_t half = whole_sectors(len);
	uint64_t got;

	qcf_point(QCF_POINT_READ, disk);
	if (fails(disk, QCF_FAULT_READ))
		return -EIO;
	got = copy_out(&disk->now, buffer, half, offset);
	if (got == half && half < len) {
		qcf_point(QCF_POINT_READ, disk);
		got += copy_out(&disk->now, (uint8_t *)buffer + half,
		                len - half, offset + half);
	}
	qcf_point(QCF_POINT_READ, disk);
	return (int64_t)got;
}

static int write_bytes(struct qcf_disk *disk, const uint8_t *data, uint64_t len,
                       uint64_t offset)
{
	uint64_t half = whole_sectors(len);
	uint64_t number = begin_change(disk, data, len, offset);

	qcf_point(QCF_POINT_WRITE, disk);
	put(&disk->now, data, half, offset);
	if (half < len) {
		qcf_point(QCF_POINT_WRITE, disk);
		put(&disk->now, data + half, len - half, offset + half);
	}
	disk->changes[number - disk->forgotten].ended = true;
	qcf_point(QCF_POINT_WRITE, disk);
	return 0;
}

static int disk_pwrite(void *opaque, const void *buffer, size_t len,
                       uint64_t offset)
{
	struct qcf_disk *disk = opaque;
	int ret;

	qcf_point(QCF_POINT_WRITE, disk);
	ret = check_write(disk, offset + len);
	return ret < 0 ? ret : write_bytes(disk, buffer, len, offset);
}

/* Writes that end while a flush runs are not covered by it. */
static int disk_flush(void *opaque)
{
	struct qcf_disk *disk = opaque;
	uint64_t forgotten;
	uint64_t count;
	bool *covered;

	qcf_point(QCF_POINT_FLUSH, disk);
	if (fails(disk, QCF_FAULT_FLUSH))
		return -EIO;
	forgotten = disk->forgotten;
	count = disk->change_count;
	covered = malloc(count + 1);
	if (covered == NULL)
		abort();
	for (uint64_t i = 0; i < count; i++)
		covered[i] = disk->changes[i].ended;
	qcf_point(QCF_POINT_FLUSH, disk);
	/* If another flush has made everything stable there is nothing left. */
	if (forgotten == disk->forgotten)
		settle(disk, covered, count);
	free(covered);
	qcf_point(QCF_POINT_FLUSH, disk);
	return 0;
}

static int disk_get_size(void *opaque, uint64_t *size)
{
	struct qcf_disk *disk = opaque;

	qcf_point(QCF_POINT_SIZE, disk);
	*size = disk->now.size;
	return 0;
}

static int disk_truncate(void *opaque, uint64_t size)
{
	struct qcf_disk *disk = opaque;
	uint64_t number;
	int ret;

	qcf_point(QCF_POINT_WRITE, disk);
	ret = check_write(disk, size);
	if (ret < 0)
		return ret;
	number = begin_change(disk, NULL, 0, size);
	set_size(&disk->now, size);
	disk->changes[number - disk->forgotten].ended = true;
	qcf_point(QCF_POINT_WRITE, disk);
	return 0;
}

static int disk_zero(void *opaque, uint64_t offset, uint64_t len)
{
	uint8_t *zeros = calloc(1, len);

	if (zeros == NULL)
		abort();
	qcf_point(QCF_POINT_WRITE, opaque);
	write_bytes(opaque, zeros, len, offset);
	free(zeros);
	return 0;
}

static int disk_discard(void *opaque, uint64_t offset, uint64_t len)
{
	struct qcf_disk *disk = opaque;
	uint8_t *garbage;

	qcf_point(QCF_POINT_WRITE, disk);
	if (offset >= disk->now.size)
		return 0;
	if (len > disk->now.size - offset)
		len = disk->now.size - offset;
	garbage = malloc(len);
	if (garbage == NULL)
		abort();
	memset(garbage, GARBAGE, len);
	write_bytes(disk, garbage, len, offset);
	free(garbage);
	return 0;
}

struct qcowfmt_storage *qcf_disk_storage(struct qcf_disk *disk, bool writable,
                                         bool has_zeros)
{
	struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = disk_pread,
		.get_size = disk_get_size,
	};
	struct qcowfmt_storage *storage = NULL;

	if (writable) {
		ops.pwrite = disk_pwrite;
		ops.flush = disk_flush;
		ops.truncate = disk_truncate;
		ops.discard = disk_discard;
	}
	if (writable && has_zeros)
		ops.zero = disk_zero;
	if (qcowfmt_storage_new_custom(&ops, disk, "disk", &storage, NULL) != 0)
		abort();
	return storage;
}
