/* SPDX-License-Identifier: MIT */
/*
 * storage.h - the verb set that every storage speaks
 *
 * A storage is an array of bytes with a size.  All verbs may be called from
 * any thread, several at once.  No other part of the library makes a system
 * call for image I/O.
 *
 * An implementation embeds struct qcowfmt_storage as its first member, fills
 * in ops, name and flags, and is freed through ops->close.
 *
 * Contract of the verbs:
 *
 *   - pread: at least one byte unless at the end of the storage; EINTR and
 *     short transfers are retried below this interface.
 *   - pwrite: all or an error; after an error each 512-byte sector of the range
 *     holds its old or its new content.
 *   - flush: everything that had completed is stable, or an error after which
 *     nothing is known.
 *   - zero, discard and allocate are allowed to be unsupported; the wrapper then
 *     writes zeros, or does nothing.
 */
#ifndef QCF_STORAGE_H
#define QCF_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "error.h"

/* What a user of an image file does, and what it lets others do meanwhile. */
enum qcf_storage_lock {
	QCF_LOCK_NONE = 0,
	QCF_LOCK_IMAGE_READ, /* image or backing file with metadata */
	QCF_LOCK_IMAGE_WRITE,
	QCF_LOCK_RAW_READ, /* raw image, raw backing file */
	QCF_LOCK_RAW_WRITE,
	QCF_LOCK_DATA_FILE_WRITE, /* external data file of a writable image */
	QCF_LOCK_TRUNCATE,        /* while emptying a file to create an image */
	QCF_LOCK_DATA_FILE_READ,  /* external data file of a read-only image */
};

struct qcf_storage_verbs {
	/* Returns bytes read (short only at the end) or -errno. */
	int64_t (*preadv)(struct qcowfmt_storage *s, const struct iovec *iov,
	                  int iovcnt, uint64_t offset,
	                  struct qcowfmt_error **errp);
	int (*pwritev)(struct qcowfmt_storage *s, const struct iovec *iov,
	               int iovcnt, uint64_t offset,
	               struct qcowfmt_error **errp);
	int (*flush)(struct qcowfmt_storage *s, struct qcowfmt_error **errp);
	int (*get_size)(struct qcowfmt_storage *s, uint64_t *size,
	                struct qcowfmt_error **errp);
	int (*truncate)(struct qcowfmt_storage *s, uint64_t size,
	                struct qcowfmt_error **errp);
	/* NULL or -ENOTSUP (no error object): zeros are written instead.
	 * With may_unmap space may be given back. Grows the storage if the
	 * range ends beyond it. */
	int (*zero)(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
	            bool may_unmap, struct qcowfmt_error **errp);
	/* NULL or -ENOTSUP (no error object): nothing happens. */
	int (*discard)(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
	               struct qcowfmt_error **errp);
	/* Reserve space, growing the storage if the range ends beyond it;
	 * content stays and new bytes are zeros.  NULL or -ENOTSUP (no error
	 * object): the wrapper writes zeros behind the end. */
	int (*allocate)(struct qcowfmt_storage *s, uint64_t offset,
	                uint64_t len, struct qcowfmt_error **errp);
	/* Copy from another storage that has the same verbs.  NULL or -ENOTSUP
	 * (no error object): it cannot be done without reading; part of the
	 * range may have been copied. */
	int (*copy_range)(struct qcowfmt_storage *s, uint64_t offset,
	                  struct qcowfmt_storage *from, uint64_t from_offset,
	                  uint64_t len, struct qcowfmt_error **errp);
	/* Returns enum qcowfmt_storage_extent and in *run (1 ... len) how many
	 * bytes share it.  NULL: everything is data. */
	int (*extent)(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
	              uint64_t *run, struct qcowfmt_error **errp);
	/* Bytes of host space in use.  NULL: the size. */
	int (*get_allocated)(struct qcowfmt_storage *s, uint64_t *bytes,
	                     struct qcowfmt_error **errp);
	/* Change the lock held (from any to any).  NULL: nothing to lock. */
	int (*lock)(struct qcowfmt_storage *s, enum qcf_storage_lock lock,
	            struct qcowfmt_error **errp);
	/* A descriptor on which the kernel can be asked for a transfer at the same
	 * offset, in place of preadv or pwritev; -ENOTSUP (no error object) if
	 * the transfer needs more than that.  Does not wait.  After a write,
	 * and before it counts as done, transferred is called.  NULL: there is
	 * no such descriptor. */
	int (*transfer_fd)(struct qcowfmt_storage *s, bool is_write,
	                   const struct iovec *iov, int iovcnt,
	                   uint64_t offset);
	void (*transferred)(struct qcowfmt_storage *s);
	void (*close)(struct qcowfmt_storage *s);
};

struct qcowfmt_storage {
	const struct qcf_storage_verbs *verbs;
	char *name; /* for messages and for resolving relative names;
			    * allocated, never NULL */
	bool writable;
	bool is_file;    /* opened by path: dev and ino are valid, and the
			    * directory part of name is where relative
			    * references start */
	bool fixed_size; /* a block device: cannot grow */
	bool reads_zero_when_grown; /* bytes added by growing are zeros, and
				     * writing beyond the end leaves zeros
				     * between */
	dev_t dev;
	ino_t ino;
	uint32_t alignment; /* of offset, length and memory; 1 if none */
};

/* --- verbs with argument checks and fallbacks; what the engine calls --- */

/*
 * Read exactly the vector's bytes.  Bytes past the end of the storage read as
 * zeros when some of the range is inside it or allow_beyond_end is true;
 * otherwise a range wholly beyond the end is -EIO.
 */
int qcf_storage_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                       int iovcnt, uint64_t offset, bool allow_beyond_end,
                       struct qcowfmt_error **errp) QCF_MUST_CHECK;

/* Read all of len bytes; fewer in the storage is -EIO ("ends at ..."). */
int qcf_storage_pread_exact(struct qcowfmt_storage *s, void *buffer, size_t len,
                            uint64_t offset, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;

/* Read up to len bytes and fill the rest with zeros; returns bytes read. */
int64_t qcf_storage_pread_padded(struct qcowfmt_storage *s, void *buffer,
                                 size_t len, uint64_t offset,
                                 struct qcowfmt_error **errp) QCF_MUST_CHECK;

int qcf_storage_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                        int iovcnt, uint64_t offset,
                        struct qcowfmt_error **errp) QCF_MUST_CHECK;
int qcf_storage_pwrite(struct qcowfmt_storage *s, const void *buffer,
                       size_t len, uint64_t offset, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
int qcf_storage_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
int qcf_storage_get_size(struct qcowfmt_storage *s, uint64_t *size,
                         struct qcowfmt_error **errp) QCF_MUST_CHECK;
int qcf_storage_truncate(struct qcowfmt_storage *s, uint64_t size,
                         struct qcowfmt_error **errp) QCF_MUST_CHECK;
int qcf_storage_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                     bool may_unmap, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
/* Nobody else may write behind the end meanwhile: without the verb, zeros are
 * written there.  A failure may leave the storage longer than it was. */
/* Write zeros, where qcf_storage_zero() could leave a hole. */
int qcf_storage_write_zeros(struct qcowfmt_storage *s, uint64_t offset,
                            uint64_t len, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
int qcf_storage_allocate(struct qcowfmt_storage *s, uint64_t offset,
                         uint64_t len, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
/*
 * Copy a range of one storage into another without moving it through memory,
 * sharing it where possible.  -ENOTSUP, without an error object, if that cannot
 * be done: the caller reads and writes.
 */
int qcf_storage_copy_range(struct qcowfmt_storage *s, uint64_t offset,
                           struct qcowfmt_storage *from, uint64_t from_offset,
                           uint64_t len, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
/* A hint: callers may ignore failure. */
int qcf_storage_discard(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp);
/* The same for a range that has to read as zeros at once, as discarded bytes need
 * not: not given back where storage would have to write them. */
int qcf_storage_discard_to_zeros(struct qcowfmt_storage *s, uint64_t offset,
                                 uint64_t len, struct qcowfmt_error **errp);
int qcf_storage_extent(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       uint64_t *run, struct qcowfmt_error **errp)
	QCF_MUST_CHECK;
int qcf_storage_get_allocated(struct qcowfmt_storage *s, uint64_t *bytes,
                              struct qcowfmt_error **errp) QCF_MUST_CHECK;
int qcf_storage_lock(struct qcowfmt_storage *s, enum qcf_storage_lock lock,
                     struct qcowfmt_error **errp) QCF_MUST_CHECK;

/*
 * For transfers that the kernel makes while no thread waits for them (ring.h): a
 * descriptor, or -ENOTSUP without an error object if the transfer has to be made
 * by the verbs.  When a write has ended, however, qcf_storage_transferred() is
 * called.
 */
int qcf_storage_transfer_fd(struct qcowfmt_storage *s, bool is_write,
                            const struct iovec *iov, int iovcnt,
                            uint64_t offset, uint64_t len);
void qcf_storage_transferred(struct qcowfmt_storage *s);

/* Whether two storages are the same bytes: one object, or one file. */
bool qcf_storage_is_same(const struct qcowfmt_storage *a,
                         const struct qcowfmt_storage *b);

/* The directory part of a file storage's name, "" if it has none; NULL and
 * ENOMEM only.  The caller frees it. */
char *qcf_storage_directory(const struct qcowfmt_storage *s);

/* --- small helpers on vectors --- */

/* Sum of the lengths; false on overflow or a bad count. */
bool qcf_iov_len(const struct iovec *iov, int iovcnt, uint64_t *len);

/* Set len bytes of the vector from position skip on to zero. */
void qcf_iov_zero(const struct iovec *iov, int iovcnt, uint64_t skip,
                  uint64_t len);

/* Copy between a vector, from position skip on, and a buffer. */
void qcf_iov_from_buffer(const struct iovec *iov, int iovcnt, uint64_t skip,
                         const void *buffer, size_t len);
void qcf_iov_to_buffer(const struct iovec *iov, int iovcnt, uint64_t skip,
                       void *buffer, size_t len);

/*
 * The part [skip, skip + len) of a vector as a vector of its own in out, which
 * has room for iovcnt elements.  Returns the element count.
 */
int qcf_iov_slice(const struct iovec *iov, int iovcnt, uint64_t skip,
                  uint64_t len, struct iovec *out);

/*
 * The first elements, at most max, of what follows position skip, which lies
 * inside the vector.  Returns how many; what they hold may be all or part.
 */
int qcf_iov_window(const struct iovec *iov, int iovcnt, uint64_t skip,
                   struct iovec *out, int max);

#endif
