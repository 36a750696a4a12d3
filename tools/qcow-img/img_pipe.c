/* SPDX-License-Identifier: MIT */
/* img_pipe.c - an image that comes out of a pipe, used as it comes */
#include "img_pipe.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "tool_error.h"

/* Extents looked at in one call. */
#define EXTENT_COUNT 128

#define FIRST_HEAD (1 * MIB)

static const uint8_t magic[] = { 'Q', 'F', 'I', 0xfb };

void qcf_pipe_init(struct img_pipe *pipe)
{
	*pipe = (struct img_pipe){ .at_end = false };
	(void)pthread_mutex_init(&pipe->lock, NULL);
}

void qcf_pipe_fini(struct img_pipe *pipe)
{
	free(pipe->head);
	free(pipe->window);
	(void)pthread_mutex_destroy(&pipe->lock);
}

/* Up to len bytes, less only at the end. */
static int64_t get(struct img_pipe *pipe, char *buffer, size_t len)
{
	size_t done = 0;

	while (done < len && !pipe->at_end) {
		ssize_t got = read(STDIN_FILENO, buffer + done, len - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		pipe->at_end = got == 0;
		done += (size_t)got;
	}
	pipe->position += done;
	return (int64_t)done;
}

/* --------------------------------------------------------------------- head */

static int make_room(struct img_pipe *pipe, uint64_t len)
{
	uint64_t room = qcf_max(pipe->head_room, FIRST_HEAD);
	char *head;

	if (len > QCF_PIPE_MAX_HEAD)
		return -EFBIG;
	while (room < len)
		room *= 2;
	if (room == pipe->head_room)
		return 0;
	head = realloc(pipe->head, (size_t)room);
	if (head == NULL)
		return -ENOMEM;
	pipe->head = head;
	pipe->head_room = (size_t)room;
	return 0;
}

/* Let the head have len bytes, if there are as many. */
static int keep(struct img_pipe *pipe, uint64_t len)
{
	int ret = len <= pipe->head_len ? 0 : make_room(pipe, len);
	int64_t got;

	if (ret < 0 || len <= pipe->head_len)
		return ret;
	got = get(pipe, pipe->head + pipe->head_len,
	          (size_t)len - pipe->head_len);
	if (got < 0)
		return (int)got;
	pipe->head_len += (size_t)got;
	return 0;
}

int qcf_pipe_is_raw(struct img_pipe *pipe)
{
	int ret = keep(pipe, sizeof(magic));

	if (ret < 0)
		return ret;
	return pipe->head_len < sizeof(magic) ||
	       memcmp(pipe->head, magic, sizeof(magic)) != 0;
}

static size_t from_head(const struct img_pipe *pipe, char *buffer, size_t len,
                        uint64_t offset)
{
	size_t part = 0;

	if (offset < pipe->head_len) {
		part = (size_t)qcf_min(len, pipe->head_len - offset);
		memcpy(buffer, pipe->head + offset, part);
	}
	return part;
}

int64_t qcf_pipe_take(void *opaque, void *buffer, size_t len)
{
	struct img_pipe *pipe = opaque;
	size_t part = from_head(pipe, buffer, len, pipe->taken);

	pipe->taken += part;
	return part > 0 ? (int64_t)part : get(pipe, buffer, len);
}

/* ------------------------------------------------------------------- moving */

/* Note bytes that lie in front of position in the window. */
static void note(struct img_pipe *pipe, const char *bytes, size_t len)
{
	uint64_t at;

	if (len > QCF_PIPE_WINDOW) {
		bytes += len - QCF_PIPE_WINDOW;
		len = QCF_PIPE_WINDOW;
	}
	at = (pipe->position - len) % QCF_PIPE_WINDOW;
	while (len > 0) {
		size_t part = (size_t)qcf_min(len, QCF_PIPE_WINDOW - at);

		memcpy(pipe->window + at, bytes, part);
		bytes += part;
		len -= part;
		at = 0;
	}
}

/* What went by a short while ago. */
static int64_t from_window(const struct img_pipe *pipe, char *buffer,
                           size_t len, uint64_t offset)
{
	size_t done = 0;

	len = (size_t)qcf_min(len, pipe->position - offset);
	if (pipe->position - offset > QCF_PIPE_WINDOW)
		return -ESPIPE;
	while (done < len) {
		uint64_t at = (offset + done) % QCF_PIPE_WINDOW;
		size_t part = (size_t)qcf_min(len - done, QCF_PIPE_WINDOW - at);

		memcpy(buffer + done, pipe->window + at, part);
		done += part;
	}
	return (int64_t)len;
}

/* Let bytes go by that nobody wants. */
static int skip_to(struct img_pipe *pipe, uint64_t offset)
{
	QCF_AUTO_FREE char *buffer = NULL;

	if (offset <= pipe->position)
		return 0;
	buffer = qcf_tool_alloc(QCF_PIPE_WINDOW);
	while (pipe->position < offset && !pipe->at_end) {
		int64_t got = get(pipe, buffer,
		                  (size_t)qcf_min(offset - pipe->position,
		                                  QCF_PIPE_WINDOW));

		if (got < 0)
			return (int)got;
		note(pipe, buffer, (size_t)got);
	}
	return 0;
}

static int64_t read_moving(struct img_pipe *pipe, char *buffer, size_t len,
                           uint64_t offset)
{
	int64_t done = (int64_t)from_head(pipe, buffer, len, offset);
	int64_t got;
	int ret;

	if ((size_t)done == len)
		return done;
	ret = skip_to(pipe, offset);
	if (ret < 0)
		return ret;
	offset += (uint64_t)done;
	if (offset < pipe->position) {
		got = from_window(pipe, buffer + done, len - (size_t)done,
		                  offset);
		if (got < 0)
			return got;
		done += got;
	}
	got = get(pipe, buffer + done, len - (size_t)done);
	if (got < 0)
		return got;
	note(pipe, buffer + done, (size_t)got);
	done += got;
	/* Data that is missing is not zeros: somebody stopped sending. */
	return done == 0 ? -EPIPE : done;
}

/* ------------------------------------------------------------------ storage */

static int64_t pipe_pread(void *opaque, void *buffer, size_t len,
                          uint64_t offset)
{
	struct img_pipe *pipe = opaque;
	int64_t done;

	(void)pthread_mutex_lock(&pipe->lock);
	if (pipe->is_moving) {
		done = read_moving(pipe, buffer, len, offset);
	} else {
		uint64_t end =
			offset > UINT64_MAX - len ? UINT64_MAX : offset + len;

		done = keep(pipe, end);
		if (done == 0)
			done = (int64_t)from_head(pipe, buffer, len, offset);
	}
	(void)pthread_mutex_unlock(&pipe->lock);
	return done;
}

/* Nobody knows before the end; nothing that an image says is too far away. */
static int pipe_get_size(void *opaque, uint64_t *size)
{
	(void)opaque;
	*size = INT64_MAX & ~UINT64_C(511);
	return 0;
}

int qcf_pipe_storage(struct img_pipe *pipe, struct qcowfmt_storage **storage,
                     struct qcowfmt_error **errp)
{
	static const struct qcowfmt_storage_ops ops = {
		.struct_size = sizeof(ops),
		.pread = pipe_pread,
		.get_size = pipe_get_size,
	};

	return qcowfmt_storage_new_custom(&ops, pipe, "standard input", storage,
	                                  errp);
}

/* ------------------------------------------------------------------- layout */

struct order {
	uint64_t head_len; /* what is kept */
	uint64_t end;      /* of the data so far */
	bool own_data;     /* not in a data file */
};

/* Whether an extent can be read when its turn comes. */
static bool comes_in_turn(struct order *o, const struct qcowfmt_extent *e)
{
	bool is_packed = e->kind == QCOWFMT_EXTENT_COMPRESSED;
	uint64_t start = e->host_offset;

	if (e->depth > 0 || !o->own_data ||
	    (e->kind != QCOWFMT_EXTENT_DATA && !is_packed))
		return true;
	if (!is_packed && e->length <= o->head_len &&
	    start <= o->head_len - e->length)
		return true;
	if (start < o->end)
		return false;
	/* Where a compressed cluster ends shows when the next one begins. */
	o->end = is_packed ? start + 1 : start + e->length;
	return true;
}

static bool is_in_order(struct img_pipe *pipe, struct qcowfmt_image *image,
                        struct order *o)
{
	uint64_t size = qcowfmt_get_size(image);
	struct qcowfmt_extent extents[EXTENT_COUNT];
	uint64_t offset = 0;

	while (offset < size) {
		int count = qcowfmt_map(image, offset, size - offset, 0,
		                        extents, EXTENT_COUNT, NULL);
		int i;

		if (count <= 0)
			return false;
		o->head_len = pipe->head_len;
		for (i = 0; i < count; i++) {
			if (!comes_in_turn(o, &extents[i]))
				return false;
			offset = extents[i].guest_offset + extents[i].length;
		}
	}
	return true;
}

bool qcf_pipe_try_moving(struct img_pipe *pipe, struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct order o = { .end = 0 };

	if (qcowfmt_get_info(image, 0, &info, NULL) < 0)
		return false;
	o.own_data = (info.flags & QCOWFMT_INFO_DATA_FILE) == 0;
	/* All of a small image fits in any order. */
	if (!is_in_order(pipe, image, &o) &&
	    (keep(pipe, QCF_PIPE_MAX_HEAD) < 0 || !pipe->at_end))
		return false;
	pipe->window = qcf_tool_alloc(QCF_PIPE_WINDOW);
	pipe->is_moving = true;
	return true;
}

void qcf_pipe_drain(struct img_pipe *pipe)
{
	QCF_AUTO_FREE char *buffer = qcf_tool_alloc(QCF_PIPE_WINDOW);

	while (!pipe->at_end && get(pipe, buffer, QCF_PIPE_WINDOW) >= 0)
		;
}
