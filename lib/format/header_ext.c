/* SPDX-License-Identifier: MIT */
/*
 * header_ext.c - the extensions behind the fixed header
 *
 * All extensions are kept as bytes, in file order, so that what this library
 * does not understand survives a rewrite.  Two are derived anew on encoding:
 * the backing format, from h->backing_format, and the feature name table.  Where
 * a type that is known occurs more than once, the last one counts.
 *
 * Each record takes at least 8 bytes of the area, so that the walk ends and the
 * number of records is bounded by the cluster size.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "check_id.h"
#include "checked.h"
#include "feature.h"
#include "header_ext.h"

#define RECORD_HEAD_LEN  8u
#define RECORD_ALIGNMENT 8u
/* QEMU leaves the feature name table out where it would fill the cluster. */
#define FEATURE_NAMES_ABOVE 4096u
/* An entry of it: set, bit, name. */
#define FEATURE_ENTRY_LEN 48u
#define FEATURE_NAME_AT   2u

static int too_long(struct qcowfmt_error **errp, size_t at, uint32_t type,
                    uint64_t have, uint64_t want)
{
	return qcf_corruptf(errp, QCF_CHECK_EXTENSION, at,
	                    "extension type 0x%08" PRIx32 ", have %" PRIu64
	                    " bytes, want at most %" PRIu64,
	                    type, have, want);
}

/* Room for one more; the array doubles when its length is a power of two. */
static struct qcf_extension *append(struct qcf_header *h)
{
	size_t count = h->extension_count;
	struct qcf_extension *grown = h->extensions;

	if (count == 0 || qcf_is_power_of_two(count)) {
		size_t room = count == 0 ? 1 : count * 2;

		grown = realloc(grown, room * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		h->extensions = grown;
	}
	h->extension_count++;
	grown[count] = (struct qcf_extension){ 0 };
	return &grown[count];
}

static int keep(struct qcf_header *h, uint32_t type, const uint8_t *data,
                uint32_t len, struct qcowfmt_error **errp)
{
	struct qcf_extension *ext = append(h);

	if (ext == NULL)
		return qcf_fail_oom(errp);
	ext->type = type;
	if (len == 0)
		return 0;
	ext->data = malloc(len);
	if (ext->data == NULL)
		return qcf_fail_oom(errp);
	memcpy(ext->data, data, len);
	ext->len = len;
	return 0;
}

/* Like a C string: some writers count the NUL.  Empty means none. */
static int keep_backing_format(struct qcf_header *h, const uint8_t *data,
                               uint32_t len, struct qcowfmt_error **errp)
{
	free(qcf_take(&h->backing_format));
	if (len == 0 || data[0] == '\0')
		return 0;
	h->backing_format = strndup((const char *)data, len);
	return h->backing_format == NULL ? qcf_fail_oom(errp) : 0;
}

static int keep_data_file_name(struct qcf_header *h, const uint8_t *data,
                               uint32_t len, struct qcowfmt_error **errp)
{
	free(qcf_take(&h->data_file_name));
	if (len == 0 || data[0] == '\0')
		return 0;
	h->data_file_name = strndup((const char *)data, len);
	return h->data_file_name == NULL ? qcf_fail_oom(errp) : 0;
}

static int decode_record(struct qcf_header *h, struct qcf_reader *reader,
                         uint32_t type, struct qcowfmt_error **errp)
{
	size_t at = reader->pos - sizeof(type);
	uint32_t len = qcf_read_u32(reader);
	size_t left = qcf_reader_left(reader);

	if (reader->overrun || len > left)
		return too_long(errp, at, type, len, left);

	const uint8_t *data = qcf_read_span(reader, len);
	size_t padding = qcf_align_up(len, RECORD_ALIGNMENT) - len;

	qcf_read_span(reader, QCF_MIN(padding, qcf_reader_left(reader)));
	int ret = 0;

	if (type == QCF_EXT_BACKING_FORMAT) {
		if (len > QCF_MAX_FORMAT_NAME)
			return too_long(errp, at, type, len,
			                QCF_MAX_FORMAT_NAME);
		ret = keep_backing_format(h, data, len, errp);
	} else if (type == QCF_EXT_DATA_FILE) {
		ret = keep_data_file_name(h, data, len, errp);
	}
	return ret < 0 ? ret : keep(h, type, data, len, errp);
}

int qcf_extensions_decode(struct qcf_header *h, const uint8_t *bytes,
                          size_t start, size_t end, struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, end);

	qcf_read_span(&reader, start);
	while (!reader.overrun && qcf_reader_left(&reader) > 0) {
		size_t at = reader.pos;
		size_t left = qcf_reader_left(&reader);
		uint32_t type = qcf_read_u32(&reader);

		if (reader.overrun)
			return too_long(errp, at, type, RECORD_HEAD_LEN, left);
		if (type == QCF_EXT_END)
			return 0;

		int ret = decode_record(h, &reader, type, errp);

		if (ret < 0)
			return ret;
	}
	return 0;
}

static void encode_record(struct qcf_writer *writer, uint32_t type,
                          const void *data, size_t len)
{
	size_t padding = qcf_align_up(len, RECORD_ALIGNMENT) - len;
	const uint8_t zeros[RECORD_ALIGNMENT] = { 0 };

	qcf_write_u32(writer, type);
	qcf_write_u32(writer, (uint32_t)len);
	qcf_write_bytes(writer, data, len);
	qcf_write_bytes(writer, zeros, padding);
}

/* Where several have this type, the last one counts. */
static void encode_last(const struct qcf_header *h, uint32_t type,
                        struct qcf_writer *writer)
{
	const struct qcf_extension *ext = qcf_header_extension(h, type);

	if (ext != NULL)
		encode_record(writer, ext->type, ext->data, ext->len);
}

static bool has_own_place(uint32_t type)
{
	return type == QCF_EXT_BACKING_FORMAT || type == QCF_EXT_DATA_FILE ||
	       type == QCF_EXT_ENCRYPTION || type == QCF_EXT_FEATURE_NAMES;
}

/* What comes in front of the feature names in the usual order. */
static void encode_first(const struct qcf_header *h, struct qcf_writer *writer)
{
	if (h->backing_format != NULL)
		encode_record(writer, QCF_EXT_BACKING_FORMAT, h->backing_format,
		              strlen(h->backing_format));
	if ((h->incompatible_features & QCF_INCOMPAT_DATA_FILE) != 0)
		encode_last(h, QCF_EXT_DATA_FILE, writer);
	encode_last(h, QCF_EXT_ENCRYPTION, writer);
}

/* What comes behind them. */
static void encode_others(const struct qcf_header *h, struct qcf_writer *writer)
{
	for (size_t i = 0; i < h->extension_count; i++) {
		const struct qcf_extension *ext = &h->extensions[i];

		if (!has_own_place(ext->type))
			encode_record(writer, ext->type, ext->data, ext->len);
	}
	encode_record(writer, QCF_EXT_END, NULL, 0);
}

static bool has_feature_names(const struct qcf_header *h,
                              const struct qcf_writer *writer)
{
	return h->version >= 3 && writer->len > FEATURE_NAMES_ABOVE;
}

void qcf_extensions_encode(const struct qcf_header *h,
                           struct qcf_writer *writer)
{
	encode_first(h, writer);
	if (has_feature_names(h, writer)) {
		size_t len = 0;
		const uint8_t *names = qcf_feature_name_table(&len);

		encode_record(writer, QCF_EXT_FEATURE_NAMES, names, len);
	}
	encode_others(h, writer);
}

/*
 * A feature name table ends with an entry that has no name, whatever its record
 * holds behind that.  So the record can be as long as it takes to get to tail,
 * over bytes that nobody looks at and that are not written here.
 */
static void encode_skip(const struct qcf_header *h, struct qcf_writer *writer,
                        size_t tail)
{
	size_t start = writer->pos + RECORD_HEAD_LEN;
	size_t len = 0;
	const uint8_t *names = qcf_feature_name_table(&len);

	if (!has_feature_names(h, writer))
		len = 0;
	while (start + len + FEATURE_NAME_AT >= QCF_SECTOR_SIZE)
		len -= FEATURE_ENTRY_LEN;
	qcf_write_u32(writer, QCF_EXT_FEATURE_NAMES);
	qcf_write_u32(writer, (uint32_t)(tail - start));
	qcf_write_bytes(writer, names, len);
	qcf_write_span(writer, tail - start - len);
}

bool qcf_extensions_encode_at(const struct qcf_header *h,
                              struct qcf_writer *writer, size_t tail)
{
	if (tail < QCF_SECTOR_SIZE ||
	    writer->pos + RECORD_HEAD_LEN + FEATURE_NAME_AT >= QCF_SECTOR_SIZE)
		return false;
	encode_skip(h, writer, tail);
	encode_first(h, writer);
	encode_others(h, writer);
	return true;
}

bool qcf_extensions_end_before(const uint8_t *bytes, size_t start, size_t end)
{
	struct qcf_reader reader = qcf_reader_init(bytes, end);

	qcf_read_span(&reader, start);
	for (;;) {
		uint32_t type = qcf_read_u32(&reader);
		uint64_t len;

		if (type == QCF_EXT_END)
			return !reader.overrun;
		len = qcf_align_up((uint64_t)qcf_read_u32(&reader),
		                   RECORD_ALIGNMENT);
		if (reader.overrun || len > qcf_reader_left(&reader))
			return false;
		qcf_read_span(&reader, (size_t)len);
	}
}

void qcf_extensions_find(const uint8_t *bytes, size_t start, size_t end,
                         struct qcf_span *span)
{
	struct qcf_reader reader = qcf_reader_init(bytes, end);

	qcf_read_span(&reader, start);
	while (!reader.overrun && qcf_reader_left(&reader) > 0) {
		size_t at = reader.pos;
		uint32_t type = qcf_read_u32(&reader);
		uint32_t len = qcf_read_u32(&reader);

		qcf_read_span(&reader,
		              QCF_MIN(qcf_align_up(len, RECORD_ALIGNMENT),
		                      qcf_reader_left(&reader)));
		if (type != QCF_EXT_FEATURE_NAMES)
			qcf_span_cover(span, at, reader.pos);
		if (type == QCF_EXT_END)
			return;
	}
}

const struct qcf_extension *qcf_header_extension(const struct qcf_header *h,
                                                 uint32_t type)
{
	for (size_t i = h->extension_count; i > 0; i--) {
		if (h->extensions[i - 1].type == type)
			return &h->extensions[i - 1];
	}
	return NULL;
}

int qcf_header_add_extension(struct qcf_header *h, uint32_t type,
                             const void *data, uint32_t len,
                             struct qcowfmt_error **errp)
{
	int ret = 0;

	if (type == QCF_EXT_DATA_FILE)
		ret = keep_data_file_name(h, data, len, errp);
	return ret < 0 ? ret : keep(h, type, data, len, errp);
}

void qcf_header_remove_extension(struct qcf_header *h, uint32_t type)
{
	size_t kept = 0;

	if (type == QCF_EXT_DATA_FILE)
		free(qcf_take(&h->data_file_name));
	for (size_t i = 0; i < h->extension_count; i++) {
		if (h->extensions[i].type == type)
			free(h->extensions[i].data);
		else
			h->extensions[kept++] = h->extensions[i];
	}
	h->extension_count = kept;
}

void qcf_extensions_fini(struct qcf_header *h)
{
	free(qcf_take(&h->data_file_name));
	for (size_t i = 0; i < h->extension_count; i++)
		free(h->extensions[i].data);
	free(qcf_take(&h->extensions));
	h->extension_count = 0;
}

const char *qcf_extension_name(uint32_t type)
{
	switch (type) {
	case QCF_EXT_BACKING_FORMAT:
		return "backing format";
	case QCF_EXT_FEATURE_NAMES:
		return "feature names";
	case QCF_EXT_BITMAPS:
		return "bitmaps";
	case QCF_EXT_ENCRYPTION:
		return "encryption header";
	case QCF_EXT_DATA_FILE:
		return "external data file";
	default:
		return NULL;
	}
}

void qcf_escape(char *text, size_t size, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		bool plain = from[i] >= 0x20 && from[i] < 0x7f;
		size_t need = plain ? 1 : sizeof("\\x00") - 1;

		if (need >= size - used)
			break;
		snprintf(text + used, size - used, plain ? "%c" : "\\x%02x",
		         from[i]);
		used += need;
	}
	text[used] = '\0';
}
