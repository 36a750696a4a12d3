/* SPDX-License-Identifier: MIT */
/*
 * rec_storage.h - storage that records what is done to it
 *
 * The log outlives the storage, which an image owns and frees, so that one log
 * can record an image that is closed and opened again.  An image with a data
 * file has two storages on one log, which then is in the order in which things
 * happened to either.
 */
#ifndef QCF_REC_STORAGE_H
#define QCF_REC_STORAGE_H

#include "byte_image.h"
#include "lock.h"
#include "storage.h"

enum rec_kind {
	REC_WRITE,
	REC_ZERO,
	REC_DISCARD,
	REC_TRUNCATE, /* offset is the new size */
	REC_FLUSH,
	REC_MARK, /* made by the test, not by the image */
};

enum rec_file { REC_IMAGE, REC_DATA, REC_FILES };

struct rec_op {
	enum rec_kind kind;
	enum rec_file file;
	uint64_t offset;
	uint64_t len;
	uint8_t *data;     /* of a write */
	uint64_t old_size; /* of the storage before the operation */
};

struct rec_log {
	/* When recording began.  REC_DATA is NULL in a log of one file. */
	struct byte_image *initial[REC_FILES];

	struct qcf_mutex mutex; /* guards what follows */
	struct byte_image *now[REC_FILES];
	struct rec_op *ops;
	size_t count;
	size_t room;
};

/* A log of nothing, over an empty image that may grow to capacity bytes. */
struct rec_log *rec_log_new(size_t capacity);
void rec_log_free(struct rec_log *log);

/* Have a data file, too: empty, growing to capacity bytes. */
void rec_log_add_data(struct rec_log *log, size_t capacity);

/* Forget what was recorded: begin with the bytes there are now. */
void rec_log_restart(struct rec_log *log);

/* Begin with an image of these bytes; false and errno if there are none. */
bool rec_log_load(struct rec_log *log, const char *path);

/* Note that the test has seen something: a flush acknowledged, for instance. */
void rec_log_mark(struct rec_log *log);

/* A storage that records in the log, for any number of threads; of the image
 * or of the data file. */
struct qcowfmt_storage *rec_storage_new(struct rec_log *log);
struct qcowfmt_storage *rec_data_storage_new(struct rec_log *log);

#endif
