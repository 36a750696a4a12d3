/* SPDX-License-Identifier: MIT */
/*
 * encrypted.c - guest data that is encrypted in the file that holds it
 *
 * Everything goes through a buffer of bounded size, because a caller's data must
 * not be changed and a vector may cut sectors anywhere.  Only a read of whole
 * sectors into one piece of memory is decrypted where it is.
 */
#include <string.h>

#include "checked.h"
#include "crypto.h"
#include "encrypted.h"

/* Large enough that system calls do not matter, small enough for the caches. */
#define CHUNK (UINT64_C(256) << 10)

/* Whole sectors of a layer, in memory and in the file. */
struct chunk {
	struct qcf_layer *layer;
	uint64_t guest_offset;
	uint64_t host_offset;
	uint64_t len;
	uint8_t *bytes;
	uint64_t skip; /* bytes in front of what is meant */
};

/* The first chunk of len bytes at these offsets; *part gets how many of them it
 * takes. */
static struct chunk next_chunk(struct qcf_layer *layer, uint64_t guest_offset,
                               uint64_t host_offset, uint64_t len,
                               uint8_t *buffer, uint64_t *part)
{
	uint64_t skip = host_offset % QCF_SECTOR_SIZE;

	*part = QCF_MIN(len, CHUNK - skip);
	return (struct chunk){
		.layer = layer,
		.guest_offset = guest_offset - skip,
		.host_offset = host_offset - skip,
		.len = qcf_align_up(skip + *part, QCF_SECTOR_SIZE),
		.bytes = buffer,
		.skip = skip,
	};
}

static int read_chunk(const struct chunk *c, struct qcowfmt_error **errp)
{
	int64_t got = qcf_storage_pread_padded(c->layer->data, c->bytes, c->len,
	                                       c->host_offset, errp);

	if (got < 0)
		return (int)got;
	return qcf_crypto_decrypt(qcf_layer_crypto(c->layer), c->bytes,
	                          c->bytes, c->len, c->guest_offset,
	                          c->host_offset, errp);
}

static int write_chunk(const struct chunk *c, struct qcowfmt_error **errp)
{
	int ret = qcf_crypto_encrypt(qcf_layer_crypto(c->layer), c->bytes,
	                             c->bytes, c->len, c->guest_offset,
	                             c->host_offset, errp);

	return ret < 0 ? ret
	               : qcf_storage_pwrite(c->layer->data, c->bytes, c->len,
	                                    c->host_offset, errp);
}

/* ------------------------------------------------------------------- reading */

/* The memory of a payload's first len bytes if it is one piece, else NULL. */
static uint8_t *one_piece(const struct qcf_payload *p, uint64_t len)
{
	struct iovec first;

	if (qcf_iov_window(p->iov, p->iovcnt, p->skip, &first, 1) == 1 &&
	    first.iov_len >= len)
		return first.iov_base;
	return NULL;
}

static int read_buffered(struct qcf_layer *layer, const struct qcf_payload *p,
                         uint64_t host_offset, uint64_t len,
                         struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *buffer =
		malloc(QCF_MIN(CHUNK, len + 2 * QCF_SECTOR_SIZE));
	uint64_t done = 0;

	if (buffer == NULL)
		return qcf_fail_oom(errp);
	while (done < len) {
		uint64_t part;
		struct chunk c = next_chunk(layer, p->guest_offset + done,
		                            host_offset + done, len - done,
		                            buffer, &part);
		int ret = read_chunk(&c, errp);

		if (ret < 0)
			return ret;
		qcf_iov_from_buffer(p->iov, p->iovcnt, p->skip + done,
		                    buffer + c.skip, part);
		done += part;
	}
	return 0;
}

int qcf_encrypted_read(struct qcf_layer *layer, const struct qcf_payload *p,
                       uint64_t host_offset, uint64_t len,
                       struct qcowfmt_error **errp)
{
	struct chunk c = {
		.layer = layer,
		.guest_offset = p->guest_offset,
		.host_offset = host_offset,
		.len = len,
		.bytes = one_piece(p, len),
	};

	if (c.bytes != NULL && qcf_is_aligned(host_offset, QCF_SECTOR_SIZE) &&
	    qcf_is_aligned(len, QCF_SECTOR_SIZE))
		return read_chunk(&c, errp);
	return read_buffered(layer, p, host_offset, len, errp);
}

/* ------------------------------------------------------------------- writing */

/* Copy what overlaps [from, to) of a part that begins at position at; bytes
 * NULL are zeros. */
static void gather_bytes(const uint8_t *bytes, uint64_t len, uint64_t at,
                         uint64_t from, uint64_t to, uint8_t *out)
{
	uint64_t first = QCF_MAX(from, at);
	uint64_t end = QCF_MIN(to, at + len);

	if (first >= end)
		return;
	if (bytes == NULL)
		memset(out + (first - from), 0, end - first);
	else
		memcpy(out + (first - from), bytes + (first - at), end - first);
}

/* The bytes [from, to) of head, data and tail laid end to end. */
static void gather(const struct qcf_cow *cow, const struct qcf_payload *p,
                   uint64_t from, uint64_t to, uint8_t *out)
{
	uint64_t data_at = cow->head.len;
	uint64_t first = QCF_MAX(from, data_at);
	uint64_t end = QCF_MIN(to, data_at + p->len);

	gather_bytes(cow->head.bytes, cow->head.len, 0, from, to, out);
	if (first < end)
		qcf_iov_to_buffer(p->iov, p->iovcnt,
		                  p->skip + (first - data_at),
		                  out + (first - from), end - first);
	gather_bytes(cow->tail.bytes, cow->tail.len, data_at + p->len, from, to,
	             out);
}

/* Fill in what is stored around the part bytes that are meant. */
static int read_around(const struct chunk *c, uint64_t part,
                       struct qcowfmt_error **errp)
{
	struct chunk sector = *c;
	uint64_t end = c->skip + part;
	int ret = 0;

	sector.len = QCF_SECTOR_SIZE;
	if (c->skip > 0)
		ret = read_chunk(&sector, errp);
	if (ret < 0 || end == c->len)
		return ret;
	sector.host_offset += c->len - QCF_SECTOR_SIZE;
	sector.guest_offset += c->len - QCF_SECTOR_SIZE;
	sector.bytes += c->len - QCF_SECTOR_SIZE;
	/* It may be the same sector as the one in front. */
	if (c->skip > 0 && c->len == QCF_SECTOR_SIZE)
		return 0;
	return read_chunk(&sector, errp);
}

int qcf_encrypted_write(struct qcf_layer *layer, const struct qcf_cow *cow,
                        const struct qcf_payload *p, uint64_t host_offset,
                        struct qcowfmt_error **errp)
{
	uint64_t len = cow->head.len + p->len + cow->tail.len;
	uint64_t host_start = host_offset - cow->head.len;
	uint64_t guest_start = p->guest_offset - cow->head.len;
	QCF_AUTO_FREE uint8_t *buffer =
		malloc(QCF_MIN(CHUNK, len + 2 * QCF_SECTOR_SIZE));
	uint64_t done = 0;

	if (buffer == NULL)
		return qcf_fail_oom(errp);
	while (done < len) {
		uint64_t part;
		struct chunk c =
			next_chunk(layer, guest_start + done, host_start + done,
		                   len - done, buffer, &part);
		int ret = read_around(&c, part, errp);

		if (ret < 0)
			return ret;
		gather(cow, p, done, done + part, buffer + c.skip);
		ret = write_chunk(&c, errp);
		if (ret < 0)
			return ret;
		done += part;
	}
	return 0;
}
