/* SPDX-License-Identifier: MIT */
/*
 * img_pipe.h - an image that comes out of a pipe, used as it comes
 *
 * A pipe can be read once.  So what is read is kept, from the first byte on,
 * until it is known whether the image can do without what went by: a raw one
 * always can, another one if it is small, or if its tables lie in front of its
 * data and the data in the order of the disk, as in what "convert" writes to a pipe
 * itself.
 */
#ifndef QCF_IMG_PIPE_H
#define QCF_IMG_PIPE_H

#include <pthread.h>
#include <stdbool.h>

#include "tool_util.h"

/* The most that is kept: tables of 400 GiB of data in clusters of 64 KiB, or all
 * of a small image. */
#define QCF_PIPE_MAX_HEAD (64 * MIB)

/* How far reading may go back: compressed clusters share sectors. */
#define QCF_PIPE_WINDOW (64 * KIB)

struct img_pipe {
	pthread_mutex_t lock; /* guards all the rest */
	char *head;           /* the first bytes of the image */
	size_t head_len;
	size_t head_room;
	bool at_end;    /* of what comes */
	bool is_moving; /* nothing is added to the head any more */
	char *window;   /* once moving: the last bytes that went by, in front of
			 * position, of which byte n is at n modulo its size */
	uint64_t position; /* bytes taken, those in the head included */
	uint64_t taken;    /* of the head, by qcf_pipe_take() */
};

/* Standard input.  Nothing is read yet. */
void qcf_pipe_init(struct img_pipe *pipe);
void qcf_pipe_fini(struct img_pipe *pipe);

/* Whether what comes has no header of a format: negative errno, or 0 or 1. */
int qcf_pipe_is_raw(struct img_pipe *pipe);

/* A qcowfmt_input_callback; opaque is the struct img_pipe. */
int64_t qcf_pipe_take(void *opaque, void *buffer, size_t len);

/* Read-only storage with what comes, as long as the pipe is there. */
int qcf_pipe_storage(struct img_pipe *pipe, struct qcowfmt_storage **storage,
                     struct qcowfmt_error **errp);

/*
 * Whether the image in such storage can be read from its first guest byte to its
 * last with what was kept of it; if so, nothing more is kept from now on.
 */
bool qcf_pipe_try_moving(struct img_pipe *pipe, struct qcowfmt_image *image);

/* Let the rest go by, so that who sends it is not told that nobody wants it. */
void qcf_pipe_drain(struct img_pipe *pipe);

#endif
