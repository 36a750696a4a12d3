/* SPDX-License-Identifier: MIT */
/* disk_faulty.c - a disk with a planted fault that a test must notice */
#include <stdlib.h>

#include "disk.h"

#define FAULT_PERCENT 20

struct faulty_disk {
	struct qcf_disk disk;
	struct qcf_disk *inner; /* owned */
	enum qcf_fault fault;
	uint64_t size; /* of the disk */
	struct qcf_rng rng;
	/* QCF_FAULT_LOST_ON_CLOSE: what a range held before a write that no
	 * flush has followed; NULL if there is none. */
	uint8_t *old;
	size_t old_len;
	uint64_t old_offset;
};

static struct faulty_disk *from_disk(struct qcf_disk *disk)
{
	return (struct faulty_disk *)(void *)disk;
}

const char *qcf_fault_name(enum qcf_fault fault)
{
	static const char *const names[QCF_FAULT_COUNT] = {
		[QCF_FAULT_LOST_WRITE] = "lost write",
		[QCF_FAULT_SHORT_WRITE] = "short write",
		[QCF_FAULT_SHIFTED_READ] = "shifted read",
		[QCF_FAULT_LOST_ZERO] = "lost zero",
		[QCF_FAULT_GREEDY_ZERO] = "greedy zero",
		[QCF_FAULT_GREEDY_DISCARD] = "greedy discard",
		[QCF_FAULT_LOST_DISCARD] = "lost discard",
		[QCF_FAULT_LOST_ON_CLOSE] = "lost on close",
	};

	return names[fault];
}

static bool strikes(struct faulty_disk *f, enum qcf_fault fault)
{
	return f->fault == fault && qcf_rng_percent(&f->rng, FAULT_PERCENT);
}

static bool faulty_open(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct qcf_disk *inner = from_disk(disk)->inner;

	return inner->verbs->open(inner, finding);
}

static void forget_old(struct faulty_disk *f)
{
	free(f->old);
	f->old = NULL;
}

static bool faulty_close(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	if (f->old && !f->inner->verbs->write(f->inner, f->old, f->old_len,
	                                      f->old_offset, finding))
		return false;
	forget_old(f);
	return f->inner->verbs->close(f->inner, finding);
}

static bool faulty_read(struct qcf_disk *disk, void *buffer, size_t len,
                        uint64_t offset, struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	if (offset + len + 512 <= f->size && strikes(f, QCF_FAULT_SHIFTED_READ))
		offset += 512;
	return f->inner->verbs->read(f->inner, buffer, len, offset, finding);
}

static bool keep_old(struct faulty_disk *f, size_t len, uint64_t offset,
                     struct qcf_finding *finding)
{
	forget_old(f);
	f->old = malloc(len);
	if (!f->old)
		abort();
	f->old_len = len;
	f->old_offset = offset;
	return f->inner->verbs->read(f->inner, f->old, len, offset, finding);
}

static bool faulty_write(struct qcf_disk *disk, const void *buffer, size_t len,
                         uint64_t offset, struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	if (strikes(f, QCF_FAULT_LOST_WRITE))
		return true;
	if (len > 1 && strikes(f, QCF_FAULT_SHORT_WRITE))
		len--;
	if (f->fault == QCF_FAULT_LOST_ON_CLOSE &&
	    !keep_old(f, len, offset, finding))
		return false;
	return f->inner->verbs->write(f->inner, buffer, len, offset, finding);
}

static bool faulty_zero(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                        bool may_unmap, struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	if (strikes(f, QCF_FAULT_LOST_ZERO))
		return true;
	if (offset + len < f->size && strikes(f, QCF_FAULT_GREEDY_ZERO))
		len++;
	return f->inner->verbs->zero(f->inner, offset, len, may_unmap, finding);
}

static bool faulty_discard(struct qcf_disk *disk, uint64_t offset, uint64_t len,
                           struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	if (strikes(f, QCF_FAULT_LOST_DISCARD))
		return true;
	if (strikes(f, QCF_FAULT_GREEDY_DISCARD))
		return f->inner->verbs->zero(f->inner, offset, len, true,
		                             finding);
	return f->inner->verbs->discard(f->inner, offset, len, finding);
}

static bool faulty_flush(struct qcf_disk *disk, struct qcf_finding *finding)
{
	struct faulty_disk *f = from_disk(disk);

	forget_old(f);
	return f->inner->verbs->flush(f->inner, finding);
}

static void faulty_free(struct qcf_disk *disk)
{
	struct faulty_disk *f = from_disk(disk);

	f->inner->verbs->free(f->inner);
	free(f->old);
	free(f);
}

/* No inspect(): the fault must show in what is read. */
static const struct qcf_disk_verbs faulty_verbs = {
	.open = faulty_open,
	.close = faulty_close,
	.read = faulty_read,
	.write = faulty_write,
	.zero = faulty_zero,
	.discard = faulty_discard,
	.flush = faulty_flush,
	.free = faulty_free,
};

struct qcf_disk *qcf_disk_faulty_new(struct qcf_disk *inner,
                                     enum qcf_fault fault, uint64_t size,
                                     uint64_t seed)
{
	struct faulty_disk *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->disk.verbs = &faulty_verbs;
	f->inner = inner;
	f->fault = fault;
	f->size = size;
	f->rng = qcf_rng_new(seed, 1);
	return &f->disk;
}
