/* SPDX-License-Identifier: MIT */
/*
 * io_request.h - reads, writes and their buffers
 *
 * Every transfer checks its range against the disk first: what lies beyond is
 * an I/O error, as for any disk.
 */
#ifndef QCF_IO_REQUEST_H
#define QCF_IO_REQUEST_H

#include <sys/uio.h>

#include "io_session.h"

/* Memory of a request, in as many pieces as it has lengths. */
struct io_buffer {
	void *memory;         /* to be freed */
	unsigned char *bytes; /* all pieces, one behind the other */
	struct iovec *pieces;
	int count;
	uint64_t length;
};

/* One piece of length bytes, all of them fill. */
void qcf_io_buffer_init(const struct io_session *session,
                        struct io_buffer *buffer, uint64_t length, int fill);

/* A piece for each length; false with a message if one is no length. */
bool qcf_io_buffer_init_pieces(const struct io_session *session,
                               struct io_buffer *buffer, char **lengths,
                               int count, int fill);

/* Fill it with the content of a file, over and over; false with a message. */
bool qcf_io_buffer_fill_from_file(struct io_buffer *buffer, const char *path);

void qcf_io_buffer_fini(struct io_buffer *buffer);

/* Whether an argument, which is what, is a multiple of 512; false with a
 * message. */
bool qcf_io_is_whole_sectors(uint64_t value, const char *what);

/* The result of each is 0 or a negative errno value. */
int qcf_io_read(struct io_session *session, const struct io_buffer *buffer,
                uint64_t offset, struct qcowfmt_error **errp);
int qcf_io_write(struct io_session *session, const struct io_buffer *buffer,
                 uint64_t offset, bool flush, struct qcowfmt_error **errp);

/* Whole clusters, each of which is compressed. */
int qcf_io_write_compressed(struct io_session *session,
                            const struct io_buffer *buffer, uint64_t offset,
                            struct qcowfmt_error **errp);

/* The same of VM state, which has no end and is written in one piece. */
int qcf_io_read_vm_state(struct io_session *session,
                         const struct io_buffer *buffer, uint64_t offset,
                         struct qcowfmt_error **errp);
int qcf_io_write_vm_state(struct io_session *session,
                          const struct io_buffer *buffer, uint64_t offset,
                          struct qcowfmt_error **errp);

struct io_zero {
	uint64_t offset;
	uint64_t length;
	bool may_unmap;
	bool only_fast; /* fail where zeros would have to be written */
	bool flush;
};

int qcf_io_write_zeroes(struct io_session *session, const struct io_zero *zero,
                        struct qcowfmt_error **errp);
int qcf_io_discard(struct io_session *session, uint64_t offset, uint64_t length,
                   struct qcowfmt_error **errp);

#endif
