/* SPDX-License-Identifier: MIT */
/*
 * rec_storage.c - storage that records what is done to it
 *
 * An operation is done and recorded under one lock, so the log is in the order
 * in which things happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checked.h"
#include "rec_storage.h"

struct rec_storage {
	struct qcowfmt_storage base;
	struct rec_log *log;
	enum rec_file file;
};

static void *need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "test: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

/* -------------------------------------------------------------------- log */

struct rec_log *rec_log_new(size_t capacity)
{
	struct rec_log *log = need(calloc(1, sizeof(*log)));

	log->initial[REC_IMAGE] = byte_image_new(capacity);
	log->now[REC_IMAGE] = byte_image_new(capacity);
	qcf_mutex_init(&log->mutex, QCF_RANK_STORAGE);
	return log;
}

void rec_log_add_data(struct rec_log *log, size_t capacity)
{
	log->initial[REC_DATA] = byte_image_new(capacity);
	log->now[REC_DATA] = byte_image_new(capacity);
}

static void forget(struct rec_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		free(log->ops[i].data);
	log->count = 0;
}

void rec_log_free(struct rec_log *log)
{
	if (log == NULL)
		return;
	forget(log);
	free(log->ops);
	for (int file = 0; file < REC_FILES; file++) {
		byte_image_free(log->initial[file]);
		byte_image_free(log->now[file]);
	}
	qcf_mutex_fini(&log->mutex);
	free(log);
}

void rec_log_restart(struct rec_log *log)
{
	forget(log);
	for (int file = 0; file < REC_FILES; file++) {
		if (log->now[file] != NULL)
			byte_image_copy(log->initial[file], log->now[file]);
	}
}

bool rec_log_load(struct rec_log *log, const char *path)
{
	uint8_t buffer[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t offset = 0;
	ssize_t got = -1;

	if (fd < 0)
		return false;
	byte_image_set_size(log->now[REC_IMAGE], 0);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		if (!byte_image_write(log->now[REC_IMAGE], offset, buffer,
		                      (size_t)got)) {
			errno = EFBIG;
			got = -1;
			break;
		}
		offset += (size_t)got;
	}
	close(fd);
	rec_log_restart(log);
	return got == 0;
}

static void append_locked(struct rec_log *log, struct rec_op op)
{
	if (log->count == log->room) {
		log->room = log->room * 2 + 64;
		log->ops =
			need(realloc(log->ops, log->room * sizeof(*log->ops)));
	}
	log->ops[log->count++] = op;
}

void rec_log_mark(struct rec_log *log)
{
	QCF_GUARD(&log->mutex);

	append_locked(log, (struct rec_op){ .kind = REC_MARK });
}

/* ---------------------------------------------------------------- storage */

static struct rec_storage *rec_of(struct qcowfmt_storage *s)
{
	return qcf_container_of(s, struct rec_storage, base);
}

static struct byte_image *now_of(const struct rec_storage *rec)
{
	return rec->log->now[rec->file];
}

static int64_t rec_preadv(struct qcowfmt_storage *s, const struct iovec *iov,
                          int iovcnt, uint64_t offset,
                          struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);
	uint64_t size = byte_image_size(now_of(rec));
	uint64_t len;

	(void)errp;
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	if (offset >= size)
		return 0;
	len = QCF_MIN(len, size - offset);
	qcf_iov_from_buffer(iov, iovcnt, 0,
	                    byte_image_bytes(now_of(rec)) + offset,
	                    (size_t)len);
	return (int64_t)len;
}

static bool fits(const struct rec_storage *rec, uint64_t offset, uint64_t len)
{
	return qcf_range_within(offset, len, byte_image_capacity(now_of(rec)));
}

static int rec_pwritev(struct qcowfmt_storage *s, const struct iovec *iov,
                       int iovcnt, uint64_t offset, struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);
	uint64_t len;

	(void)errp;
	if (!qcf_iov_len(iov, iovcnt, &len))
		return -EINVAL;
	if (!fits(rec, offset, len))
		return -ENOSPC;

	uint8_t *data = need(malloc((size_t)len));

	qcf_iov_to_buffer(iov, iovcnt, 0, data, (size_t)len);
	append_locked(rec->log,
	              (struct rec_op){
			      .kind = REC_WRITE,
			      .file = rec->file,
			      .offset = offset,
			      .len = len,
			      .data = data,
			      .old_size = byte_image_size(now_of(rec)),
		      });
	byte_image_write(now_of(rec), offset, data, (size_t)len);
	return 0;
}

static void append_range(struct rec_storage *rec, enum rec_kind kind,
                         uint64_t offset, uint64_t len)
{
	append_locked(rec->log,
	              (struct rec_op){
			      .kind = kind,
			      .file = rec->file,
			      .offset = offset,
			      .len = len,
			      .old_size = byte_image_size(now_of(rec)),
		      });
}

static int rec_flush(struct qcowfmt_storage *s, struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);

	(void)errp;
	append_range(rec, REC_FLUSH, 0, 0);
	return 0;
}

static int rec_get_size(struct qcowfmt_storage *s, uint64_t *size,
                        struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);

	(void)errp;
	*size = byte_image_size(now_of(rec));
	return 0;
}

static int rec_truncate(struct qcowfmt_storage *s, uint64_t size,
                        struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);

	(void)errp;
	if (!fits(rec, size, 0))
		return -ENOSPC;
	append_range(rec, REC_TRUNCATE, size, 0);
	byte_image_set_size(now_of(rec), size);
	return 0;
}

static int rec_zero(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                    bool may_unmap, struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);

	(void)may_unmap;
	(void)errp;
	if (!fits(rec, offset, len))
		return -ENOSPC;
	append_range(rec, REC_ZERO, offset, len);
	byte_image_write(now_of(rec), offset, NULL, len);
	return 0;
}

static int rec_discard(struct qcowfmt_storage *s, uint64_t offset, uint64_t len,
                       struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);
	uint64_t size = byte_image_size(now_of(rec));

	(void)errp;
	if (offset >= size)
		return 0;
	len = QCF_MIN(len, size - offset);
	append_range(rec, REC_DISCARD, offset, len);
	byte_image_poke(now_of(rec), offset, NULL, len);
	return 0;
}

/* Of space content knows nothing; new bytes are zeros, as by truncating. */
static int rec_allocate(struct qcowfmt_storage *s, uint64_t offset,
                        uint64_t len, struct qcowfmt_error **errp)
{
	struct rec_storage *rec = rec_of(s);
	QCF_GUARD(&rec->log->mutex);

	(void)errp;
	if (!fits(rec, offset, len))
		return -ENOSPC;
	if (offset + len <= byte_image_size(now_of(rec)))
		return 0;
	append_range(rec, REC_TRUNCATE, offset + len, 0);
	byte_image_set_size(now_of(rec), (size_t)(offset + len));
	return 0;
}

static void rec_close(struct qcowfmt_storage *s)
{
	free(s->name);
	free(s);
}

static const struct qcf_storage_verbs rec_verbs = {
	.preadv = rec_preadv,
	.pwritev = rec_pwritev,
	.flush = rec_flush,
	.get_size = rec_get_size,
	.truncate = rec_truncate,
	.zero = rec_zero,
	.discard = rec_discard,
	.allocate = rec_allocate,
	.close = rec_close,
};

static struct qcowfmt_storage *new_storage(struct rec_log *log,
                                           enum rec_file file)
{
	struct rec_storage *s = need(calloc(1, sizeof(*s)));

	s->base.verbs = &rec_verbs;
	s->base.name = need(strdup("recorded"));
	s->base.writable = true;
	s->base.reads_zero_when_grown = true;
	s->base.alignment = 1;
	s->log = log;
	s->file = file;
	return &s->base;
}

struct qcowfmt_storage *rec_storage_new(struct rec_log *log)
{
	return new_storage(log, REC_IMAGE);
}

struct qcowfmt_storage *rec_data_storage_new(struct rec_log *log)
{
	return new_storage(log, REC_DATA);
}
