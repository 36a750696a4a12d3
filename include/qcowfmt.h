/* SPDX-License-Identifier: MIT */
/*
 * qcowfmt.h - the public interface of libqcowfmt
 *
 * Conventions that hold for every function unless its comment says otherwise:
 *
 *   - Every offset, length and size is in bytes.
 *   - A function that can fail returns 0 (or a count) on success and a negative
 *     errno value on failure.  Its last parameter is a nullable
 *     "struct qcowfmt_error **": on failure it receives an error object that
 *     the caller frees with qcowfmt_error_free(); on success it is not touched.
 *     It must point to NULL before the call.
 *   - Option structures start with struct_size, which the caller sets to
 *     sizeof the structure.  A zero member means the default, so a zeroed
 *     structure with struct_size set, or NULL, asks for all defaults.  Members
 *     are only ever appended.  A structure longer than this library knows is
 *     accepted if the unknown tail is zero; otherwise -E2BIG.
 *   - Any number of threads may use one image at once, except that
 *     qcowfmt_close() must be the last call on it.
 *   - The library prints nothing, never exits or aborts on bad input, starts no
 *     thread in a synchronous call, and installs no signal handler.
 *   - The library opens nothing that an image names unless told to: see
 *     enum qcowfmt_reference_policy.
 */
#ifndef QCOWFMT_H
#define QCOWFMT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define QCOWFMT_VERSION_MAJOR 0
#define QCOWFMT_VERSION_MINOR 1
#define QCOWFMT_VERSION_MICRO 0

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

struct qcowfmt_image;
struct qcowfmt_storage;
struct qcowfmt_error;

/* Stands for "no offset" wherever an offset is reported. */
#define QCOWFMT_NO_OFFSET UINT64_MAX

/*
 * qcowfmt_version - the version of the library that is running
 *
 * Returns "MAJOR.MINOR.MICRO", a static string.
 *
 * Since 0.1.
 */
const char *qcowfmt_version(void);

/* ------------------------------------------------------------------ errors */

/* What kind of thing went wrong.  Numbers are stable. */
enum qcowfmt_err {
	QCOWFMT_ERR_NONE = 0,
	QCOWFMT_ERR_USAGE = 1,     /* an argument or option is not allowed */
	QCOWFMT_ERR_SYSTEM = 2,    /* the operating system refused */
	QCOWFMT_ERR_NO_MEMORY = 3, /* memory could not be allocated */
	QCOWFMT_ERR_NOT_QCOW = 4,  /* the bytes are not of the stated format */
	QCOWFMT_ERR_CORRUPT = 5,   /* metadata contradicts the format */
	QCOWFMT_ERR_UNSUPPORTED = 6, /* a feature this build cannot handle */
	QCOWFMT_ERR_REFUSED = 7,     /* the reference policy says no */
	QCOWFMT_ERR_LOCKED = 8,      /* another process uses the image */
	QCOWFMT_ERR_NO_SPACE = 9,   /* storage or the format has no room left */
	QCOWFMT_ERR_LIMIT = 10,     /* a resource ceiling would be exceeded */
	QCOWFMT_ERR_READ_ONLY = 11, /* a write to a read-only image */
	QCOWFMT_ERR_POISONED = 12,  /* an earlier failure ended all writing */
	QCOWFMT_ERR_IO = 13,        /* storage reported an input/output error */
	QCOWFMT_ERR_CANCELLED = 14, /* a progress callback asked to stop */
	QCOWFMT_ERR_NO_SECRET = 15, /* encrypted, and no secret was given */
	QCOWFMT_ERR_WRONG_SECRET = 16 /* the secret opens no key slot */
};

/*
 * qcowfmt_error_code - which enum qcowfmt_err an error is
 *
 * QCOWFMT_ERR_NONE for a NULL error.  Since 0.1.
 */
int qcowfmt_error_code(const struct qcowfmt_error *error);

/*
 * qcowfmt_error_errno - the positive errno value of an error
 *
 * The failing function returned the same value, negated.  0 for a NULL error.
 * Since 0.1.
 */
int qcowfmt_error_errno(const struct qcowfmt_error *error);

/*
 * qcowfmt_error_corruption_id - which corruption was found
 *
 * A stable number; 0 unless the code is QCOWFMT_ERR_CORRUPT.  Since 0.1.
 */
uint32_t qcowfmt_error_corruption_id(const struct qcowfmt_error *error);

/*
 * qcowfmt_error_guest_offset, qcowfmt_error_host_offset - where it happened
 *
 * Returns the byte offset in the virtual disk and in the image file, or
 * QCOWFMT_NO_OFFSET where that does not apply or is not known.  Since 0.1.
 */
uint64_t qcowfmt_error_guest_offset(const struct qcowfmt_error *error);
uint64_t qcowfmt_error_host_offset(const struct qcowfmt_error *error);

/*
 * qcowfmt_error_message - the error in words, one line, no newline at the end
 *
 * Names taken from an image are escaped, so the text holds no control
 * characters.  Valid until qcowfmt_error_free().  Never NULL.  Since 0.1.
 */
const char *qcowfmt_error_message(const struct qcowfmt_error *error);

/* qcowfmt_error_free - free an error; NULL is allowed.  Since 0.1. */
void qcowfmt_error_free(struct qcowfmt_error *error);

/*
 * qcowfmt_clean_text - make a name from an image fit for a terminal or a log
 *
 * Whoever made the image chose its names.  Each byte of what is not plain becomes
 * '?': control characters, line ends, what changes the direction of text, and
 * what is not UTF-8.  text is changed in place, keeps its length and ends at its
 * NUL.  Messages of errors are clean already.  Since 0.1.
 */
void qcowfmt_clean_text(char *text);

/* ----------------------------------------------------------------- storage */

/* How qcowfmt_storage_open_file() opens a file. */
struct qcowfmt_file_options {
	size_t struct_size;
	uint32_t flags; /* QCOWFMT_FILE_* */
	uint32_t reserved;
};

#define QCOWFMT_FILE_READ_ONLY 0x1u /* open for reading only */
#define QCOWFMT_FILE_CREATE    0x2u /* create it; an existing file is emptied */
#define QCOWFMT_FILE_NO_LOCK   0x4u /* take no image locks */
#define QCOWFMT_FILE_DIRECT    0x8u /* bypass the page cache (O_DIRECT) */
#define QCOWFMT_FILE_ANY_TYPE  0x10u /* also accept character devices, ... */
/* Flushes do nothing: for what can be made again, as a power cut may lose all. */
#define QCOWFMT_FILE_NO_FLUSH 0x20u

/*
 * qcowfmt_storage_open_file - storage in a local regular file or block device
 *
 * Anything else (a directory, FIFO, socket or character device, a file of /proc,
 * /sys and the like) is -EINVAL without QCOWFMT_FILE_ANY_TYPE, and opening it
 * never blocks.
 *
 * The caller owns *storage and frees it with qcowfmt_storage_free(), unless it
 * was handed to an image.  Since 0.1.
 */
int qcowfmt_storage_open_file(const char *path,
                              const struct qcowfmt_file_options *options,
                              struct qcowfmt_storage **storage,
                              struct qcowfmt_error **errp);

/*
 * qcowfmt_storage_from_fd - storage in a file that is open already
 *
 * The descriptor is duplicated: the caller keeps and closes its own.  Whether
 * the storage is writable follows from the descriptor's access mode.  name is
 * used in messages and may be NULL.  QCOWFMT_FILE_CREATE is -EINVAL here.
 * Since 0.1.
 */
int qcowfmt_storage_from_fd(int fd, const char *name,
                            const struct qcowfmt_file_options *options,
                            struct qcowfmt_storage **storage,
                            struct qcowfmt_error **errp);

/*
 * qcowfmt_storage_new_memory - empty storage in memory
 *
 * Grows as it is written; max_size is a ceiling in bytes, 0 for none.
 * Since 0.1.
 */
int qcowfmt_storage_new_memory(uint64_t max_size,
                               struct qcowfmt_storage **storage,
                               struct qcowfmt_error **errp);

/* What qcowfmt_storage_ops.extent() reports about a range. */
enum qcowfmt_storage_extent {
	QCOWFMT_STORAGE_DATA = 1, /* may hold anything */
	QCOWFMT_STORAGE_HOLE = 2  /* reads as zeros, holds no space */
};

/*
 * Storage that the application supplies.  Each function may be called from any
 * thread, also several at once.  Failure is a negative errno value.
 */
struct qcowfmt_storage_ops {
	size_t struct_size;
	/* Read up to len bytes; returns how many, short only at the end. */
	int64_t (*pread)(void *opaque, void *buffer, size_t len,
	                 uint64_t offset);
	/* Write all of len bytes, growing the storage if needed; returns 0.
	 * NULL: the storage is read-only. */
	int (*pwrite)(void *opaque, const void *buffer, size_t len,
	              uint64_t offset);
	/* Make every completed write stable; returns 0.  Required if pwrite. */
	int (*flush)(void *opaque);
	/* Report the size in bytes; returns 0. */
	int (*get_size)(void *opaque, uint64_t *size);
	/* Change the size; new bytes read as zeros; returns 0.
	 * Required if pwrite. */
	int (*truncate)(void *opaque, uint64_t size);
	/* Make a range read as zeros.  NULL: zeros are written. */
	int (*zero)(void *opaque, uint64_t offset, uint64_t len);
	/* Give back the space of a range, whose content no longer matters.
	 * NULL: ranges are not given back. */
	int (*discard)(void *opaque, uint64_t offset, uint64_t len);
	/* Report an enum qcowfmt_storage_extent for the bytes from offset, and
	 * in *run how many of the len bytes share it (at least 1); returns the
	 * enum value.  NULL: everything is data. */
	int (*extent)(void *opaque, uint64_t offset, uint64_t len,
	              uint64_t *run);
	/* Called once when the storage is freed.  May be NULL. */
	void (*close)(void *opaque);
	/* Reserve space for a range, growing the storage if it ends beyond it;
	 * content stays, new bytes read as zeros; returns 0.  NULL: zeros are
	 * written behind the end, and nothing is done in front of it. */
	int (*allocate)(void *opaque, uint64_t offset, uint64_t len);
};

/*
 * qcowfmt_storage_new_custom - storage behind the application's own functions
 *
 * ops is copied; opaque is passed to each call.  name is used in messages and
 * may be NULL.  -EINVAL if a required function is missing.  Since 0.1.
 */
int qcowfmt_storage_new_custom(const struct qcowfmt_storage_ops *ops,
                               void *opaque, const char *name,
                               struct qcowfmt_storage **storage,
                               struct qcowfmt_error **errp);

/*
 * qcowfmt_storage_get_size - how many bytes a storage holds now
 *
 * Since 0.1.
 */
int qcowfmt_storage_get_size(struct qcowfmt_storage *storage, uint64_t *size,
                             struct qcowfmt_error **errp);

/*
 * qcowfmt_storage_pread - read bytes of a storage, beneath any image format
 *
 * Returns the number of bytes read, short only at the end.  Since 0.1.
 */
int64_t qcowfmt_storage_pread(struct qcowfmt_storage *storage, void *buffer,
                              size_t len, uint64_t offset,
                              struct qcowfmt_error **errp);

/* qcowfmt_storage_free - close a storage no image uses; NULL is allowed.
 * Since 0.1. */
void qcowfmt_storage_free(struct qcowfmt_storage *storage);

/* ----------------------------------------------------------------- probing */

/* Image formats.  Numbers are stable. */
enum qcowfmt_format {
	QCOWFMT_FORMAT_PROBE = 0, /* open: find out from the content */
	QCOWFMT_FORMAT_RAW = 1,
	QCOWFMT_FORMAT_QCOW = 2, /* version 1 */
	QCOWFMT_FORMAT_QCOW2 = 3 /* versions 2 and 3 */
};

/* How many leading bytes qcowfmt_probe() can make use of. */
#define QCOWFMT_PROBE_SIZE 512

/*
 * qcowfmt_probe - which format the first bytes of a file look like
 *
 * A pure function: it does no I/O.  len may be less than QCOWFMT_PROBE_SIZE
 * only if the file is that short.  Returns an enum qcowfmt_format; content
 * that is no qcow version is QCOWFMT_FORMAT_RAW.
 *
 * Probing decides nothing about safety: whoever can write a raw disk can make
 * it look like any other format.  State the format where it is known.
 *
 * Since 0.1.
 */
int qcowfmt_probe(const void *bytes, size_t len);

/*
 * qcowfmt_format_name - "raw", "qcow" or "qcow2"; NULL for any other value
 *
 * Since 0.1.
 */
const char *qcowfmt_format_name(int format);

/*
 * qcowfmt_format_from_name - the format of a name, or -EINVAL
 *
 * Since 0.1.
 */
int qcowfmt_format_from_name(const char *name);

/* ------------------------------------------------------------ open and close */

/* What the library may open when an image names another file. */
enum qcowfmt_reference_policy {
	/* Nothing: opening fails (default). */
	QCOWFMT_REFERENCES_REFUSE = 0,
	/* Files beneath the directory of the image opened first; no ".." or
	 * symbolic link leads out of it.  Relative names start in the directory
	 * of the image that stores them. */
	QCOWFMT_REFERENCES_BENEATH = 1,
	/* Any local regular file or block device.  The relative name of a
	 * backing file starts in the directory of the image that stores it,
	 * that of a data file in the working directory of the process. */
	QCOWFMT_REFERENCES_LOCAL = 2,
	/* Ask reference_callback. */
	QCOWFMT_REFERENCES_CALLBACK = 3,
	/* Open the image as if it named none: ranges it leaves to its backing
	 * file, or keeps in a data file, cannot be read. */
	QCOWFMT_REFERENCES_IGNORE = 4
};

/* What to do with a backing file whose format the image does not declare. */
enum qcowfmt_undeclared_format {
	QCOWFMT_UNDECLARED_REFUSE = 0, /* opening fails (default) */
	QCOWFMT_UNDECLARED_RAW = 1,    /* take it as raw */
	QCOWFMT_UNDECLARED_PROBE = 2   /* find out from its content: only for
					* images from a trusted source */
};

/* What kind of file an image names. */
enum qcowfmt_reference_kind {
	QCOWFMT_REFERENCE_BACKING = 1,
	QCOWFMT_REFERENCE_DATA_FILE = 2
};

/* One reference, as shown to the callback. */
struct qcowfmt_reference {
	size_t struct_size;
	int32_t kind;         /* enum qcowfmt_reference_kind */
	uint32_t depth;       /* 1 for a reference of the image opened first */
	const char *name;     /* as stored in the image; opaque bytes ended by
			      * NUL, not necessarily a path or printable */
	const char *format;   /* declared format, NULL if there is none */
	const char *referrer; /* name of the image that holds the reference */
	int32_t writable;     /* 1: guest writes will go there (a data file) */
	int32_t reserved;
};

/*
 * Supplies the storage for a reference.  On success returns 0 and sets
 * *storage, which the image then owns, and may set *format to an enum
 * qcowfmt_format to use in place of the declared one.  To refuse, returns a
 * negative errno value; opening the image then fails.
 */
typedef int (*qcowfmt_reference_callback)(
	void *opaque, const struct qcowfmt_reference *reference,
	struct qcowfmt_storage **storage, int32_t *format);

/* How guest data is encrypted.  Numbers are those of the format. */
enum qcowfmt_encryption {
	QCOWFMT_ENCRYPTION_NONE = 0,
	/* AES-128-CBC keyed with the passphrase itself: legacy, weak, and a
	 * wrong passphrase goes unnoticed. */
	QCOWFMT_ENCRYPTION_AES = 1,
	QCOWFMT_ENCRYPTION_LUKS = 2
};

/* What a secret is asked for. */
struct qcowfmt_secret_request {
	size_t struct_size;
	int32_t encryption; /* enum qcowfmt_encryption */
	uint32_t depth;     /* of the image in the chain: 0 is the top */
	const char *name;   /* of the image, as it was opened */
};

/*
 * Supplies a secret: writes at most room bytes to buffer and returns their
 * number (raw bytes, no terminator), or a negative errno value.  -ENOKEY means
 * that there is none.  buffer is locked memory that the library wipes.
 */
typedef int64_t (*qcowfmt_secret_callback)(
	void *opaque, const struct qcowfmt_secret_request *request,
	void *buffer, size_t room);

/* Secrets can be at most this long, bytes. */
#define QCOWFMT_MAX_SECRET 4096

/* How discarded guest ranges reach storage.  What snapshots leave behind when
 * they are deleted or applied goes by QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE. */
enum qcowfmt_discard_mode {
	QCOWFMT_DISCARD_UNMAP = 0,  /* give the host space back (default) */
	QCOWFMT_DISCARD_IGNORE = 1, /* guest discards succeed and do nothing */
	QCOWFMT_DISCARD_KEEP = 2    /* free the clusters in the image, leave the
				     * host file's space allocated */
};

struct qcowfmt_open_options {
	size_t struct_size;
	int32_t format;            /* enum qcowfmt_format */
	uint32_t flags;            /* QCOWFMT_OPEN_* */
	int32_t reference_policy;  /* enum qcowfmt_reference_policy */
	int32_t undeclared_format; /* enum qcowfmt_undeclared_format */
	qcowfmt_reference_callback reference_callback;
	void *reference_opaque;
	uint32_t max_chain_depth;   /* images in the chain, 0 = 256 */
	int32_t discard_mode;       /* enum qcowfmt_discard_mode */
	uint64_t cache_size;        /* bytes of metadata cache for the whole
				   * chain, 0 = 32 MiB */
	uint64_t max_metadata_size; /* ceiling for tables held in memory as a
				     * whole (L1, refcount table), and for
				     * what dirty bitmaps record until it is
				     * stored, bytes, 0 = 64 MiB */
	const void *secret;         /* of the image opened first; copied */
	size_t secret_len;          /* bytes */
	/* Asked for each encrypted image of the chain that secret is not for.
	 * NULL: there are no secrets. */
	qcowfmt_secret_callback secret_callback;
	void *secret_opaque;
	/* Used as the data file of the image opened first, whatever name it
	 * stores; the image owns it once opening has succeeded. */
	struct qcowfmt_storage *data_storage;
	int32_t compression_level;   /* of qcowfmt_pwrite_compressed(): 1 ... 9
				      * for zlib, 1 ... 19 for zstd; 0 = the
				      * default */
	uint32_t max_key_iterations; /* LUKS: ceiling for what a key slot may
				      * cost to try, 0 = 2^26 */
	/* Open the first snapshot with this id and this name (NULL: any) as an
	 * image of its own; not together with READ_WRITE.  Both NULL: the
	 * active state. */
	const char *snapshot_id;
	const char *snapshot_name;
	/* Open so many images of the chain, the top one included, and leave out
	 * what is below: ranges that are left to it cannot be read.  0 = all.
	 * For qcowfmt_commit(). */
	uint32_t chain_limit;
	uint32_t reserved;
};

/* Without it the image is read-only. */
#define QCOWFMT_OPEN_READ_WRITE 0x1u
/* Take no image locks; the caller makes sure that nobody else writes. */
#define QCOWFMT_OPEN_NO_LOCK 0x2u
/* Bypass the page cache. */
#define QCOWFMT_OPEN_DIRECT 0x4u
/* Also an image whose refcount table or snapshot table makes no sense; and
 * read-write although the corrupt or the dirty bit is set.  Nothing is repaired
 * automatically.  While such a table is not repaired, writing is -EIO.  With
 * QCOWFMT_REFERENCES_IGNORE an image with an external data file can be repaired,
 * but no guest data can be read or written. */
#define QCOWFMT_OPEN_REPAIR 0x8u
/* Lazy refcounts, whatever the image says. */
#define QCOWFMT_OPEN_LAZY_REFCOUNTS_ON 0x10u
/* No lazy refcounts, whatever the image says. */
#define QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF 0x20u
/* Only look at metadata: no secret is asked for, the data file is not opened,
 * and guest data cannot be read.  With READ_WRITE nothing but the dirty bitmaps
 * can be changed. */
#define QCOWFMT_OPEN_NO_DATA 0x40u
/* Leave the host file's space allocated where deleting or applying a snapshot
 * frees clusters. */
#define QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE 0x80u
/* Give the host space of tables and dirty bitmaps back, too, when they are
 * replaced or removed. */
#define QCOWFMT_OPEN_DISCARD_OTHER 0x100u

/*
 * qcowfmt_open_file - open the image in a local file
 *
 * The same as qcowfmt_storage_open_file() and qcowfmt_open() in one call.
 * Relative names of references are resolved against the directory part of
 * path.
 *
 * Errors: -EACCES and code QCOWFMT_ERR_REFUSED if the image names a backing
 * file and the policy does not allow it; -EAGAIN and QCOWFMT_ERR_LOCKED if
 * another process uses the image in a way that excludes this one; -ENOTSUP and
 * QCOWFMT_ERR_UNSUPPORTED for a feature that is not built in; -EINVAL and
 * QCOWFMT_ERR_NOT_QCOW or QCOWFMT_ERR_CORRUPT for bad content; -ELOOP for a
 * chain that contains itself; -ENOKEY and QCOWFMT_ERR_NO_SECRET for an encrypted
 * image without a secret; -EKEYREJECTED and QCOWFMT_ERR_WRONG_SECRET if the
 * secret opens no key slot.
 *
 * The caller owns *image and ends it with qcowfmt_close().  Since 0.1.
 */
int qcowfmt_open_file(const char *path,
                      const struct qcowfmt_open_options *options,
                      struct qcowfmt_image **image,
                      struct qcowfmt_error **errp);

/*
 * qcowfmt_open - open the image in a storage
 *
 * On success the image owns the storage and frees it when closed; on failure
 * it stays the caller's.  References with relative names can be followed only
 * if the storage is a file opened by path.  Errors as qcowfmt_open_file().
 * Since 0.1.
 */
int qcowfmt_open(struct qcowfmt_storage *storage,
                 const struct qcowfmt_open_options *options,
                 struct qcowfmt_image **image, struct qcowfmt_error **errp);

/*
 * qcowfmt_close - flush and close an image
 *
 * The handle is gone afterwards whatever the result.  Returns 0 only if
 * everything written is stable; a negative errno value means that data written
 * since the last successful flush may be lost.  NULL is allowed and does
 * nothing.  Queues of the image that are left end as by qcowfmt_queue_free().  No
 * other call on the image or its queues may be running or follow.  Since 0.1.
 */
int qcowfmt_close(struct qcowfmt_image *image, struct qcowfmt_error **errp);

/* ---------------------------------------------------------------- guest I/O */

/*
 * qcowfmt_pread, qcowfmt_preadv - read guest data
 *
 * Reads exactly len bytes (the sum of the vector) from guest_offset, or fails
 * with nothing promised about the buffer.  A range beyond the virtual size is
 * -EINVAL.  No alignment is needed.  Returns 0.  Since 0.1.
 */
int qcowfmt_pread(struct qcowfmt_image *image, void *buffer, size_t len,
                  uint64_t guest_offset, struct qcowfmt_error **errp);
int qcowfmt_preadv(struct qcowfmt_image *image, const struct iovec *iov,
                   int iovcnt, uint64_t guest_offset,
                   struct qcowfmt_error **errp);

/*
 * qcowfmt_pwrite, qcowfmt_pwritev - write guest data
 *
 * Writes all bytes or fails; after a failure each sector of the range holds
 * its old or its new content.  Stable only after qcowfmt_flush() or a
 * successful qcowfmt_close().  After -ENOSPC the image is consistent and the
 * write may be tried again.  A range beyond the virtual size is -EINVAL.  No
 * alignment is needed; sectors that are written in part are read first.
 *
 * Writes that overlap and run at the same time leave each byte with the
 * content of one of them.  -E2BIG and QCOWFMT_ERR_LIMIT, with nothing written,
 * if dirty bitmaps may take no more memory to record it (max_metadata_size): any
 * qcowfmt_bitmap_change() stores what they have.  Returns 0.  Since 0.1.
 */
int qcowfmt_pwrite(struct qcowfmt_image *image, const void *buffer, size_t len,
                   uint64_t guest_offset, struct qcowfmt_error **errp);
int qcowfmt_pwritev(struct qcowfmt_image *image, const struct iovec *iov,
                    int iovcnt, uint64_t guest_offset,
                    struct qcowfmt_error **errp);

/*
 * qcowfmt_pwrite_compressed - write guest data compressed
 *
 * guest_offset is a multiple of the cluster size; so is len, unless the range
 * ends at the virtual size, where the rest of the cluster counts as zeros.  Each
 * cluster is compressed on its own and packed behind the one written before; one
 * that does not get smaller is stored as it is.  Clusters that exist already are
 * replaced.  -ENOTSUP and QCOWFMT_ERR_UNSUPPORTED for raw images, encrypted ones
 * and ones with a data file.  Failure, stability and errors as qcowfmt_pwrite().
 * Returns 0.  Since 0.1.
 */
int qcowfmt_pwrite_compressed(struct qcowfmt_image *image, const void *buffer,
                              size_t len, uint64_t guest_offset,
                              struct qcowfmt_error **errp);

#define QCOWFMT_ZERO_MAY_UNMAP 0x1u /* host space may be given back */

/*
 * qcowfmt_write_zeroes - make a guest range read as zeros
 *
 * Cheap where the format can express it, however long the range.  Without
 * QCOWFMT_ZERO_MAY_UNMAP host space that the range has stays reserved.
 * Failure, stability and errors as qcowfmt_pwrite().  Since 0.1.
 */
int qcowfmt_write_zeroes(struct qcowfmt_image *image, uint64_t guest_offset,
                         uint64_t len, uint32_t flags,
                         struct qcowfmt_error **errp);

/*
 * qcowfmt_discard - tell the image that a guest range is no longer needed
 *
 * A hint.  Whole clusters inside the range are freed and read as zeros
 * afterwards; with extended L2 entries also whole subclusters, except of
 * compressed clusters.  The rest keeps its content.  In a version 2 image with a
 * backing file, and with QCOWFMT_DISCARD_IGNORE, nothing changes.  Since 0.1.
 */
int qcowfmt_discard(struct qcowfmt_image *image, uint64_t guest_offset,
                    uint64_t len, struct qcowfmt_error **errp);

/*
 * qcowfmt_flush - make all completed writes stable
 *
 * Returns 0 only if every write, zeroing and discard that had returned before
 * this call survives a power cut.  After a failed flush of the storage the
 * image is poisoned: the kernel may have dropped the data, so every later
 * write and flush fails with QCOWFMT_ERR_POISONED; reads go on.  Concurrent
 * flushes share their work.  On a read-only image it does nothing.  Since 0.1.
 */
int qcowfmt_flush(struct qcowfmt_image *image, struct qcowfmt_error **errp);

/* ------------------------------------------------------------------ queues */

/*
 * A queue takes guest requests without waiting for them, and hands out their
 * results in the order in which they are known.
 *
 * An image can have many queues.  A queue is used by one thread at a time, and
 * may start threads of its own.  Requests that are in a queue together, or in
 * several, have no order: whoever needs one waits for the completion of the first
 * before making the second.  Buffers belong to the queue until then.
 */
struct qcowfmt_queue;

struct qcowfmt_queue_options {
	size_t struct_size;
	uint32_t depth;   /* requests that the queue has room for: 1 ... 4096,
			   * 0 = 128 */
	uint32_t workers; /* threads that it may start, for what cannot be left
			   * to the kernel: 1 ... 64, 0 = 8 */
	uint32_t flags;   /* QCOWFMT_QUEUE_* */
	uint32_t reserved;
};

/* Do without io_uring. */
#define QCOWFMT_QUEUE_NO_URING 0x1u

/* What became of a request. */
struct qcowfmt_completion {
	uint64_t user_data;          /* as given with the request */
	struct qcowfmt_error *error; /* the caller's to free; NULL on success */
	int32_t result;              /* 0 or a negative errno value */
	uint32_t reserved;
};

/*
 * qcowfmt_queue_new - a queue for the requests of one thread
 *
 * Where the library is built with liburing and the system allows it, transfers of
 * data whose place is known go to the kernel; everything else, or everything, is
 * done by threads.  Which it is makes no difference but in speed.
 *
 * Errors: -EBUSY and QCOWFMT_ERR_LIMIT if the image has 64 queues.  The caller
 * owns *queue and ends it with qcowfmt_queue_free(); qcowfmt_close() ends the
 * queues that are left.  Since 0.1.
 */
int qcowfmt_queue_new(struct qcowfmt_image *image,
                      const struct qcowfmt_queue_options *options,
                      struct qcowfmt_queue **queue,
                      struct qcowfmt_error **errp);

/*
 * qcowfmt_queue_free - end a queue
 *
 * Requests that have not begun never do, those that have are waited for, and
 * completions that were not reaped are dropped: whether such a request was done
 * is not known.  No buffer is used afterwards.  NULL is allowed.  Since 0.1.
 */
void qcowfmt_queue_free(struct qcowfmt_queue *queue);

/*
 * qcowfmt_queue_pread, qcowfmt_queue_preadv, qcowfmt_queue_pwrite,
 * qcowfmt_queue_pwritev, qcowfmt_queue_write_zeroes, qcowfmt_queue_discard,
 * qcowfmt_queue_flush - put a request into a queue
 *
 * The request is what the function of the same name without "queue_" does.  It
 * begins with the next qcowfmt_queue_submit() or qcowfmt_queue_reap(), so that many
 * can begin together, and ends as a completion with user_data, which is the only
 * way in which it fails.  A flush covers the requests whose completions were
 * reaped before it was put in.  Buffers stay as they are until the completion;
 * a vector itself, of at most 1024 elements, is copied.
 *
 * Returns 0; -EAGAIN and QCOWFMT_ERR_LIMIT if the queue is full of requests whose
 * completions have not been reaped; -EINVAL for a bad vector or unknown flags.
 * Then there is no completion.  Since 0.1.
 */
int qcowfmt_queue_pread(struct qcowfmt_queue *queue, void *buffer, size_t len,
                        uint64_t guest_offset, uint64_t user_data,
                        struct qcowfmt_error **errp);
int qcowfmt_queue_preadv(struct qcowfmt_queue *queue, const struct iovec *iov,
                         int iovcnt, uint64_t guest_offset, uint64_t user_data,
                         struct qcowfmt_error **errp);
int qcowfmt_queue_pwrite(struct qcowfmt_queue *queue, const void *buffer,
                         size_t len, uint64_t guest_offset, uint64_t user_data,
                         struct qcowfmt_error **errp);
int qcowfmt_queue_pwritev(struct qcowfmt_queue *queue, const struct iovec *iov,
                          int iovcnt, uint64_t guest_offset, uint64_t user_data,
                          struct qcowfmt_error **errp);
int qcowfmt_queue_write_zeroes(struct qcowfmt_queue *queue,
                               uint64_t guest_offset, uint64_t len,
                               uint32_t flags, uint64_t user_data,
                               struct qcowfmt_error **errp);
int qcowfmt_queue_discard(struct qcowfmt_queue *queue, uint64_t guest_offset,
                          uint64_t len, uint64_t user_data,
                          struct qcowfmt_error **errp);
int qcowfmt_queue_flush(struct qcowfmt_queue *queue, uint64_t user_data,
                        struct qcowfmt_error **errp);

/*
 * qcowfmt_queue_submit - begin the requests that were put into a queue
 *
 * Does not wait for any of them, but transfers between memory and the page cache
 * may be done meanwhile.  Since 0.1.
 */
void qcowfmt_queue_submit(struct qcowfmt_queue *queue);

/*
 * qcowfmt_queue_reap - take completions out of a queue
 *
 * Begins what was put in, as qcowfmt_queue_submit() does.  Fills up to max
 * completions.  If there is none yet, but requests are in the queue, it waits for
 * one at most timeout milliseconds, without end if that is negative.
 *
 * Returns how many there are, 0 if the time is up or the queue is empty.  It
 * does not fail.  Since 0.1.
 */
int qcowfmt_queue_reap(struct qcowfmt_queue *queue,
                       struct qcowfmt_completion *completions, int max,
                       int timeout);

/*
 * qcowfmt_queue_cancel - take back the requests that have not begun
 *
 * They complete with -ECANCELED and QCOWFMT_ERR_CANCELLED.  Those that have begun
 * go on.  Since 0.1.
 */
void qcowfmt_queue_cancel(struct qcowfmt_queue *queue);

/*
 * qcowfmt_queue_event_fd - a descriptor that tells when there is something to reap
 *
 * It is readable, for poll() and the like, as long as completions can be reaped;
 * now and then also when there is none.  For other threads than the queue's that can
 * be up to a tick of the clock later while that one computes.  It belongs to the
 * queue: nothing else is to be done with it.  What was put in has to be submitted
 * before waiting.  The same descriptor each time.  Since 0.1.
 */
int qcowfmt_queue_event_fd(struct qcowfmt_queue *queue);

/*
 * qcowfmt_queue_uses_uring - whether a queue has the use of io_uring
 *
 * Returns 1 if it does, 0 if all is done by threads.  Since 0.1.
 */
int qcowfmt_queue_uses_uring(const struct qcowfmt_queue *queue);

/* --------------------------------------------------------------------- map */

enum qcowfmt_extent_kind {
	/* No image of the chain has it: reads as zeros. */
	QCOWFMT_EXTENT_UNALLOCATED = 0,
	QCOWFMT_EXTENT_DATA = 1,
	/* Reads as zeros by decree. */
	QCOWFMT_EXTENT_ZERO = 2,
	QCOWFMT_EXTENT_COMPRESSED = 3
};

/* host_offset is valid: for DATA the bytes are there as they are; for ZERO
 * space is reserved there. */
#define QCOWFMT_EXTENT_HOST_OFFSET 0x1u
/* A write would go to host_offset. */
#define QCOWFMT_EXTENT_IN_PLACE 0x2u
/* The host bytes are ciphertext. */
#define QCOWFMT_EXTENT_ENCRYPTED 0x4u
/* DATA whose host bytes are a hole in the file and so read as zeros. */
#define QCOWFMT_EXTENT_HOLE 0x8u

/* A guest range whose bytes are all of one kind and contiguous on the host. */
struct qcowfmt_extent {
	uint64_t guest_offset;
	uint64_t length;
	uint64_t host_offset; /* QCOWFMT_NO_OFFSET if not applicable */
	int32_t kind;         /* enum qcowfmt_extent_kind */
	uint32_t flags;       /* QCOWFMT_EXTENT_* */
	uint32_t depth;       /* which image of the chain: 0 is the top.
			       * UNALLOCATED: the deepest image asked */
	uint32_t reserved;
};

/* Also ask the host file for holes, which costs system calls. */
#define QCOWFMT_MAP_HOLES 0x1u
/* Only the top image: what it leaves to its backing file is UNALLOCATED. */
#define QCOWFMT_MAP_TOP 0x2u

/*
 * qcowfmt_map - where a guest range lives
 *
 * Fills up to max extents that follow each other without a gap from
 * guest_offset.  Together they may cover less than len; call again from where
 * the last one ends.  Neighbouring extents may be alike.  Requests that run at
 * the same time may change the mapping at any moment.  Returns how many there
 * are, at least 1 unless len is 0.  Since 0.1.
 */
int qcowfmt_map(struct qcowfmt_image *image, uint64_t guest_offset,
                uint64_t len, uint32_t flags, struct qcowfmt_extent *extents,
                int max, struct qcowfmt_error **errp);

/* -------------------------------------------------------------------- info */

/*
 * What an image says about itself.  Strings belong to the image and end with it,
 * or when qcowfmt_amend() or qcowfmt_rebase() changes them; NULL where there is
 * none.
 */
struct qcowfmt_info {
	size_t struct_size;
	uint64_t virtual_size;   /* bytes the guest sees */
	uint64_t cluster_size;   /* bytes; 0 for raw */
	uint64_t file_size;      /* length of the image file, bytes */
	uint64_t allocated_size; /* host space the file takes, bytes */
	int32_t format;          /* enum qcowfmt_format */
	uint32_t version;        /* 1, 2 or 3; 0 for raw */
	uint32_t refcount_bits;  /* 0 for raw and version 1 */
	uint32_t flags;          /* QCOWFMT_INFO_* */
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t compression_type; /* 0 zlib, 1 zstd */
	uint32_t snapshot_count;
	const char *filename;              /* the name it was opened by */
	const char *backing_filename;      /* as stored in the image */
	const char *backing_format;        /* as stored in the image */
	const char *full_backing_filename; /* as it would be opened */
	uint32_t chain_depth;      /* images open in the chain, at least 1 */
	int32_t encryption;        /* enum qcowfmt_encryption */
	const char *data_filename; /* as stored in the image */
};

#define QCOWFMT_INFO_DIRTY          0x1u /* refcounts may be stale */
#define QCOWFMT_INFO_CORRUPT        0x2u /* marked corrupt */
#define QCOWFMT_INFO_LAZY_REFCOUNTS 0x4u
#define QCOWFMT_INFO_EXTENDED_L2    0x8u
#define QCOWFMT_INFO_ENCRYPTED      0x10u
#define QCOWFMT_INFO_READ_ONLY      0x20u /* opened read-only */
#define QCOWFMT_INFO_DATA_FILE      0x40u /* guest data is in a file of its own */
#define QCOWFMT_INFO_DATA_FILE_RAW  0x80u /* which is a raw image as it is */

/*
 * qcowfmt_get_info - facts about one image of the chain
 *
 * depth 0 is the image opened, 1 its backing file and so on; -ENOENT beyond
 * the end of the chain.  The caller sets info->struct_size.  All members are of
 * one moment: as guest I/O does, the call waits while an operation changes the
 * image as a whole.  Since 0.1.
 */
int qcowfmt_get_info(struct qcowfmt_image *image, uint32_t depth,
                     struct qcowfmt_info *info, struct qcowfmt_error **errp);

#define QCOWFMT_KEY_SLOT_COUNT 8

/* One key slot of a LUKS header. */
struct qcowfmt_key_slot {
	int32_t active;      /* 1: some passphrase opens it */
	uint32_t iterations; /* of its key derivation; 0 if not active */
	uint32_t stripes;
	uint32_t reserved;
	uint64_t key_offset; /* of the key material in the LUKS area, bytes */
};

/* How an image is encrypted.  Strings as in struct qcowfmt_info. */
struct qcowfmt_encryption_info {
	size_t struct_size;
	int32_t encryption; /* enum qcowfmt_encryption */
	int32_t detached_header;
	/* The rest is for LUKS only. */
	const char *cipher_alg;     /* "aes-256" ... */
	const char *cipher_mode;    /* "xts" ... */
	const char *ivgen_alg;      /* "plain64" ... */
	const char *ivgen_hash_alg; /* NULL if the generator has none */
	const char *hash_alg;       /* "sha256" ... */
	const char *uuid;
	uint64_t payload_offset; /* bytes */
	uint32_t master_key_iterations;
	uint32_t reserved;
	struct qcowfmt_key_slot slots[QCOWFMT_KEY_SLOT_COUNT];
};

/*
 * qcowfmt_get_encryption_info - how one image of the chain is encrypted
 *
 * depth as in qcowfmt_get_info().  For an image that is not encrypted,
 * encryption is NONE and the rest zero.  Needs no secret.  The caller sets
 * info->struct_size.  Since 0.1.
 */
int qcowfmt_get_encryption_info(struct qcowfmt_image *image, uint32_t depth,
                                struct qcowfmt_encryption_info *info,
                                struct qcowfmt_error **errp);

/* qcowfmt_get_size - the virtual size in bytes.  Since 0.1. */
uint64_t qcowfmt_get_size(const struct qcowfmt_image *image);

/* ---------------------------------------------------------------- progress */

/*
 * Called now and then while a long operation runs, from the thread that started
 * it: done of total units of work are over.  done never falls; total may change, and
 * is 0 while it is not known.
 * Any return value but 0 cancels: the operation fails with -ECANCELED and
 * QCOWFMT_ERR_CANCELLED, and the images are as after any other failure of it.
 * It must not use the images of the operation, which may wait for its end.
 */
typedef int (*qcowfmt_progress_callback)(void *opaque, uint64_t done,
                                         uint64_t total);

/* ------------------------------------------------------------------ create */

/* How much of a new image exists from the start. */
enum qcowfmt_preallocation {
	QCOWFMT_PREALLOCATION_OFF = 0,
	/* All tables, so that no write allocates; data areas are holes. */
	QCOWFMT_PREALLOCATION_METADATA = 1,
	/* Tables, and host space is reserved. */
	QCOWFMT_PREALLOCATION_FALLOC = 2,
	/* Tables, and zeros are written. */
	QCOWFMT_PREALLOCATION_FULL = 3
};

/* How a new image is encrypted, or what a new key is like. */
struct qcowfmt_encryption_options {
	size_t struct_size;
	int32_t encryption;    /* enum qcowfmt_encryption: AES or LUKS */
	uint32_t iter_time_ms; /* LUKS: how long unlocking should take on this
				* machine; 0 = 2000 */
	const void *secret;    /* raw bytes; at most QCOWFMT_MAX_SECRET */
	size_t secret_len;
	/* LUKS only; NULL means the default in brackets. */
	const char *cipher_alg;     /* aes-128, aes-192, aes-256, serpent-128
				     * ... -256, twofish-128 ... -256,
				     * cast5-128 [aes-256] */
	const char *cipher_mode;    /* ecb, cbc, xts, ctr [xts] */
	const char *ivgen_alg;      /* plain, plain64, essiv [plain64] */
	const char *ivgen_hash_alg; /* of essiv: a hash as below [sha256] */
	const char *hash_alg;       /* md5, sha1, sha224, sha256, sha384,
				     * sha512, ripemd160 [sha256] */
};

/*
 * With QCOWFMT_FORMAT_QCOW: version is 0 or 1; cluster_size is 0 or what such
 * images have, 4 KiB or, with a backing file, 512; encryption is AES;
 * backing_format may be given but is not stored; other options are -EINVAL, and
 * so is virtual_size 0.  The storage has to be able to grow.
 */
struct qcowfmt_create_options {
	size_t struct_size;
	uint64_t virtual_size;  /* bytes, a multiple of 512 */
	int32_t format;         /* enum qcowfmt_format; PROBE means QCOW2 */
	uint32_t version;       /* 2 or 3; 0 = 3 */
	uint64_t cluster_size;  /* bytes, 512 ... 2 MiB, at least 16 KiB with
				 * EXTENDED_L2; 0 = 64 KiB */
	uint32_t refcount_bits; /* 1, 2, 4 ... 64; 0 = 16 */
	uint32_t flags;         /* QCOWFMT_CREATE_* */
	const char *backing_filename; /* stored as it is; NULL = none */
	const char *backing_format;   /* stored as it is; NULL = none */
	uint32_t compression_type;    /* 0 zlib, 1 zstd */
	int32_t preallocation;        /* enum qcowfmt_preallocation */
	/* Guest data goes to a file of its own with this name, stored as it
	 * is; NULL = none.  qcowfmt_create_file() makes the file, or empties
	 * it, unless data_storage is given. */
	const char *data_filename;
	/* The data file; it is emptied and stays the caller's.
	 * qcowfmt_create() needs it to preallocate. */
	struct qcowfmt_storage *data_storage;
	const struct qcowfmt_encryption_options *encryption; /* NULL = none */
};

#define QCOWFMT_CREATE_LAZY_REFCOUNTS 0x1u
#define QCOWFMT_CREATE_EXTENDED_L2    0x2u /* 32 subclusters in a cluster */
/* The data file stays a raw image of the disk: implies
 * QCOWFMT_PREALLOCATION_METADATA, excludes a backing file. */
#define QCOWFMT_CREATE_DATA_FILE_RAW 0x4u

/*
 * qcowfmt_create_file - make a new image in a local file
 *
 * An existing file is emptied first, unless another process uses it as an
 * image (-EAGAIN, QCOWFMT_ERR_LOCKED).  On failure a file that did not exist
 * before is removed.  The backing file is not opened or looked at.  The image
 * is stable when this returns.  Since 0.1.
 */
int qcowfmt_create_file(const char *path,
                        const struct qcowfmt_create_options *options,
                        struct qcowfmt_error **errp);

/*
 * qcowfmt_create - make a new image in a storage
 *
 * What the storage held is lost.  The storage stays the caller's.  Since 0.1.
 */
int qcowfmt_create(struct qcowfmt_storage *storage,
                   const struct qcowfmt_create_options *options,
                   struct qcowfmt_error **errp);

/* ------------------------------------------------------------------ resize */

struct qcowfmt_resize_options {
	size_t struct_size;
	int32_t preallocation; /* enum qcowfmt_preallocation: of what is added */
	uint32_t flags;        /* QCOWFMT_RESIZE_* */
};

#define QCOWFMT_RESIZE_SHRINK 0x1u /* the end of the disk may be cut off */

/*
 * qcowfmt_resize - change the virtual size
 *
 * virtual_size is in bytes and a multiple of 512; the file of a raw image may get
 * any size, and its disk has whole sectors then.  What is added reads as zeros,
 * also where a backing file is longer than the image was.  Shrinking needs
 * QCOWFMT_RESIZE_SHRINK; what is cut off does not come back when the image grows
 * again.  VM state of the active state is lost where it would have to move; that
 * of snapshots stays.  -ENOTSUP for version 1, and for version 2 with snapshots;
 * -EFBIG if the cluster size does not allow so much.  After a failure, or a power
 * cut, the image has its old size or its new one.  Guest I/O waits meanwhile.
 * Stable when it returns.  Since 0.1.
 */
int qcowfmt_resize(struct qcowfmt_image *image, uint64_t virtual_size,
                   const struct qcowfmt_resize_options *options,
                   struct qcowfmt_error **errp);

/* --------------------------------------------------------------- snapshots */

struct qcowfmt_snapshot_list;

/* One internal snapshot.  Strings and bytes belong to the list. */
struct qcowfmt_snapshot {
	size_t struct_size;
	const char *id;   /* unique in images that QEMU or this library made */
	const char *name; /* may be empty, and need not be unique */
	uint64_t virtual_size;  /* of the disk when it was taken, bytes */
	uint64_t vm_state_size; /* bytes */
	uint64_t vm_clock_nsec; /* guest time */
	uint64_t icount;        /* instructions; UINT64_MAX = not recorded */
	uint32_t date_sec;      /* since 1970, UTC */
	uint32_t date_nsec;
	const void *extra; /* fields of the entry that have no meaning here */
	size_t extra_len;  /* bytes */
};

/*
 * qcowfmt_snapshot_list - the snapshots of one image of the chain
 *
 * depth as in qcowfmt_get_info().  The list is a copy: later changes to the image
 * do not show in it.  The caller frees it with qcowfmt_snapshot_list_free().
 * Since 0.1.
 */
int qcowfmt_snapshot_list(struct qcowfmt_image *image, uint32_t depth,
                          struct qcowfmt_snapshot_list **list,
                          struct qcowfmt_error **errp);

/* qcowfmt_snapshot_list_count - how many there are.  Since 0.1. */
uint32_t qcowfmt_snapshot_list_count(const struct qcowfmt_snapshot_list *list);

/*
 * qcowfmt_snapshot_list_get - one entry, in the order of the image's table
 *
 * -ENOENT for an index that is not below the count.  The caller sets
 * snapshot->struct_size.  Since 0.1.
 */
int qcowfmt_snapshot_list_get(const struct qcowfmt_snapshot_list *list,
                              uint32_t index, struct qcowfmt_snapshot *snapshot,
                              struct qcowfmt_error **errp);

/* qcowfmt_snapshot_list_free - free a list; NULL is allowed.  Since 0.1. */
void qcowfmt_snapshot_list_free(struct qcowfmt_snapshot_list *list);

struct qcowfmt_snapshot_options {
	size_t struct_size;
	const char *name;       /* at most 255 bytes; NULL = empty */
	const char *id;         /* at most 127 bytes; NULL = one more than the
				 * largest decimal id */
	uint64_t vm_state_size; /* bytes of VM state written before */
	uint64_t vm_clock_nsec;
	uint64_t icount;
	uint32_t date_sec; /* 0 = now */
	uint32_t date_nsec;
	const void *extra; /* kept as they are */
	size_t extra_len;  /* bytes, at most 1000 */
};

/*
 * qcowfmt_snapshot_create - keep the present state of the disk as a snapshot
 *
 * Costs time and space in proportion to the tables, not to the data.  VM state
 * that was written before belongs to the snapshot afterwards and is gone from
 * the active state.  -EEXIST if the id is taken; -EOVERFLOW and
 * QCOWFMT_ERR_LIMIT if a refcount would not fit (refcount_bits), or the image has
 * as many snapshots as the format allows; -ENOTSUP for raw images, version 1 and
 * images with a data file.  After a failure or a power cut the snapshot is there
 * or not.  Guest I/O waits meanwhile.  Stable when it returns.  Since 0.1.
 */
int qcowfmt_snapshot_create(struct qcowfmt_image *image,
                            const struct qcowfmt_snapshot_options *options,
                            struct qcowfmt_error **errp);

/*
 * qcowfmt_snapshot_apply - go back to a snapshot
 *
 * The snapshot is the first one with this id and this name; either may be NULL
 * (any), not both.  -ENOENT if there is none.  What was written since the
 * snapshot is lost; the snapshot stays.  The disk gets the size it had:
 * -ENOTSUP if that differs in a version 2 image, and if the image has dirty
 * bitmaps.  After a failure or a power cut the disk is as it was or as it is in
 * the snapshot.  Guest I/O waits meanwhile.  Stable when it returns.  Since 0.1.
 */
int qcowfmt_snapshot_apply(struct qcowfmt_image *image, const char *id,
                           const char *name, struct qcowfmt_error **errp);

/*
 * qcowfmt_snapshot_delete - forget a snapshot
 *
 * id and name as in qcowfmt_snapshot_apply().  Space that nothing else uses
 * becomes free.  Guest I/O waits meanwhile.  Stable when it returns.  Since 0.1.
 */
int qcowfmt_snapshot_delete(struct qcowfmt_image *image, const char *id,
                            const char *name, struct qcowfmt_error **errp);

/*
 * qcowfmt_vm_state_pread, qcowfmt_vm_state_pwrite - bytes kept behind the disk
 *
 * offset counts from the beginning of the VM state.  What was never written reads
 * as zeros.  An image opened as a snapshot has the state of that snapshot.
 * -ENOTSUP for raw images, version 1 and images with a data file; otherwise as
 * qcowfmt_pread() and qcowfmt_pwrite().  Since 0.1.
 */
int qcowfmt_vm_state_pread(struct qcowfmt_image *image, void *buffer,
                           size_t len, uint64_t offset,
                           struct qcowfmt_error **errp);
int qcowfmt_vm_state_pwrite(struct qcowfmt_image *image, const void *buffer,
                            size_t len, uint64_t offset,
                            struct qcowfmt_error **errp);

/* ------------------------------------------------------------ dirty bitmaps */

struct qcowfmt_bitmap_list;

/* Guest writes are recorded. */
#define QCOWFMT_BITMAP_ENABLED 0x1u
/* The stored content was not brought up to date when the image was used last, or
 * makes no sense: everything may be dirty.  It can only be removed. */
#define QCOWFMT_BITMAP_INCONSISTENT 0x2u
/* Storage says that the bitmap is being used: flag of the format. */
#define QCOWFMT_BITMAP_IN_USE 0x4u

/* One dirty bitmap.  Strings belong to the list. */
struct qcowfmt_bitmap {
	size_t struct_size;
	const char *name;
	uint64_t granularity; /* bytes of the disk that one bit stands for */
	uint32_t flags;       /* QCOWFMT_BITMAP_* */
	uint32_t reserved;
};

/*
 * qcowfmt_bitmap_list - the dirty bitmaps of one image of the chain
 *
 * depth as in qcowfmt_get_info().  The list is a copy; the caller frees it with
 * qcowfmt_bitmap_list_free().  Listing reads no bits.  A bitmap whose entry makes no
 * sense, or shares its name with another, is listed as inconsistent; a directory
 * that cannot be told into entries is -EIO and QCOWFMT_ERR_CORRUPT.  Such an image
 * can be read, but not opened read-write without QCOWFMT_OPEN_REPAIR.  Since 0.1.
 */
int qcowfmt_bitmap_list(struct qcowfmt_image *image, uint32_t depth,
                        struct qcowfmt_bitmap_list **list,
                        struct qcowfmt_error **errp);

/* qcowfmt_bitmap_list_count - how many there are.  Since 0.1. */
uint32_t qcowfmt_bitmap_list_count(const struct qcowfmt_bitmap_list *list);

/*
 * qcowfmt_bitmap_list_get - one entry, in the order of the image's directory
 *
 * -ENOENT for an index that is not below the count.  The caller sets
 * bitmap->struct_size.  Since 0.1.
 */
int qcowfmt_bitmap_list_get(const struct qcowfmt_bitmap_list *list,
                            uint32_t index, struct qcowfmt_bitmap *bitmap,
                            struct qcowfmt_error **errp);

/* qcowfmt_bitmap_list_free - free a list; NULL is allowed.  Since 0.1. */
void qcowfmt_bitmap_list_free(struct qcowfmt_bitmap_list *list);

/* What to do with a bitmap. */
enum qcowfmt_bitmap_kind {
	QCOWFMT_BITMAP_ADD = 1,    /* all clean, enabled */
	QCOWFMT_BITMAP_REMOVE = 2, /* also an inconsistent one */
	QCOWFMT_BITMAP_CLEAR = 3,  /* make all of it clean */
	QCOWFMT_BITMAP_ENABLE = 4,
	QCOWFMT_BITMAP_DISABLE = 5,
	QCOWFMT_BITMAP_MERGE = 6 /* add what is dirty in source_name */
};

struct qcowfmt_bitmap_action {
	size_t struct_size;
	struct qcowfmt_image *image; /* opened read-write; also with
				      * QCOWFMT_OPEN_NO_DATA */
	const char *name;            /* 1 ... 1023 bytes */
	int32_t kind;                /* enum qcowfmt_bitmap_kind */
	uint32_t reserved;
	uint64_t granularity; /* ADD: a power of two, 512 ... 2^31; 0 = the
			       * cluster size within 4 KiB ... 64 KiB */
	/* MERGE: may be another image with a disk of the same size; NULL = the
	 * same image. */
	struct qcowfmt_image *source;
	const char *source_name;
};

/*
 * qcowfmt_bitmap_change - carry out actions on bitmaps, all of them or none
 *
 * Each action sees what those before it did.  All actions have the same
 * struct_size.  -EEXIST, -ENOENT for names; -EINVAL if a bitmap is inconsistent;
 * or to be added to a disk of 0 bytes; -EFBIG if it would take more than 512 MiB;
 * -ENOTSUP for anything but version 3.
 * What guest writes have made dirty so far is stored, too.  Stable when it returns.
 *
 * All actions on one image take effect in one write.  With several images a
 * power cut may come between two of them: then journal has to name a file that
 * does not exist, which is written first and removed at the end.  If it is still
 * there after a crash, or after a failure (the message says so), then
 * qcowfmt_bitmap_recover() completes what it says.  The images have to be local
 * files then (-ENOTSUP).  With one image journal may be NULL.  Guest I/O on the
 * images waits meanwhile.
 * Since 0.1.
 */
int qcowfmt_bitmap_change(const struct qcowfmt_bitmap_action *actions,
                          size_t count, const char *journal,
                          struct qcowfmt_error **errp);

/*
 * qcowfmt_bitmap_recover - complete what a crash interrupted
 *
 * The images must not be open and be where the journal says.  To be called before
 * anything else is done with them.  A journal that is not complete is removed:
 * nothing was changed then.  -ENOENT if there is no such file, which is the normal
 * case; -EINVAL if the file is no journal; -EIO if an image was changed since: then
 * nothing is done and the journal stays.  No secret is needed.  Since 0.1.
 */
int qcowfmt_bitmap_recover(const char *journal, struct qcowfmt_error **errp);

/*
 * qcowfmt_bitmap_next - the next dirty range of a bitmap
 *
 * Looks from guest_offset on.  Returns 1 and the range, or 0 if nothing dirty
 * follows.  The range begins at guest_offset or, behind it, with a unit of the
 * granularity, and ends with a unit or at the virtual size.  What is being written
 * meanwhile may be in it or not.  Clean parts are stepped over without being read.
 * -ENOENT for the name; -EINVAL if the bitmap is inconsistent.  Since 0.1.
 */
int qcowfmt_bitmap_next(struct qcowfmt_image *image, const char *name,
                        uint64_t guest_offset, uint64_t *dirty_offset,
                        uint64_t *dirty_len, struct qcowfmt_error **errp);

/* -------------------------------------------------------------------- amend */

struct qcowfmt_amend_options {
	size_t struct_size;
	uint32_t version;          /* 2 or 3; 0 = as it is */
	uint32_t refcount_bits;    /* 1, 2, 4 ... 64; 0 = as it is */
	int32_t lazy_refcounts;    /* 1 on, -1 off, 0 as it is */
	int32_t data_file_raw;     /* -1 off, 0 as it is */
	const char *data_filename; /* stored as it is; "" = none; NULL = as it
				    * is */
	qcowfmt_progress_callback progress; /* may be NULL */
	void *progress_opaque;
};

/*
 * qcowfmt_amend - change properties of an image
 *
 * The image must be open read-write, and stays usable.  -EINVAL and
 * QCOWFMT_ERR_USAGE, with nothing changed, for what contradicts itself or the
 * image, in words; -ENOTSUP for raw and version 1; -ENOSPC and
 * QCOWFMT_ERR_NO_SPACE if a name does not fit into the header.  Going to version
 * 2 writes out zero clusters and drops what only version 3 has (dirty bitmaps,
 * lazy refcounts, unknown header fields).  -EOVERFLOW and QCOWFMT_ERR_LIMIT if a
 * count does not fit into refcount_bits.  All changes take effect at once; after
 * a failure or a power cut there are all of them or none, and the guest sees the
 * same disk, and the same snapshots, in any case.  Guest I/O waits meanwhile.
 * Stable when it returns.  Since 0.1.
 */
int qcowfmt_amend(struct qcowfmt_image *image,
                  const struct qcowfmt_amend_options *options,
                  struct qcowfmt_error **errp);

/* --------------------------------------------------------- commit and rebase */

struct qcowfmt_commit_options {
	size_t struct_size;
	uint32_t flags; /* QCOWFMT_COMMIT_* */
	uint32_t reserved;
	uint64_t rate_limit;                /* bytes a second; 0 = none */
	qcowfmt_progress_callback progress; /* may be NULL; units are bytes */
	void *progress_opaque;
};

/* Leave the top image as it is; otherwise it is emptied. */
#define QCOWFMT_COMMIT_KEEP_TOP 0x1u

/*
 * qcowfmt_commit - copy what overlays hold into the image below them
 *
 * image was opened with chain_limit, so that its chain ends above base, and
 * read-write unless QCOWFMT_COMMIT_KEEP_TOP; base is that backing file, opened
 * read-write with the chain below it.  base grows to the size of image if it is
 * smaller.  Stable when it returns; the top is emptied only after that.  After a
 * failure or a power cut image and base together show the same disk.  -EINVAL if
 * the chain of image is not cut, or a file is in both chains; -ENOTSUP if base
 * cannot grow; -EBUSY if either is resized just then.  Guest I/O on base waits
 * meanwhile, and on image if it is emptied.  Since 0.1.
 */
int qcowfmt_commit(struct qcowfmt_image *image, struct qcowfmt_image *base,
                   const struct qcowfmt_commit_options *options,
                   struct qcowfmt_error **errp);

struct qcowfmt_rebase_options {
	size_t struct_size;
	uint32_t flags; /* QCOWFMT_REBASE_* */
	uint32_t reserved;
	const char *backing_filename;       /* stored as it is; NULL = none */
	const char *backing_format;         /* stored as it is; NULL = none */
	qcowfmt_progress_callback progress; /* may be NULL; units are bytes */
	void *progress_opaque;
};

/* Change the names only: the caller knows that the content is the same. */
#define QCOWFMT_REBASE_UNSAFE 0x1u
/* Store what has to be copied compressed. */
#define QCOWFMT_REBASE_COMPRESS 0x2u

/*
 * qcowfmt_rebase - put an image on another backing file, or on none
 *
 * new_base is that file, opened read-only; NULL if there is none, and with
 * QCOWFMT_REBASE_UNSAFE.  What the guest sees of the old backing file and the new
 * one does not show is copied into the image, which has to be open read-write
 * with its chain.  Then the header names the new file: one atomic step.  The
 * handle still reads through the old chain and must be closed next.  -ENOSPC
 * and nothing changed if the header has no room for the name; -ELOOP if new_base
 * leads back to image; -ENOTSUP for raw images; -EINVAL if the data file has to
 * stay a raw image of the disk.  After a failure or a power cut the guest sees the
 * same disk.  Guest I/O on image waits meanwhile.
 * Since 0.1.
 */
int qcowfmt_rebase(struct qcowfmt_image *image, struct qcowfmt_image *new_base,
                   const struct qcowfmt_rebase_options *options,
                   struct qcowfmt_error **errp);

/* ------------------------------------------------------- compare and measure */

/* How two images differ. */
enum qcowfmt_difference {
	QCOWFMT_SAME = 0,
	QCOWFMT_DIFFERENT_CONTENT = 1,
	QCOWFMT_DIFFERENT_SIZE = 2,      /* strict only */
	QCOWFMT_DIFFERENT_ALLOCATION = 3 /* strict only */
};

struct qcowfmt_compare_options {
	size_t struct_size;
	uint32_t flags; /* QCOWFMT_COMPARE_* */
	uint32_t reserved;
	qcowfmt_progress_callback progress; /* may be NULL; units are bytes */
	void *progress_opaque;
};

/* Sizes, and which ranges are allocated, have to be the same, too. */
#define QCOWFMT_COMPARE_STRICT 0x1u

/* What a comparison was doing when it failed. */
enum qcowfmt_compare_step {
	QCOWFMT_COMPARE_MAPPING = 1, /* finding out where data is */
	QCOWFMT_COMPARE_READING = 2
};

struct qcowfmt_compare_result {
	size_t struct_size;
	int32_t difference; /* enum qcowfmt_difference, the first one found */
	uint32_t failed_image; /* after an error of one image: 1 or 2 */
	uint64_t guest_offset; /* where: a sector of 512 bytes, or for
				* ALLOCATION where the extents begin */
	int32_t failed_step;   /* with failed_image: enum
				* qcowfmt_compare_step */
	int32_t reserved;
};

/*
 * qcowfmt_compare - whether a guest sees the same in two images
 *
 * The smaller image counts as followed by zeros.  Data that both images take from
 * the same place is not read.  Returns 0 when the comparison could be made; the
 * result tells, also after an error.  With QCOWFMT_COMPARE_STRICT extents are the
 * same if both are data, zeros or unallocated, have or have not a host offset,
 * and are or are not the last one of their disk, as in QEMU.  The caller sets
 * result->struct_size.  Since 0.1.
 */
int qcowfmt_compare(struct qcowfmt_image *first, struct qcowfmt_image *second,
                    const struct qcowfmt_compare_options *options,
                    struct qcowfmt_compare_result *result,
                    struct qcowfmt_error **errp);

struct qcowfmt_measure_result {
	size_t struct_size;
	uint64_t required;        /* bytes the new image file needs now */
	uint64_t fully_allocated; /* and once every cluster is written */
	uint64_t bitmaps;         /* bytes more for the bitmaps of the source */
	int32_t has_bitmaps; /* 1: the source has some and they can be kept */
	int32_t reserved;
};

/*
 * qcowfmt_measure - how large an image would be
 *
 * options describe the new image, which may be raw or qcow2; source is what would
 * be converted, and its size counts; NULL: an empty disk of
 * options->virtual_size.  With a backing file all of a source may be needed.
 * Compression is not foreseen.  -ENOTSUP for version 1.  The caller sets
 * result->struct_size.  Since 0.1.
 */
int qcowfmt_measure(struct qcowfmt_image *source,
                    const struct qcowfmt_create_options *options,
                    struct qcowfmt_measure_result *result,
                    struct qcowfmt_error **errp);

/* ------------------------------------------------------------------ convert */

/* What a conversion could not do. */
enum qcowfmt_convert_stage {
	QCOWFMT_CONVERT_NOT_FAILED = 0, /* or before the first byte */
	QCOWFMT_CONVERT_READING = 1,
	QCOWFMT_CONVERT_WRITING = 2
};

/* What a conversion did, whether or not it succeeded. */
struct qcowfmt_convert_result {
	size_t struct_size;
	int32_t failed_stage; /* enum qcowfmt_convert_stage */
	uint32_t reserved;
	uint64_t failed_offset; /* in the sources as one disk: of the piece that
				 * failed */
	uint64_t data_bytes;    /* written as data */
	uint64_t shared_bytes;  /* of these, copied or shared by storage */
	uint64_t lost_bytes;    /* could not be read and became zeros */
};

/* A range that could not be read and became zeros (QCOWFMT_CONVERT_SALVAGE).
 * Called from the thread that started the conversion, in the order of offsets. */
typedef void (*qcowfmt_salvage_callback)(void *opaque, size_t source_index,
                                         uint64_t guest_offset, uint64_t len,
                                         const char *message);

/*
 * Gives the next bytes of a raw disk that comes from first to last, up to len;
 * returns how many, 0 at the end, or a negative errno value.  Called from one
 * thread at a time, which may be any.
 */
typedef int64_t (*qcowfmt_input_callback)(void *opaque, void *buffer,
                                          size_t len);

struct qcowfmt_convert_options {
	size_t struct_size;
	uint32_t flags;   /* QCOWFMT_CONVERT_* */
	uint32_t threads; /* workers beside the caller's thread; 0 = none */
	/* Runs of at least so many zero bytes are not written; rounded up to
	 * the units of which the target can tell whether they are there, which
	 * with COMPRESS are clusters.  0 = 4096; at most 16 MiB; UINT64_MAX:
	 * everything is written. */
	uint64_t sparse_size;
	uint64_t rate_limit; /* bytes a second; 0 = none */
	const char *bitmap;  /* copy only what is dirty in this bitmap of the
			      * source, of which there is one; NULL = all */
	qcowfmt_progress_callback progress; /* may be NULL; units are bytes */
	void *progress_opaque;
	qcowfmt_salvage_callback salvage; /* may be NULL */
	void *salvage_opaque;
	/* Gets what was done; may be NULL.  The caller sets its struct_size. */
	struct qcowfmt_convert_result *result;
	/* Not NULL: what is copied comes from here, and there are no sources.
	 * A bitmap, SALVAGE, TOP_ONLY, OUT_OF_ORDER and COPY_RANGE are -EINVAL
	 * then.  Zeros are added up to a whole sector. */
	qcowfmt_input_callback input;
	void *input_opaque;
};

/* Store clusters compressed. */
#define QCOWFMT_CONVERT_COMPRESS 0x1u
/* The target reads as zeros already, so zeros need not be written. */
#define QCOWFMT_CONVERT_TARGET_IS_ZERO 0x2u
/* What cannot be read becomes zeros. */
#define QCOWFMT_CONVERT_SALVAGE 0x4u
/* Leave out what the top image of the source leaves to its backing file: the
 * target has a backing file with the same content. */
#define QCOWFMT_CONVERT_TOP_ONLY 0x8u
/* Write in any order, which may be faster; the layout of the target then differs
 * from run to run. */
#define QCOWFMT_CONVERT_OUT_OF_ORDER 0x10u
/* Let the file system share or copy whole ranges where it can, which needs
 * sources opened read-only; no zeros are looked for in them.  -EINVAL together
 * with COMPRESS. */
#define QCOWFMT_CONVERT_COPY_RANGE 0x20u
/* Read each part of the sources once, one after the other in the order of
 * offsets, for storage that can only go forward; the progress counts their size.
 * -EINVAL together with OUT_OF_ORDER or COPY_RANGE. */
#define QCOWFMT_CONVERT_IN_ORDER 0x40u
/* With input: let the target grow as it comes, and in the end have the length
 * of it.  Otherwise input that is longer than the target is -EINVAL. */
#define QCOWFMT_CONVERT_RESIZE 0x80u

/*
 * qcowfmt_convert - copy the disks of images, one behind the other, into another
 *
 * The target is at least as large as all sources together and open read-write;
 * it is not created or flushed here, and resized only with
 * QCOWFMT_CONVERT_RESIZE.  What is behind the sources is not
 * touched.  Without QCOWFMT_CONVERT_OUT_OF_ORDER a new target comes out the same,
 * byte for byte, for any number of threads, and so does the failure reported: the
 * one with the lowest offset.  Only allocated ranges are read; memory is bounded.
 * This call starts threads, at most 64 and only if told to, with all signals
 * blocked, and ends them; fewer
 * do if the system has no more.  After a failure the target holds part of the
 * data.  Since 0.1.
 */
int qcowfmt_convert(struct qcowfmt_image *const *sources, size_t source_count,
                    struct qcowfmt_image *target,
                    const struct qcowfmt_convert_options *options,
                    struct qcowfmt_error **errp);

/*
 * Takes the next len bytes of an image that is made in one go.  Returns 0 or a
 * negative errno value, which ends the operation.
 */
typedef int (*qcowfmt_stream_callback)(void *opaque, const void *buffer,
                                       size_t len);

/*
 * qcowfmt_stream - make an image from first byte to last, for a pipe
 *
 * create describes the new image, raw or qcow2; its size is that of the sources
 * if it is 0, and a data file, encryption and preallocation other than OFF are
 * -ENOTSUP, as are version 1 and a backing file in version 2.  For qcow2 the
 * sources are read twice, because tables come first that say which clusters have
 * data and how long compressed ones are, unless everything is stored and nothing
 * compressed; they must not change meanwhile (-EBUSY if that is noticed).  Memory:
 * four bytes for each cluster of data.  Options as for qcowfmt_convert();
 * OUT_OF_ORDER, COPY_RANGE, TARGET_IS_ZERO, RESIZE and a bitmap are -EINVAL.
 *
 * With IN_ORDER the sources are read once for qcow2, too: everything that they
 * call data is stored, zeros or not; -EINVAL together with COMPRESS.  With input
 * a raw image needs no size; a qcow2 image needs its size in create and
 * sparse_size UINT64_MAX, and is -ENOTSUP otherwise, or with COMPRESS.  The image is
 * the same for any number of threads.  What callback returns below 0 is the
 * result.  Since 0.1.
 */
int qcowfmt_stream(struct qcowfmt_image *const *sources, size_t source_count,
                   const struct qcowfmt_create_options *create,
                   const struct qcowfmt_convert_options *options,
                   qcowfmt_stream_callback callback, void *opaque,
                   struct qcowfmt_error **errp);

/* ------------------------------------------------------------------- compact */

struct qcowfmt_compact_options {
	size_t struct_size;
	uint32_t flags; /* 0 */
	uint32_t reserved;
	qcowfmt_progress_callback
		progress; /* may be NULL; units are clusters */
	void *progress_opaque;
};

struct qcowfmt_compact_result {
	size_t struct_size;
	uint64_t old_size; /* of the image file, bytes */
	uint64_t new_size;
	uint64_t clusters_moved;
	uint64_t clusters_punched; /* free ones, whose space was given back */
};

/*
 * qcowfmt_compact - make an image file shorter, in place
 *
 * Moves clusters from the end of the file into free ones, cuts the file, and
 * gives the space of free clusters back.  The guest sees the same disk all the
 * time, also after a failure or a power cut at any moment, which may leave
 * leaked clusters; snapshots and bitmaps are kept.  LUKS key slots are not moved,
 * and compressed clusters that share host clusters only together: the file keeps
 * its length up to the last thing that cannot move.  A second run has nothing to
 * do.  Clusters that read as zeros everywhere are not looked for.
 *
 * Takes memory of about 20 MiB, and what qcowfmt_check() takes.  Guest I/O waits
 * meanwhile.  -ENOTSUP for raw and version 1; -EIO and QCOWFMT_ERR_CORRUPT, with
 * nothing changed, for an image that has to be repaired first.  result may be
 * NULL; otherwise the caller sets result->struct_size.  Since 0.1.
 */
int qcowfmt_compact(struct qcowfmt_image *image,
                    const struct qcowfmt_compact_options *options,
                    struct qcowfmt_compact_result *result,
                    struct qcowfmt_error **errp);

/* -------------------------------------------------------------------- keys */

/* Which key slot of a LUKS image. */
struct qcowfmt_key_options {
	size_t struct_size;
	uint32_t flags;     /* QCOWFMT_KEY_* */
	uint32_t slot;      /* with QCOWFMT_KEY_SLOT: 0 ... 7 */
	const void *secret; /* raw bytes; at most QCOWFMT_MAX_SECRET */
	size_t secret_len;
	uint32_t iter_time_ms; /* of a new key; 0 = 2000 */
	uint32_t reserved;
};

#define QCOWFMT_KEY_SLOT  0x1u /* slot says which */
#define QCOWFMT_KEY_FORCE 0x2u /* also if that loses a key, or the last one */

/*
 * qcowfmt_add_key - let one more passphrase open a LUKS image
 *
 * Takes the slot given, or the first one that is free.  -EEXIST if it is in use
 * and FORCE is not set; -ENOSPC if none is free.  The image must be open
 * read-write.  Stable when it returns.  Returns the slot, 0 ... 7.
 * Since 0.1.
 */
int qcowfmt_add_key(struct qcowfmt_image *image,
                    const struct qcowfmt_key_options *options,
                    struct qcowfmt_error **errp);

/*
 * qcowfmt_erase_key - make a passphrase useless
 *
 * Erases the slot given, or all slots that the secret opens: their key material
 * is overwritten.  -EPERM if no key would be left and FORCE is not set: without
 * a key the data is lost.  -EKEYREJECTED if the secret opens no slot; -ENOENT if
 * the slot is not in use.  Returns 0.  Since 0.1.
 */
int qcowfmt_erase_key(struct qcowfmt_image *image,
                      const struct qcowfmt_key_options *options,
                      struct qcowfmt_error **errp);

/* ------------------------------------------------------------------- check */

struct qcowfmt_check_result {
	size_t struct_size;
	uint64_t corruptions; /* found and not repaired */
	uint64_t leaks;       /* found and not repaired, clusters */
	uint64_t corruptions_fixed;
	uint64_t leaks_fixed;
	uint64_t check_errors;       /* places that could not be checked */
	uint64_t total_clusters;     /* guest clusters of the virtual disk */
	uint64_t allocated_clusters; /* of those, with host space */
	uint64_t fragmented_clusters;
	uint64_t compressed_clusters;
	uint64_t image_end_offset; /* host offset behind the last one used */
};

/* Lower the counts of clusters that nothing uses. */
#define QCOWFMT_CHECK_REPAIR_LEAKS 0x1u
/* Everything that can be repaired without changing what the guest sees. */
#define QCOWFMT_CHECK_REPAIR_ALL 0x2u
/* Together with one of the above: change nothing.  The callback and the result
 * say what would be done; works on an image opened read-only. */
#define QCOWFMT_CHECK_PLAN 0x4u

/*
 * Receives each finding of a check: its stable number, where, and one line of
 * text without a newline.  After 262144 of them comes one that says that there are
 * more, and no other: the result counts them all.  It must not use the image, which waits for its end.
 */
typedef void (*qcowfmt_finding_callback)(void *opaque, uint32_t corruption_id,
                                         uint64_t host_offset,
                                         const char *message);

/*
 * qcowfmt_check - look for contradictions in the metadata of an image
 *
 * Looks at the image opened, not at its backing files.  callback may be NULL.
 * The caller sets result->struct_size.  Returns 0 when the check could be made,
 * whatever it found; the result tells.  Guest I/O on the image waits meanwhile.
 * -ENOTSUP for raw images.
 *
 * A repair needs an image opened read-write, and is -ENOTSUP for version 1, which
 * has no counts.  It never changes what the guest sees, and changes nothing if
 * there were check errors.  Refcount table and blocks that cannot be used are made
 * anew; damaged snapshot tables are written anew as far as they can be read, and
 * bitmaps that make no sense are dropped.  With REPAIR_LEAKS -EIO and
 * QCOWFMT_ERR_CORRUPT if counts are so wrong that freeing would not be safe.  A
 * power cut or a failure leaves an image that shows the same disk and can be
 * repaired.  Afterwards the image is looked at again: what is left is in the
 * result, and if that is no corruption, its corrupt and dirty bits are cleared.
 * Since 0.1.
 */
int qcowfmt_check(struct qcowfmt_image *image, uint32_t flags,
                  qcowfmt_finding_callback callback, void *opaque,
                  struct qcowfmt_check_result *result,
                  struct qcowfmt_error **errp);

/* ------------------------------------------------------ inspect and dehydrate */

/* What qcowfmt_inspect() says about one file, good or bad. */
struct qcowfmt_inspection {
	size_t struct_size;
	int32_t format;     /* enum qcowfmt_format, as probed */
	uint32_t version;   /* as the header says */
	uint64_t file_size; /* bytes */
	uint32_t flags;     /* QCOWFMT_INSPECT_* */
	int32_t encryption; /* enum qcowfmt_encryption */
	uint64_t virtual_size;
	uint64_t cluster_size;
	uint64_t incompatible_features;
	uint64_t unknown_incompatible;
	uint32_t snapshot_count;
	uint32_t bitmap_count;
	char backing_filename[1024]; /* ended by NUL; empty = none */
	char backing_format[16];
	char data_filename[1024];
	/* As in struct qcowfmt_check_result, and those of the header. */
	uint64_t corruptions;
	uint64_t leaks;
	uint64_t check_errors;
	/* QCOWFMT_UNSAFE_*: why an image from a stranger should not be used.
	 * 0 = nothing speaks against it. */
	uint32_t unsafe;
	uint32_t reserved;
};

/* qcowfmt_open() would succeed read-only, references aside. */
#define QCOWFMT_INSPECT_CAN_OPEN 0x1u
/* The header could be decoded: the fields behind flags mean something. */
#define QCOWFMT_INSPECT_HEADER    0x2u
#define QCOWFMT_INSPECT_DIRTY     0x4u
#define QCOWFMT_INSPECT_CORRUPT   0x8u
#define QCOWFMT_INSPECT_BACKING   0x10u
#define QCOWFMT_INSPECT_DATA_FILE 0x20u
/* All tables the header names lie inside the file. */
#define QCOWFMT_INSPECT_COMPLETE 0x40u
/* The file also looks like another format, such as a file system or a boot
 * sector. */
#define QCOWFMT_INSPECT_POLYGLOT 0x80u

/* The verdict.  A service that takes images from strangers refuses what has any of
 * these, and what has a virtual_size larger than it offers; the format that
 * was found has to be stated whenever the image is opened later. */
#define QCOWFMT_UNSAFE_BACKING_FILE     0x1u
#define QCOWFMT_UNSAFE_DATA_FILE        0x2u
#define QCOWFMT_UNSAFE_UNKNOWN_FEATURES 0x4u
/* The header makes no sense, or qcowfmt_open() would fail. */
#define QCOWFMT_UNSAFE_CANNOT_OPEN 0x8u
#define QCOWFMT_UNSAFE_INCOMPLETE  0x10u
/* QCOWFMT_INSPECT_POLYGLOT; or a raw file that other programs take for an image
 * in a format of theirs, which may name other files. */
#define QCOWFMT_UNSAFE_POLYGLOT 0x20u
#define QCOWFMT_UNSAFE_CORRUPT  0x40u
/* Parts of it could not be checked. */
#define QCOWFMT_UNSAFE_UNCHECKED 0x80u
/* Tables that are held in memory as a whole take more than 4 MiB. */
#define QCOWFMT_UNSAFE_LARGE_TABLES 0x100u
/* Trying a passphrase on all key slots takes more than 2^23 iterations. */
#define QCOWFMT_UNSAFE_EXPENSIVE_KEYS 0x200u

/*
 * qcowfmt_inspect - look at an image that may not be fit to be opened
 *
 * Reads the header and the tables it names, opens nothing else and changes
 * nothing; takes no lock, so an image that somebody writes to meanwhile may look
 * worse than it is.  Does what qcowfmt_check() does, also where the image cannot be
 * opened, unless it has features that are not known.  callback, which may be NULL,
 * gets each finding: its corruption id, or 0 for what is neither a corruption nor
 * a leak.  Memory and time are bounded by the caps of the format.  Returns 0
 * whatever was found; an error means that the storage could not be read.  The
 * caller sets inspection->struct_size.  Since 0.1.
 */
int qcowfmt_inspect(struct qcowfmt_storage *storage,
                    qcowfmt_finding_callback callback, void *opaque,
                    struct qcowfmt_inspection *inspection,
                    struct qcowfmt_error **errp);

/* Names (of files, snapshots and bitmaps) become other text of the same length,
 * and header extensions that are not known are overwritten. */
#define QCOWFMT_DEHYDRATE_NO_NAMES 0x1u

/*
 * qcowfmt_dehydrate - a copy of an image with its metadata and nothing else
 *
 * For bug reports.  Every header, table and refcount block is at the same place
 * in target, which is emptied first; guest data, VM state, the content of dirty
 * bitmaps and LUKS key material read as zeros.  Compressed data is removed, too, so
 * such clusters cannot be read.  A check of the copy finds what a check of the
 * original does, except where a table shares its place with guest data: then it is
 * left out.  flags are QCOWFMT_DEHYDRATE_*.  Also works on images that cannot be
 * opened, as far as their tables can be followed.  -EINVAL and
 * QCOWFMT_ERR_NOT_QCOW for anything but qcow images.  Both storages stay the
 * caller's.  The copy is stable when this returns.  Since 0.1.
 */
int qcowfmt_dehydrate(struct qcowfmt_storage *source,
                      struct qcowfmt_storage *target, uint32_t flags,
                      struct qcowfmt_error **errp);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* QCOWFMT_H */
