/* SPDX-License-Identifier: MIT */
/*
 * storage_direct.c - any offset, length and memory on a file opened O_DIRECT
 *
 * Aligned requests go to the kernel as they are.  Others pass through an
 * aligned buffer, a piece at a time; a write that covers a block in part reads
 * that block first and writes it back.
 *
 * What must hold: bytes that a write does not name keep the value that the last
 * write to them gave, although whole blocks are written.  So every write claims
 * its blocks while it runs, and one that writes back bytes of others shares
 * them with nobody.  A write that ends inside the last block of the file, or
 * beyond it, makes the file longer than asked and cuts it again; it claims
 * everything up to infinity, since a write further on would be cut with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "checked.h"
#include "fd_io.h"
#include "storage.h"
#include "storage_direct.h"

/* At most this much of a request is in the aligned buffer at a time. */
#define BOUNCE_SIZE (1u << 20)

/* For files whose kernel does not tell: no device in use needs more. */
#define DEFAULT_ALIGNMENT 4096u

/* ------------------------------------------------------------- alignment */

#ifdef STATX_DIOALIGN
/* Whether the kernel tells; 0 then means that direct I/O is not possible. */
static bool ask_statx(int fd, uint32_t *alignment)
{
	struct statx stx = { 0 };

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
	    (stx.stx_mask & STATX_DIOALIGN) == 0)
		return false;
	*alignment = stx.stx_dio_offset_align == 0
	                     ? 0
	                     : QCF_MAX(stx.stx_dio_mem_align,
	                               stx.stx_dio_offset_align);
	return true;
}
#else
static bool ask_statx(int fd, uint32_t *alignment)
{
	(void)fd;
	(void)alignment;
	return false;
}
#endif

static uint32_t find_alignment(int fd, bool is_device)
{
	uint32_t alignment;
	int sector_size;

	if (ask_statx(fd, &alignment))
		return alignment;
	if (is_device && ioctl(fd, BLKSSZGET, &sector_size) == 0)
		return (uint32_t)sector_size;
	return DEFAULT_ALIGNMENT;
}

int qcf_direct_init(struct qcf_direct *d, int fd, bool is_device)
{
	uint32_t alignment = find_alignment(fd, is_device);

	if (!qcf_is_power_of_two(alignment) || alignment > BOUNCE_SIZE)
		return -EINVAL;
	*d = (struct qcf_direct){
		.fd = fd,
		.alignment = alignment,
		.fixed_size = is_device,
	};
	qcf_mutex_init(&d->mutex, QCF_RANK_STORAGE);
	qcf_cond_init(&d->released);
	return 0;
}

void qcf_direct_fini(struct qcf_direct *d)
{
	qcf_cond_fini(&d->released);
	qcf_mutex_fini(&d->mutex);
}

bool qcf_direct_is_aligned(const struct qcf_direct *d, const struct iovec *iov,
                           int iovcnt, uint64_t offset)
{
	uint64_t bits = offset;

	for (int i = 0; i < iovcnt; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return qcf_is_aligned(bits, d->alignment);
}

/* An aligned buffer for a piece of a request of len bytes; the caller frees
 * it.  *size is a multiple of the alignment. */
static uint8_t *new_bounce(const struct qcf_direct *d, uint64_t len,
                           size_t *size)
{
	uint64_t blocks = qcf_align_up(len, d->alignment) + d->alignment;

	*size = (size_t)QCF_MIN(blocks, (uint64_t)BOUNCE_SIZE);
	return aligned_alloc(d->alignment, *size);
}

/* ---------------------------------------------------------------- claims */

static bool clashes(const struct qcf_direct_claim *a,
                    const struct qcf_direct_claim *b)
{
	return (a->exclusive || b->exclusive) && a->start < b->end &&
	       b->start < a->end;
}

static bool is_free(const struct qcf_direct *d,
                    const struct qcf_direct_claim *claim)
{
	const struct qcf_direct_claim *other = d->claims;

	while (other != NULL && !clashes(other, claim))
		other = other->next;
	return other == NULL;
}

static void take_claim(struct qcf_direct *d, struct qcf_direct_claim *claim)
{
	QCF_GUARD(&d->mutex);

	while (!is_free(d, claim))
		qcf_cond_wait(&d->released, &d->mutex);
	claim->next = d->claims;
	d->claims = claim;
}

void qcf_direct_claim(struct qcf_direct *d, struct qcf_direct_claim *claim,
                      uint64_t offset, uint64_t len)
{
	*claim = (struct qcf_direct_claim){
		.start = qcf_align_down(offset, d->alignment),
		.end = qcf_align_up(offset + len, d->alignment),
	};
	take_claim(d, claim);
}

void qcf_direct_release(struct qcf_direct *d, struct qcf_direct_claim *claim)
{
	QCF_GUARD(&d->mutex);
	struct qcf_direct_claim **link = &d->claims;

	while (*link != claim)
		link = &(*link)->next;
	*link = claim->next;
	qcf_cond_broadcast(&d->released);
}

/* --------------------------------------------------------------- reading */

static int64_t read_at(const struct qcf_direct *d, void *buffer, size_t len,
                       uint64_t offset)
{
	struct iovec iov;

	iov.iov_base = buffer;
	iov.iov_len = len;
	return qcf_fd_preadv(d->fd, &iov, 1, offset, d->alignment);
}

static int64_t read_bounced(const struct qcf_direct *d, const struct iovec *iov,
                            int iovcnt, uint64_t offset, uint64_t len)
{
	size_t size;
	QCF_AUTO_FREE uint8_t *buffer = new_bounce(d, len, &size);
	uint64_t done = 0;

	if (buffer == NULL)
		return -ENOMEM;
	while (done < len) {
		uint64_t pos = offset + done;
		uint64_t start = qcf_align_down(pos, d->alignment);
		uint64_t skip = pos - start;
		uint64_t want = QCF_MIN(len - done, size - skip);
		size_t blocks = (size_t)qcf_align_up(skip + want, d->alignment);
		int64_t got = read_at(d, buffer, blocks, start);

		if (got < 0)
			return got;

		uint64_t have = QCF_MIN((uint64_t)got, skip + want);

		if (have <= skip)
			break;
		qcf_iov_from_buffer(iov, iovcnt, done, buffer + skip,
		                    (size_t)(have - skip));
		done += have - skip;
		if (have < skip + want)
			break;
	}
	return (int64_t)done;
}

int64_t qcf_direct_preadv(struct qcf_direct *d, const struct iovec *iov,
                          int iovcnt, uint64_t offset)
{
	uint64_t len;

	if (qcf_direct_is_aligned(d, iov, iovcnt, offset))
		return qcf_fd_preadv(d->fd, iov, iovcnt, offset, d->alignment);
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	return read_bounced(d, iov, iovcnt, offset, len);
}

/* --------------------------------------------------------------- writing */

/* Read one block, with zeros for what lies beyond the end of the file. */
static int read_block(const struct qcf_direct *d, uint8_t *block,
                      uint64_t offset)
{
	int64_t got = read_at(d, block, d->alignment, offset);

	if (got < 0)
		return (int)got;
	memset(block + got, 0, d->alignment - (size_t)got);
	return 0;
}

/* Put the blocks that [pos, end) covers in part into the buffer, which begins
 * at start. */
static int read_edges(const struct qcf_direct *d, uint8_t *buffer,
                      uint64_t start, uint64_t pos, uint64_t end)
{
	uint64_t last = qcf_align_down(end, d->alignment);
	bool head = pos != start;
	bool tail = end != last;
	int ret = 0;

	if (head)
		ret = read_block(d, buffer, start);
	if (ret == 0 && tail && !(head && last == start))
		ret = read_block(d, buffer + (last - start), last);
	return ret;
}

static int write_bounced(const struct qcf_direct *d, const struct iovec *iov,
                         int iovcnt, uint64_t offset, uint64_t len)
{
	size_t size;
	QCF_AUTO_FREE uint8_t *buffer = new_bounce(d, len, &size);
	uint64_t end = offset + len;

	if (buffer == NULL)
		return -ENOMEM;
	for (uint64_t pos = offset; pos < end;) {
		uint64_t start = qcf_align_down(pos, d->alignment);
		uint64_t stop = QCF_MIN(end, start + size);
		int ret = read_edges(d, buffer, start, pos, stop);

		if (ret < 0)
			return ret;
		qcf_iov_to_buffer(iov, iovcnt, pos - offset,
		                  buffer + (pos - start), (size_t)(stop - pos));

		struct iovec blocks = {
			.iov_base = buffer,
			.iov_len = (size_t)(qcf_align_up(stop, d->alignment) -
			                    start),
		};

		ret = qcf_fd_pwritev(d->fd, &blocks, 1, start, d->alignment);
		if (ret < 0)
			return ret;
		pos = stop;
	}
	return 0;
}

static int file_size(const struct qcf_direct *d, uint64_t *size)
{
	struct stat st;

	if (fstat(d->fd, &st) < 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int cut(const struct qcf_direct *d, uint64_t size)
{
	int ret;

	do {
		ret = ftruncate(d->fd, (off_t)size);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* Whole blocks went past where the file was to end: cut them. */
static int write_and_cut(const struct qcf_direct *d, const struct iovec *iov,
                         int iovcnt, uint64_t offset, uint64_t len)
{
	uint64_t size = 0;
	uint64_t grown = 0;
	int ret = file_size(d, &size);

	if (ret < 0)
		return ret;

	int written = write_bounced(d, iov, iovcnt, offset, len);
	uint64_t want = written == 0 ? QCF_MAX(size, offset + len) : size;

	ret = file_size(d, &grown);
	if (ret == 0 && grown > want)
		ret = cut(d, want);
	return written < 0 ? written : ret;
}

/* Whether the blocks of a write that ends at end reach beyond the file. */
static int passes_end(const struct qcf_direct *d, uint64_t end, bool *passes)
{
	uint64_t size = 0;

	*passes = false;
	if (d->fixed_size || qcf_is_aligned(end, d->alignment))
		return 0;

	int ret = file_size(d, &size);

	*passes = ret == 0 && qcf_align_up(end, d->alignment) > size;
	return ret;
}

/*
 * Claim the blocks of a write, and everything behind them if the file is to be
 * cut afterwards.  While another writer cuts, the file looks longer than it is;
 * only under the claim is its length to be trusted, so that is asked again.
 */
static int claim_write(struct qcf_direct *d, uint64_t start, uint64_t end,
                       struct qcf_direct_claim *claim, bool *cut)
{
	int ret = passes_end(d, end, cut);

	while (ret == 0) {
		bool still_cut = false;

		*claim = (struct qcf_direct_claim){
			.start = qcf_align_down(start, d->alignment),
			.end = *cut ? UINT64_MAX
			            : qcf_align_up(end, d->alignment),
			.exclusive = !qcf_is_aligned(start | end, d->alignment),
		};
		take_claim(d, claim);
		ret = passes_end(d, end, &still_cut);
		if (ret == 0 && still_cut == *cut)
			return 0;
		qcf_direct_release(d, claim);
		*cut = still_cut;
	}
	return ret;
}

int qcf_direct_pwritev(struct qcf_direct *d, const struct iovec *iov,
                       int iovcnt, uint64_t offset)
{
	struct qcf_direct_claim claim;
	uint64_t len;
	bool cut;

	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;

	int ret = claim_write(d, offset, offset + len, &claim, &cut);

	if (ret < 0)
		return ret;
	if (cut)
		ret = write_and_cut(d, iov, iovcnt, offset, len);
	else if (qcf_direct_is_aligned(d, iov, iovcnt, offset))
		ret = qcf_fd_pwritev(d->fd, iov, iovcnt, offset, d->alignment);
	else
		ret = write_bounced(d, iov, iovcnt, offset, len);
	qcf_direct_release(d, &claim);
	return ret;
}
