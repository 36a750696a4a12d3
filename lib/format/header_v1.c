/* SPDX-License-Identifier: MIT */
/*
 * header_v1.c - the header of a version 1 image: bytes to structure and back
 *
 * Fields are checked in the order in which QEMU checks them: size,
 * cluster_bits, l2_bits, crypt_method, length of the L1 table; then the places
 * of the backing file name and of the L1 table, which QEMU does not look at.
 * After that the header with what belongs to it, the name and the L1 table do
 * not overlap, and all of them end below 2^63.
 *
 * Xen's block is taken for one only where nothing else can be: neither the name
 * nor the L1 table begins before its end.
 */
#include <errno.h>
#include <inttypes.h>

#include "bytes.h"
#include "check_id.h"
#include "checked.h"
#include "header_check.h"
#include "header_v1.h"

/* Where fields are that errors point at. */
#define AT_BACKING_OFFSET 8u
#define AT_BACKING_SIZE   16u
#define AT_VIRTUAL_SIZE   24u
#define AT_CLUSTER_BITS   32u
#define AT_L2_BITS        33u
#define AT_CRYPT_METHOD   36u
#define AT_L1_OFFSET      40u

#define CRYPT_METHOD_MAX 1u

/* Smaller than a sector, but what QEMU has always asked for. */
#define MIN_VIRTUAL_SIZE 2u

#define XEN_MAGIC         UINT32_C(0x58454efb)
#define XEN_BLOCK_LEN     16u
#define XEN_AT_FLAGS      12u
#define XEN_L1_BIG_ENDIAN 2u

/* Where the backing name is; offset 0 means that there is none. */
struct name_place {
	uint64_t offset;
	uint32_t len;
};

/* ---------------------------------------------------------------- one field */

static int check_range(enum qcf_check id, uint64_t at, uint64_t have,
                       uint64_t min, uint64_t max, struct qcowfmt_error **errp)
{
	if (have >= min && have <= max)
		return 0;
	return qcf_corruptf(errp, id, at,
	                    "have %" PRIu64 ", want %" PRIu64 " to %" PRIu64,
	                    have, min, max);
}

static int check_cluster_bits(uint32_t cluster_bits,
                              struct qcowfmt_error **errp)
{
	return check_range(QCF_CHECK_CLUSTER_BITS, AT_CLUSTER_BITS,
	                   cluster_bits, QCF_MIN_CLUSTER_BITS,
	                   QCF_MAX_CLUSTER_BITS_V1, errp);
}

static uint64_t stored_size(const struct qcf_header *h)
{
	return h->virtual_size + h->size_tail;
}

static int check_fields(const struct qcf_header *h, struct qcowfmt_error **errp)
{
	int ret =
		check_range(QCF_CHECK_VIRTUAL_SIZE, AT_VIRTUAL_SIZE,
	                    stored_size(h), MIN_VIRTUAL_SIZE, INT64_MAX, errp);

	if (ret == 0)
		ret = check_cluster_bits(h->cluster_bits, errp);
	if (ret == 0)
		ret = check_range(QCF_CHECK_V1_L2_BITS, AT_L2_BITS, h->l2_bits,
		                  QCF_MIN_L2_BITS_V1, QCF_MAX_L2_BITS_V1, errp);
	if (ret == 0)
		ret = check_range(QCF_CHECK_V1_CRYPT_METHOD, AT_CRYPT_METHOD,
		                  h->crypt_method, 0, CRYPT_METHOD_MAX, errp);
	return ret;
}

/* -------------------------------------------------------------- places */

/* The L1 table has an entry also for bytes that rounding the size drops. */
static int set_l1_size(struct qcf_header *h, struct qcowfmt_error **errp)
{
	struct qcf_geometry g;
	int ret = qcf_header_geometry(h, &g, errp);
	uint64_t entries;

	if (ret < 0)
		return ret;
	entries = qcf_l1_entries_for(&g, stored_size(h));
	ret = check_range(QCF_CHECK_L1_SIZE, AT_VIRTUAL_SIZE, entries, 1,
	                  QCF_MAX_L1_ENTRIES_V1, errp);
	if (ret == 0)
		h->l1_size = (uint32_t)entries;
	return ret;
}

static bool has_name(struct name_place name)
{
	return name.offset != 0 && name.len > 0;
}

static int check_name_place(const struct qcf_header *h, struct name_place name,
                            struct qcowfmt_error **errp)
{
	if (!has_name(name))
		return 0;
	if (name.len > QCF_MAX_BACKING_NAME)
		return qcf_corruptf(
			errp, QCF_CHECK_BACKING_NAME, AT_BACKING_SIZE,
			"backing_file_size, have %" PRIu32 ", want at most %u",
			name.len, QCF_MAX_BACKING_NAME);
	if (name.offset >= h->header_length &&
	    qcf_range_within(name.offset, name.len, QCF_HEADER_AREA_V1))
		return 0;
	return qcf_corruptf(
		errp, QCF_CHECK_V1_BACKING_OFFSET, AT_BACKING_OFFSET,
		"have %" PRIu64 " and %" PRIu32
		" bytes, want it between %" PRIu32 " and %" PRIu64,
		name.offset, name.len, h->header_length, QCF_HEADER_AREA_V1);
}

static uint64_t l1_table_len(const struct qcf_header *h)
{
	return h->l1_size * (uint64_t)sizeof(uint64_t);
}

static bool l1_place_ok(const struct qcf_header *h, struct name_place name)
{
	if (h->l1_table_offset < h->header_length ||
	    !qcf_range_within(h->l1_table_offset, l1_table_len(h), INT64_MAX))
		return false;
	return !has_name(name) ||
	       h->l1_table_offset >= name.offset + name.len ||
	       h->l1_table_offset + l1_table_len(h) <= name.offset;
}

/* The place of the name has been checked. */
static int check_l1_place(const struct qcf_header *h, struct name_place name,
                          struct qcowfmt_error **errp)
{
	if (l1_place_ok(h, name))
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_V1_L1_OFFSET, AT_L1_OFFSET,
	                    "have 0x%" PRIx64 " and %" PRIu64 " bytes",
	                    h->l1_table_offset, l1_table_len(h));
}

/* -------------------------------------------------------------- Xen's block */

static bool is_xen_block(const struct qcf_header *h, struct name_place name,
                         struct qcf_reader reader)
{
	const uint64_t end = QCF_HEADER_LEN_V1 + XEN_BLOCK_LEN;

	if (h->l1_table_offset < end)
		return false;
	if (has_name(name) && name.offset < end)
		return false;
	return qcf_reader_left(&reader) >= XEN_BLOCK_LEN &&
	       qcf_read_u32(&reader) == XEN_MAGIC;
}

static int keep_xen_block(struct qcf_header *h, struct name_place name,
                          struct qcf_reader *reader,
                          struct qcowfmt_error **errp)
{
	if (!is_xen_block(h, name, *reader))
		return 0;
	h->unknown = malloc(XEN_BLOCK_LEN);
	if (h->unknown == NULL)
		return qcf_fail_oom(errp);
	h->unknown_len = XEN_BLOCK_LEN;
	h->header_length += XEN_BLOCK_LEN;
	qcf_read_bytes(reader, h->unknown, XEN_BLOCK_LEN);
	return 0;
}

bool qcf_header_v1_l1_is_native(const struct qcf_header *h)
{
	struct qcf_reader reader;

	if (h->version != 1 || h->unknown_len < XEN_BLOCK_LEN)
		return false;
	reader = qcf_reader_init(h->unknown, h->unknown_len);
	qcf_read_span(&reader, XEN_AT_FLAGS);
	return (qcf_read_u32(&reader) & XEN_L1_BIG_ENDIAN) == 0;
}

/* ------------------------------------------------------------------- decode */

static struct name_place decode_fields(struct qcf_header *h,
                                       struct qcf_reader *reader)
{
	struct name_place name;
	uint64_t size;

	h->version = 1;
	h->header_length = QCF_HEADER_LEN_V1;
	name.offset = qcf_read_u64(reader);
	name.len = qcf_read_u32(reader);
	h->mtime = qcf_read_u32(reader);
	size = qcf_read_u64(reader);
	h->virtual_size = qcf_align_down(size, QCF_SECTOR_SIZE);
	h->size_tail = (uint16_t)(size - h->virtual_size);
	h->cluster_bits = qcf_read_u8(reader);
	h->l2_bits = qcf_read_u8(reader);
	h->reserved = qcf_read_u16(reader);
	h->crypt_method = qcf_read_u32(reader);
	h->l1_table_offset = qcf_read_u64(reader);
	return name;
}

/* Everything that has a place in the file. */
static int decode_places(struct qcf_header *h, struct name_place name,
                         struct qcf_reader *reader, struct qcowfmt_error **errp)
{
	int ret = set_l1_size(h, errp);

	if (ret == 0)
		ret = keep_xen_block(h, name, reader, errp);
	if (ret == 0)
		ret = check_name_place(h, name, errp);
	if (ret == 0)
		ret = check_l1_place(h, name, errp);
	return ret;
}

static struct qcf_reader reader_of(const uint8_t *bytes, size_t len)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);

	/* magic, version */
	qcf_read_span(&reader, AT_BACKING_OFFSET);
	return reader;
}

int qcf_header_v1_decode(struct qcf_header *h, const uint8_t *bytes, size_t len,
                         struct qcowfmt_error **errp)
{
	struct qcf_reader reader = reader_of(bytes, len);
	struct name_place name = decode_fields(h, &reader);
	int ret;

	if (reader.overrun)
		return qcf_header_truncated(errp, len, QCF_HEADER_LEN_V1);
	ret = check_fields(h, errp);
	if (ret == 0)
		ret = decode_places(h, name, &reader, errp);
	if (ret < 0 || !has_name(name))
		return ret;
	return qcf_header_decode_name(h, bytes, len, name.offset, name.len,
	                              errp);
}

int qcf_header_v1_peek(const uint8_t *bytes, size_t len, uint64_t *area,
                       struct qcowfmt_error **errp)
{
	struct qcf_reader reader = reader_of(bytes, len);
	uint32_t cluster_bits;
	int ret;

	qcf_read_span(&reader, AT_CLUSTER_BITS - AT_BACKING_OFFSET);
	cluster_bits = qcf_read_u8(&reader);
	if (reader.overrun)
		return qcf_header_truncated(errp, len, QCF_HEADER_LEN_V1);
	ret = check_cluster_bits(cluster_bits, errp);
	if (ret == 0)
		*area = QCF_HEADER_AREA_V1;
	return ret;
}

/* ------------------------------------------------------------------- encode */

int qcf_header_v1_encode(const struct qcf_header *h, uint8_t *bytes, size_t len,
                         struct qcowfmt_error **errp)
{
	size_t room = (size_t)QCF_MIN((uint64_t)len, h->l1_table_offset);
	struct qcf_writer writer = qcf_writer_init(bytes, room);
	size_t name_len = h->backing_name == NULL ? 0 : strlen(h->backing_name);
	uint64_t name_offset = QCF_HEADER_LEN_V1 + h->unknown_len;

	memset(bytes, 0, room);
	qcf_write_u32(&writer, QCF_MAGIC);
	qcf_write_u32(&writer, h->version);
	qcf_write_u64(&writer, name_len > 0 ? name_offset : 0);
	qcf_write_u32(&writer, (uint32_t)name_len);
	qcf_write_u32(&writer, h->mtime);
	qcf_write_u64(&writer, stored_size(h));
	qcf_write_u8(&writer, (uint8_t)h->cluster_bits);
	qcf_write_u8(&writer, (uint8_t)h->l2_bits);
	qcf_write_u16(&writer, h->reserved);
	qcf_write_u32(&writer, h->crypt_method);
	qcf_write_u64(&writer, h->l1_table_offset);
	qcf_write_bytes(&writer, h->unknown, h->unknown_len);
	qcf_write_bytes(&writer, h->backing_name, name_len);
	if (!writer.overrun)
		return 0;
	return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
	                "the header and the backing file name do not fit into "
	                "the %zu bytes in front of the L1 table",
	                room);
}

/* --------------------------------------------------------------------- dump */

void qcf_header_v1_dump(const struct qcf_header *h, FILE *out)
{
	fprintf(out, "version: %" PRIu32 "\n", h->version);
	fprintf(out, "cluster_bits: %" PRIu32 "\n", h->cluster_bits);
	fprintf(out, "l2_bits: %" PRIu32 "\n", h->l2_bits);
	fprintf(out, "virtual_size: %" PRIu64 "\n", h->virtual_size);
	fprintf(out, "crypt_method: %" PRIu32 "\n", h->crypt_method);
	fprintf(out, "l1_size: %" PRIu32 "\n", h->l1_size);
	fprintf(out, "l1_table_offset: 0x%" PRIx64 "\n", h->l1_table_offset);
	fprintf(out, "mtime: 0x%" PRIx32 "\n", h->mtime);
	fprintf(out, "reserved: 0x%x\n", h->reserved);
	fprintf(out, "header_length: %" PRIu32 "\n", h->header_length);
}
