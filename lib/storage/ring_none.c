/* SPDX-License-Identifier: MIT */
/* ring_none.c - in place of ring.c where liburing is not built in: no ring is ever
 * made, so nothing but qcf_ring_new() is called */
#include <errno.h>
#include <stddef.h>

#include "ring.h"

int qcf_ring_new(uint32_t entries, struct qcf_ring **ring)
{
	(void)entries;
	(void)ring;
	return -ENOSYS;
}

void qcf_ring_free(struct qcf_ring *ring)
{
	(void)ring;
}

int qcf_ring_fd(const struct qcf_ring *ring)
{
	(void)ring;
	return -1;
}

void qcf_ring_put_transfer(struct qcf_ring *ring,
                           const struct qcf_ring_transfer *transfer, void *tag)
{
	(void)ring;
	(void)transfer;
	(void)tag;
}

void qcf_ring_put_nop(struct qcf_ring *ring, void *tag)
{
	(void)ring;
	(void)tag;
}

uint32_t qcf_ring_submit(struct qcf_ring *ring)
{
	(void)ring;
	return 0;
}

void qcf_ring_wait(struct qcf_ring *ring)
{
	(void)ring;
}

uint32_t qcf_ring_ready(struct qcf_ring *ring)
{
	(void)ring;
	return 0;
}

struct qcf_ring_result qcf_ring_look(const struct qcf_ring *ring, uint32_t i)
{
	(void)ring;
	(void)i;
	return (struct qcf_ring_result){ NULL, -ENOSYS };
}

void qcf_ring_take(struct qcf_ring *ring, uint32_t count)
{
	(void)ring;
	(void)count;
}
