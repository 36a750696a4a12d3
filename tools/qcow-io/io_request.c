/* SPDX-License-Identifier: MIT */
/* io_request.c - reads, writes and their buffers */
#include "io_request.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "io_report.h"
#include "tool_error.h"

#define ALIGNMENT     4096
#define MISALIGNMENT  16
#define SECTOR_SIZE   512
#define COPY_UP_CHUNK (1 * MIB)

/* ----------------------------------------------------------------- buffers */

static void allocate(const struct io_session *session, struct io_buffer *buffer,
                     int fill)
{
	size_t shift = session->misalign ? MISALIGNMENT : 0;
	size_t size = (size_t)qcf_max(buffer->length, 1) + shift;

	if (posix_memalign(&buffer->memory, ALIGNMENT, size) != 0) {
		qcf_tool_error("Cannot allocate %zu bytes of memory", size);
		exit(EXIT_FAILURE);
	}
	buffer->bytes = (unsigned char *)buffer->memory + shift;
	memset(buffer->bytes, fill, (size_t)buffer->length);
}

void qcf_io_buffer_init(const struct io_session *session,
                        struct io_buffer *buffer, uint64_t length, int fill)
{
	*buffer = (struct io_buffer){ .length = length, .count = 1 };
	allocate(session, buffer, fill);
	buffer->pieces = qcf_tool_alloc(sizeof(*buffer->pieces));
	buffer->pieces[0] = (struct iovec){ buffer->bytes, (size_t)length };
}

static bool parse_length(const char *text, struct io_buffer *buffer, int i)
{
	uint64_t length;

	if (!qcf_io_parse_number(text, &length))
		return false;
	if (length > IO_MAX_REQUEST) {
		printf("Argument '%s' exceeds maximum size %" PRIu64 "\n", text,
		       IO_MAX_REQUEST);
		return false;
	}
	if (length > IO_MAX_REQUEST - buffer->length) {
		printf("The total number of bytes exceed the maximum size "
		       "%" PRIu64 "\n",
		       IO_MAX_REQUEST);
		return false;
	}
	buffer->pieces[i].iov_len = (size_t)length;
	buffer->length += length;
	return true;
}

bool qcf_io_buffer_init_pieces(const struct io_session *session,
                               struct io_buffer *buffer, char **lengths,
                               int count, int fill)
{
	unsigned char *next;
	int i;

	*buffer = (struct io_buffer){ .count = count };
	buffer->pieces =
		qcf_tool_alloc((size_t)count * sizeof(*buffer->pieces));
	for (i = 0; i < count; i++) {
		if (!parse_length(lengths[i], buffer, i)) {
			qcf_io_buffer_fini(buffer);
			return false;
		}
	}
	allocate(session, buffer, fill);
	next = buffer->bytes;
	for (i = 0; i < count; i++) {
		buffer->pieces[i].iov_base = next;
		next += buffer->pieces[i].iov_len;
	}
	return true;
}

bool qcf_io_buffer_fill_from_file(struct io_buffer *buffer, const char *path)
{
	size_t length = (size_t)buffer->length;
	size_t done = 0;
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	done = fread(buffer->bytes, 1, length, file);
	if (ferror(file) != 0 || (done == 0 && length > 0)) {
		fprintf(stderr, "%s: %s\n", path,
		        ferror(file) != 0 ? strerror(errno) : "file is empty");
		(void)fclose(file);
		return false;
	}
	(void)fclose(file);
	while (done < length) {
		size_t part = qcf_min(done, length - done);

		memcpy(buffer->bytes + done, buffer->bytes, part);
		done += part;
	}
	return true;
}

void qcf_io_buffer_fini(struct io_buffer *buffer)
{
	free(buffer->memory);
	free(buffer->pieces);
	*buffer = (struct io_buffer){ 0 };
}

/* ------------------------------------------------------------- copy on read */

static bool is_zero(const unsigned char *bytes, size_t length)
{
	return length == 0 ||
	       (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* Put a range that lies below the top image into the top image. */
static int copy_up_range(struct io_session *session, uint64_t offset,
                         uint64_t length, unsigned char *bytes,
                         struct qcowfmt_error **errp)
{
	struct qcowfmt_image *image = session->image;
	int ret = 0;

	while (ret == 0 && length > 0) {
		size_t part = (size_t)qcf_min(length, COPY_UP_CHUNK);

		ret = qcowfmt_pread(image, bytes, part, offset, errp);
		if (ret == 0 && is_zero(bytes, part))
			ret = qcowfmt_write_zeroes(image, offset, part, 0,
			                           errp);
		else if (ret == 0)
			ret = qcowfmt_pwrite(image, bytes, part, offset, errp);
		offset += part;
		length -= part;
	}
	return ret;
}

/* Whole clusters, since that is what the image will hold anyway. */
static int copy_up(struct io_session *session, uint64_t offset, uint64_t length,
                   struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE unsigned char *bytes = qcf_tool_alloc(COPY_UP_CHUNK);
	uint64_t unit = qcf_max(session->cluster_size, SECTOR_SIZE);
	uint64_t at = qcf_round_down(offset, unit);
	uint64_t end =
		qcf_min(qcf_round_up(offset + length, unit), session->size);
	int ret = 0;

	while (ret >= 0 && at < end) {
		struct qcowfmt_extent extent;

		ret = qcowfmt_map(session->image, at, end - at, QCOWFMT_MAP_TOP,
		                  &extent, 1, errp);
		if (ret < 0)
			break;
		if (extent.kind == QCOWFMT_EXTENT_UNALLOCATED)
			ret = copy_up_range(session, at, extent.length, bytes,
			                    errp);
		at += extent.length;
	}
	return ret < 0 ? ret : 0;
}

/* --------------------------------------------------------------- transfers */

bool qcf_io_is_whole_sectors(uint64_t value, const char *what)
{
	if (value % 512 == 0)
		return true;
	printf("%" PRIu64 " is not a sector-aligned value for '%s'\n", value,
	       what);
	return false;
}

static bool is_inside(const struct io_session *session, uint64_t offset,
                      uint64_t length)
{
	return offset <= session->size && length <= session->size - offset;
}

/*
 * An image that is taken as raw only because nothing else was found must not
 * come to look like another format: it would be opened as that next time, and
 * name any file as its backing file.  bytes is NULL for zeros.
 */
static int check_first_sector(struct io_session *session,
                              const unsigned char *bytes, uint64_t length,
                              uint64_t offset, struct qcowfmt_error **errp)
{
	unsigned char sector[SECTOR_SIZE] = { 0 };
	size_t size =
		(size_t)qcf_min(SECTOR_SIZE, qcowfmt_get_size(session->image));
	size_t part;
	int ret;

	if (!session->guards_first_sector || offset >= size || length == 0)
		return 0;
	ret = qcowfmt_pread(session->image, sector, size, 0, errp);
	if (ret < 0)
		return ret;
	part = (size_t)qcf_min(length, size - offset);
	if (bytes != NULL)
		memcpy(sector + offset, bytes, part);
	else
		memset(sector + offset, 0, part);
	return qcowfmt_probe(sector, size) == QCOWFMT_FORMAT_RAW ? 0 : -EPERM;
}

/* After a change: make it stable if that was asked for. */
static int settle(struct io_session *session, int ret, bool flush,
                  struct qcowfmt_error **errp)
{
	if (ret < 0 || !(flush || session->settings.cache.write_through))
		return ret;
	return qcowfmt_flush(session->image, errp);
}

int qcf_io_read(struct io_session *session, const struct io_buffer *buffer,
                uint64_t offset, struct qcowfmt_error **errp)
{
	int ret = 0;

	if (!is_inside(session, offset, buffer->length))
		return -EIO;
	if (session->settings.copy_on_read)
		ret = copy_up(session, offset, buffer->length, errp);
	if (ret < 0)
		return ret;
	return qcowfmt_preadv(session->image, buffer->pieces, buffer->count,
	                      offset, errp);
}

int qcf_io_write(struct io_session *session, const struct io_buffer *buffer,
                 uint64_t offset, bool flush, struct qcowfmt_error **errp)
{
	int ret;

	if (!is_inside(session, offset, buffer->length))
		return -EIO;
	ret = check_first_sector(session, buffer->bytes, buffer->length, offset,
	                         errp);
	if (ret < 0)
		return ret;
	ret = qcowfmt_pwritev(session->image, buffer->pieces, buffer->count,
	                      offset, errp);
	return settle(session, ret, flush, errp);
}

int qcf_io_write_compressed(struct io_session *session,
                            const struct io_buffer *buffer, uint64_t offset,
                            struct qcowfmt_error **errp)
{
	int ret;

	if (!is_inside(session, offset, buffer->length))
		return -EIO;
	if (buffer->length == 0)
		return 0;
	ret = qcowfmt_pwrite_compressed(session->image, buffer->bytes,
	                                (size_t)buffer->length, offset, errp);
	return settle(session, ret, false, errp);
}

int qcf_io_read_vm_state(struct io_session *session,
                         const struct io_buffer *buffer, uint64_t offset,
                         struct qcowfmt_error **errp)
{
	return qcowfmt_vm_state_pread(session->image, buffer->bytes,
	                              (size_t)buffer->length, offset, errp);
}

int qcf_io_write_vm_state(struct io_session *session,
                          const struct io_buffer *buffer, uint64_t offset,
                          struct qcowfmt_error **errp)
{
	int ret = qcowfmt_vm_state_pwrite(session->image, buffer->bytes,
	                                  (size_t)buffer->length, offset, errp);

	return settle(session, ret, false, errp);
}

/* Whether a unit, as far as it is part of the disk, reads as zeros now. */
static bool unit_is_zero(struct io_session *session, uint64_t offset,
                         uint64_t unit)
{
	uint64_t end = qcf_min(offset + unit, session->size);

	while (offset < end) {
		struct qcowfmt_extent extent;

		if (qcowfmt_map(session->image, offset, end - offset, 0,
		                &extent, 1, NULL) < 1 ||
		    extent.kind == QCOWFMT_EXTENT_DATA ||
		    extent.kind == QCOWFMT_EXTENT_COMPRESSED)
			return false;
		offset += extent.length;
	}
	return true;
}

/*
 * Zeros are a matter of metadata only in version 3, for whole clusters or
 * subclusters; the rest of a range has to be zeros already.  In raw images the
 * file system does it.
 */
static bool zeroing_is_fast(struct io_session *session,
                            const struct io_zero *zero)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	uint64_t end = zero->offset + zero->length;
	uint64_t unit;

	if (qcowfmt_get_info(session->image, 0, &info, NULL) < 0)
		return false;
	if (info.format == QCOWFMT_FORMAT_RAW)
		return true;
	if (info.version < 3)
		return false;
	unit = info.cluster_size;
	if ((info.flags & QCOWFMT_INFO_EXTENDED_L2) != 0)
		unit /= 32;
	if (zero->offset % unit != 0 &&
	    !unit_is_zero(session, qcf_round_down(zero->offset, unit), unit))
		return false;
	return end % unit == 0 || end == session->size ||
	       unit_is_zero(session, qcf_round_down(end, unit), unit);
}

int qcf_io_write_zeroes(struct io_session *session, const struct io_zero *zero,
                        struct qcowfmt_error **errp)
{
	int ret;

	if (!is_inside(session, zero->offset, zero->length))
		return -EIO;
	if (zero->only_fast && !zeroing_is_fast(session, zero))
		return -ENOTSUP;
	ret = check_first_sector(session, NULL, zero->length, zero->offset,
	                         errp);
	if (ret < 0)
		return ret;
	ret = qcowfmt_write_zeroes(session->image, zero->offset, zero->length,
	                           zero->may_unmap ? QCOWFMT_ZERO_MAY_UNMAP : 0,
	                           errp);
	return settle(session, ret, zero->flush, errp);
}

int qcf_io_discard(struct io_session *session, uint64_t offset, uint64_t length,
                   struct qcowfmt_error **errp)
{
	int ret;

	if (!is_inside(session, offset, length))
		return -EIO;
	ret = qcowfmt_discard(session->image, offset, length, errp);
	return settle(session, ret, false, errp);
}
