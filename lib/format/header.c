/* SPDX-License-Identifier: MIT */
/*
 * header.c - the fixed header and the backing name: bytes to structure and back
 *
 * Version 1 shares nothing but magic and version: it goes to header_v1.c from
 * here.
 *
 * Decoding reads the fields in the order of the table in header.h, then checks
 * them in the order in which errors are documented to win: cluster_bits, header
 * length, backing offset, compression type, refcount order, refcount table,
 * snapshot table, L1 table, extensions, backing name.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "check_id.h"
#include "checked.h"
#include "feature.h"
#include "header.h"
#include "header_check.h"
#include "header_ext.h"
#include "header_v1.h"

/* Where fields are that errors point at. */
#define AT_BACKING_OFFSET 8u
#define AT_BACKING_SIZE   16u
#define AT_CLUSTER_BITS   20u
#define AT_HEADER_LENGTH  100u

/* Where the backing name is; offset 0 means that there is none. */
struct name_place {
	uint64_t offset;
	uint32_t len;
};

/* ------------------------------------------------------------ magic, version */

static int check_version(uint32_t version, struct qcowfmt_error **errp)
{
	if (version >= 1 && version <= 3)
		return 0;
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "qcow version %" PRIu32
	                " is not supported, want 1, 2 or 3",
	                version);
}

/* Reads magic and version; leaves the cursor behind them. */
static int decode_start(struct qcf_reader *reader, uint32_t *version,
                        struct qcowfmt_error **errp)
{
	uint32_t magic = qcf_read_u32(reader);

	if (reader->overrun || magic != QCF_MAGIC)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_NOT_QCOW,
		                "no qcow image: magic, have 0x%08" PRIx32
		                ", want 0x%08" PRIx32,
		                magic, QCF_MAGIC);
	*version = qcf_read_u32(reader);
	if (reader->overrun)
		return qcf_header_truncated(errp, reader->len,
		                            QCF_HEADER_LEN_V1);
	return check_version(*version, errp);
}

int qcf_header_peek_cluster_size(const uint8_t *bytes, size_t len,
                                 uint64_t *cluster_size,
                                 struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	uint32_t version = 0;
	int ret = decode_start(&reader, &version, errp);

	if (ret < 0)
		return ret;
	if (version == 1)
		return qcf_header_v1_peek(bytes, len, cluster_size, errp);
	qcf_read_span(&reader, AT_CLUSTER_BITS - reader.pos);

	uint32_t cluster_bits = qcf_read_u32(&reader);

	if (reader.overrun)
		return qcf_header_truncated(errp, len, QCF_HEADER_LEN_V2);
	ret = qcf_header_check_cluster_bits(cluster_bits, errp);
	if (ret < 0)
		return ret;
	*cluster_size = UINT64_C(1) << cluster_bits;
	return 0;
}

bool qcf_header_is_whole(const uint8_t *bytes, size_t len)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	uint32_t version = 0;
	uint64_t name_offset;
	uint64_t header_length = QCF_HEADER_LEN_V2;

	if (decode_start(&reader, &version, NULL) < 0)
		return false;
	name_offset = qcf_read_u64(&reader);
	if (!qcf_range_within(name_offset, qcf_read_u32(&reader), len) ||
	    reader.overrun)
		return false;
	if (version == 1)
		return len >= QCF_HEADER_LEN_V1;
	if (version == 3) {
		qcf_read_span(&reader, AT_HEADER_LENGTH - reader.pos);
		header_length = qcf_read_u32(&reader);
	}
	if (reader.overrun || header_length > len)
		return false;
	/* With a name they end there at the latest. */
	return name_offset != 0 ||
	       qcf_extensions_end_before(bytes, (size_t)header_length, len);
}

/* -------------------------------------------------------------------- fields */

static struct name_place decode_common(struct qcf_header *h,
                                       struct qcf_reader *reader)
{
	struct name_place name;

	name.offset = qcf_read_u64(reader);
	name.len = qcf_read_u32(reader);
	h->cluster_bits = qcf_read_u32(reader);
	h->virtual_size = qcf_align_down(qcf_read_u64(reader), QCF_SECTOR_SIZE);
	h->crypt_method = qcf_read_u32(reader);
	h->l1_size = qcf_read_u32(reader);
	h->l1_table_offset = qcf_read_u64(reader);
	h->refcount_table_offset = qcf_read_u64(reader);
	h->refcount_table_clusters = qcf_read_u32(reader);
	h->snapshot_count = qcf_read_u32(reader);
	h->snapshots_offset = qcf_read_u64(reader);
	return name;
}

/* A version 2 header stops here; what version 3 adds has fixed values. */
static void decode_version_dependent(struct qcf_header *h,
                                     struct qcf_reader *reader)
{
	if (h->version == 2) {
		h->refcount_order = 4;
		h->header_length = QCF_HEADER_LEN_V2;
		return;
	}
	h->incompatible_features = qcf_read_u64(reader);
	h->compatible_features = qcf_read_u64(reader);
	h->autoclear_features = qcf_read_u64(reader);
	h->refcount_order = qcf_read_u32(reader);
	h->header_length = qcf_read_u32(reader);
}

/* What a longer header_length than the first version 3 had brings. */
static int decode_tail(struct qcf_header *h, struct qcf_reader *reader,
                       struct qcowfmt_error **errp)
{
	if (h->header_length > reader->len)
		return qcf_header_truncated(errp, reader->len,
		                            h->header_length);
	if (h->header_length > QCF_HEADER_LEN_V3_MIN)
		h->compression_type = qcf_read_u8(reader);
	if (h->header_length <= QCF_HEADER_LEN_V3)
		return 0;
	qcf_read_span(reader, QCF_HEADER_LEN_V3 - reader->pos);
	h->unknown_len = h->header_length - QCF_HEADER_LEN_V3;
	h->unknown = malloc(h->unknown_len);
	if (h->unknown == NULL)
		return qcf_fail_oom(errp);
	qcf_read_bytes(reader, h->unknown, h->unknown_len);
	return 0;
}

/* -------------------------------------------------------------- backing name */

static uint64_t cluster_size_of(const struct qcf_header *h)
{
	return UINT64_C(1) << h->cluster_bits;
}

/* The name may not lie over the fixed header either. */
static int check_backing_offset(const struct qcf_header *h,
                                struct name_place name,
                                struct qcowfmt_error **errp)
{
	uint64_t min = name.len > 0 ? h->header_length : 0;

	if (name.offset == 0 ||
	    (name.offset >= min && name.offset <= cluster_size_of(h)))
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_BACKING_OFFSET, AT_BACKING_OFFSET,
	                    "backing_file_offset, have %" PRIu64
	                    ", want %" PRIu64 " to %" PRIu64,
	                    name.offset, min, cluster_size_of(h));
}

static int check_backing_name(const struct qcf_header *h,
                              struct name_place name,
                              struct qcowfmt_error **errp)
{
	uint64_t max = QCF_MIN((uint64_t)QCF_MAX_BACKING_NAME,
	                       cluster_size_of(h) - name.offset);

	if (name.len <= max)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_BACKING_NAME, AT_BACKING_SIZE,
	                    "backing_file_size, have %" PRIu32
	                    ", want at most %" PRIu64,
	                    name.len, max);
}

static int decode_backing_name(struct qcf_header *h, const uint8_t *bytes,
                               size_t len, struct name_place name,
                               struct qcowfmt_error **errp)
{
	if (name.offset == 0 || name.len == 0)
		return 0;

	int ret = check_backing_name(h, name, errp);

	if (ret < 0)
		return ret;
	return qcf_header_decode_name(h, bytes, len, name.offset, name.len,
	                              errp);
}

/* -------------------------------------------------------------------- decode */

/* Everything behind the version and up to the extensions. */
static int decode_fixed(struct qcf_header *h, struct qcf_reader *reader,
                        struct name_place *name, struct qcowfmt_error **errp)
{
	int ret;

	*name = decode_common(h, reader);
	decode_version_dependent(h, reader);
	if (reader->overrun)
		return qcf_header_truncated(errp, reader->len,
		                            h->version == 2
		                                    ? QCF_HEADER_LEN_V2
		                                    : QCF_HEADER_LEN_V3_MIN);
	ret = qcf_header_check_cluster_bits(h->cluster_bits, errp);
	if (ret == 0)
		ret = qcf_header_check_length(h, errp);
	if (ret == 0)
		ret = check_backing_offset(h, *name, errp);
	if (ret == 0)
		ret = decode_tail(h, reader, errp);
	if (ret == 0)
		ret = qcf_header_check_fields(h, errp);
	return ret;
}

static int decode_all(struct qcf_header *h, const uint8_t *bytes, size_t len,
                      struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct name_place name = { 0 };
	int ret = decode_start(&reader, &h->version, errp);

	if (ret == 0 && h->version == 1)
		return qcf_header_v1_decode(h, bytes, len, errp);
	if (ret == 0)
		ret = decode_fixed(h, &reader, &name, errp);
	if (ret < 0)
		return ret;

	uint64_t limit = name.offset != 0 ? name.offset : cluster_size_of(h);
	size_t end = (size_t)QCF_MIN(limit, (uint64_t)len);

	ret = qcf_extensions_decode(h, bytes, h->header_length, end, errp);
	if (ret < 0)
		return ret;
	return decode_backing_name(h, bytes, len, name, errp);
}

int qcf_header_decode(struct qcf_header *h, const uint8_t *bytes, size_t len,
                      struct qcowfmt_error **errp)
{
	*h = (struct qcf_header){ 0 };

	int ret = decode_all(h, bytes, len, errp);

	if (ret < 0)
		qcf_header_fini(h);
	return ret;
}

static int copy_parts(const struct qcf_header *h, struct qcf_header *copy,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	if (h->backing_name != NULL)
		copy->backing_name = strdup(h->backing_name);
	if (h->backing_format != NULL)
		copy->backing_format = strdup(h->backing_format);
	if (h->unknown != NULL)
		copy->unknown = malloc(h->unknown_len);
	if ((h->backing_name != NULL && copy->backing_name == NULL) ||
	    (h->backing_format != NULL && copy->backing_format == NULL) ||
	    (h->unknown != NULL && copy->unknown == NULL))
		return qcf_fail_oom(errp);
	if (h->unknown != NULL)
		memcpy(copy->unknown, h->unknown, h->unknown_len);
	for (size_t i = 0; i < h->extension_count && ret == 0; i++)
		ret = qcf_header_add_extension(copy, h->extensions[i].type,
		                               h->extensions[i].data,
		                               h->extensions[i].len, errp);
	return ret;
}

int qcf_header_copy(const struct qcf_header *h, struct qcf_header *copy,
                    struct qcowfmt_error **errp)
{
	int ret;

	*copy = *h;
	copy->backing_name = NULL;
	copy->backing_format = NULL;
	copy->data_file_name = NULL;
	copy->unknown = NULL;
	copy->extensions = NULL;
	copy->extension_count = 0;
	ret = copy_parts(h, copy, errp);
	if (ret < 0)
		qcf_header_fini(copy);
	return ret;
}

void qcf_header_fini(struct qcf_header *h)
{
	qcf_extensions_fini(h);
	free(h->backing_name);
	free(h->backing_format);
	free(h->unknown);
	*h = (struct qcf_header){ 0 };
}

int qcf_header_geometry(const struct qcf_header *h, struct qcf_geometry *g,
                        struct qcowfmt_error **errp)
{
	bool extended_l2 =
		(h->incompatible_features & QCF_INCOMPAT_EXTENDED_L2) != 0;
	int ret;

	if (h->version == 1)
		return qcf_geometry_init_v1(g, h->cluster_bits, h->l2_bits,
		                            errp);
	ret = qcf_geometry_init(g, h->version, h->cluster_bits,
	                        h->refcount_order, extended_l2, errp);
	if (ret == 0)
		g->data_file = (h->incompatible_features &
		                QCF_INCOMPAT_DATA_FILE) != 0;
	return ret;
}

/* -------------------------------------------------------------------- encode */

static void encode_fixed(const struct qcf_header *h, struct name_place name,
                         struct qcf_writer *writer)
{
	qcf_write_u32(writer, QCF_MAGIC);
	qcf_write_u32(writer, h->version);
	qcf_write_u64(writer, name.offset);
	qcf_write_u32(writer, name.len);
	qcf_write_u32(writer, h->cluster_bits);
	qcf_write_u64(writer, h->virtual_size);
	qcf_write_u32(writer, h->crypt_method);
	qcf_write_u32(writer, h->l1_size);
	qcf_write_u64(writer, h->l1_table_offset);
	qcf_write_u64(writer, h->refcount_table_offset);
	qcf_write_u32(writer, h->refcount_table_clusters);
	qcf_write_u32(writer, h->snapshot_count);
	qcf_write_u64(writer, h->snapshots_offset);
	if (h->version == 2)
		return;
	qcf_write_u64(writer, h->incompatible_features);
	qcf_write_u64(writer, h->compatible_features);
	qcf_write_u64(writer, h->autoclear_features);
	qcf_write_u32(writer, h->refcount_order);
	qcf_write_u32(writer, QCF_HEADER_LEN_V3 + (uint32_t)h->unknown_len);
	qcf_write_u8(writer, h->compression_type);
	qcf_write_pad(writer, 8);
	qcf_write_bytes(writer, h->unknown, h->unknown_len);
}

/* The backing name, behind everything else. */
static struct name_place encode_name(const struct qcf_header *h,
                                     struct qcf_writer *writer)
{
	struct name_place name = { 0 };

	if (h->backing_name == NULL)
		return name;
	name.offset = writer->pos;
	name.len = (uint32_t)strlen(h->backing_name);
	qcf_write_bytes(writer, h->backing_name, name.len);
	return name;
}

static int does_not_fit(size_t cluster_size, struct qcowfmt_error **errp)
{
	return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
	                "the header, its extensions and the backing file name "
	                "do not fit into one cluster of %zu bytes",
	                cluster_size);
}

/* tail 0: the extensions follow the fixed header. */
static int encode_all(const struct qcf_header *h, uint8_t *cluster,
                      size_t cluster_size, size_t tail, size_t *end,
                      struct qcowfmt_error **errp)
{
	struct qcf_writer writer = qcf_writer_init(cluster, cluster_size);
	struct name_place name = { 0 };

	memset(cluster, 0, cluster_size);
	encode_fixed(h, name, &writer);
	if (tail == 0)
		qcf_extensions_encode(h, &writer);
	else if (!qcf_extensions_encode_at(h, &writer, tail))
		return does_not_fit(cluster_size, errp);
	name = encode_name(h, &writer);
	if (writer.overrun)
		return does_not_fit(cluster_size, errp);
	*end = writer.pos;

	/* Where the name is, is known only now. */
	struct qcf_writer again = qcf_writer_init(cluster, cluster_size);

	encode_fixed(h, name, &again);
	return 0;
}

int qcf_header_encode(const struct qcf_header *h, uint8_t *cluster,
                      size_t cluster_size, struct qcowfmt_error **errp)
{
	size_t end = 0;

	if (h->version == 1)
		return qcf_header_v1_encode(h, cluster, cluster_size, errp);
	return encode_all(h, cluster, cluster_size, 0, &end, errp);
}

int qcf_header_encode_at(const struct qcf_header *h, uint8_t *cluster,
                         size_t cluster_size, size_t tail,
                         struct qcf_span *span, struct qcowfmt_error **errp)
{
	size_t end = 0;
	int ret = encode_all(h, cluster, cluster_size, tail, &end, errp);

	*span = (struct qcf_span){ tail, end };
	return ret;
}

struct qcf_span qcf_header_find_tail(const struct qcf_header *h,
                                     const uint8_t *cluster,
                                     size_t cluster_size)
{
	struct qcf_span span = { 0, 0 };
	struct qcf_reader reader = qcf_reader_init(cluster, cluster_size);
	size_t limit = cluster_size;

	qcf_read_span(&reader, AT_BACKING_OFFSET);

	uint64_t name_offset = qcf_read_u64(&reader);
	uint32_t name_len = qcf_read_u32(&reader);

	if (name_offset != 0 && name_offset < limit) {
		limit = (size_t)name_offset;
		qcf_span_cover(&span, limit, limit + name_len);
	}
	if (h->version > 1)
		qcf_extensions_find(cluster, h->header_length, limit, &span);
	if (span.first < QCF_SECTOR_SIZE)
		span.first = QCF_SECTOR_SIZE;
	if (span.end < span.first)
		span.end = span.first;
	return span;
}

/* ------------------------------------------------------------------- changes */

static int copy_text(const char *what, const char *text, size_t max,
                     char **copy, struct qcowfmt_error **errp)
{
	if (text == NULL)
		return 0;

	size_t len = strlen(text);

	if (len == 0 || len > max)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s: have %zu bytes, want 1 to %zu", what, len,
		                max);
	*copy = strdup(text);
	return *copy == NULL ? qcf_fail_oom(errp) : 0;
}

int qcf_header_set_backing(struct qcf_header *h, const char *name,
                           const char *format, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE char *new_name = NULL;
	QCF_AUTO_FREE char *new_format = NULL;
	int ret = copy_text("backing file name", name, QCF_MAX_BACKING_NAME,
	                    &new_name, errp);

	if (ret == 0)
		ret = copy_text("backing format", format, QCF_MAX_FORMAT_NAME,
		                &new_format, errp);
	if (ret < 0)
		return ret;
	free(h->backing_name);
	free(h->backing_format);
	h->backing_name = qcf_take(&new_name);
	h->backing_format = qcf_take(&new_format);
	return 0;
}

/* ---------------------------------------------------------------------- dump */

static void dump_text(FILE *out, const char *field, const char *text)
{
	/* Each byte may take four characters. */
	char escaped[QCF_MAX_BACKING_NAME * 4 + 1];

	if (text == NULL)
		return;
	qcf_escape(escaped, sizeof(escaped), text, strlen(text));
	fprintf(out, "%s: %s\n", field, escaped);
}

static void dump_fields(const struct qcf_header *h, FILE *out)
{
	const struct {
		const char *name;
		uint64_t value;
		bool hex;
	} fields[] = {
		{ "version", h->version, false },
		{ "cluster_bits", h->cluster_bits, false },
		{ "virtual_size", h->virtual_size, false },
		{ "crypt_method", h->crypt_method, false },
		{ "l1_size", h->l1_size, false },
		{ "l1_table_offset", h->l1_table_offset, true },
		{ "refcount_table_offset", h->refcount_table_offset, true },
		{ "refcount_table_clusters", h->refcount_table_clusters,
		  false },
		{ "snapshot_count", h->snapshot_count, false },
		{ "snapshots_offset", h->snapshots_offset, true },
		{ "incompatible_features", h->incompatible_features, true },
		{ "compatible_features", h->compatible_features, true },
		{ "autoclear_features", h->autoclear_features, true },
		{ "refcount_order", h->refcount_order, false },
		{ "header_length", h->header_length, false },
		{ "compression_type", h->compression_type, false },
		{ "unknown_len", h->unknown_len, false },
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(fields); i++) {
		if (fields[i].hex)
			fprintf(out, "%s: 0x%" PRIx64 "\n", fields[i].name,
			        fields[i].value);
		else
			fprintf(out, "%s: %" PRIu64 "\n", fields[i].name,
			        fields[i].value);
	}
}

static void dump_extensions(const struct qcf_header *h, FILE *out)
{
	for (size_t i = 0; i < h->extension_count; i++) {
		const struct qcf_extension *ext = &h->extensions[i];
		const char *name = qcf_extension_name(ext->type);

		fprintf(out,
		        "extension: type 0x%08" PRIx32 " (%s), %" PRIu32
		        " bytes\n",
		        ext->type, name == NULL ? "unknown" : name, ext->len);
	}
}

/* Whether a stream that grew in memory got everything. */
static bool close_stream(FILE *out)
{
	bool failed = ferror(out) != 0;

	return fclose(out) == 0 && !failed;
}

char *qcf_header_dump(const struct qcf_header *h)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	if (h->version == 1)
		qcf_header_v1_dump(h, out);
	else
		dump_fields(h, out);
	dump_text(out, "backing_name", h->backing_name);
	dump_text(out, "backing_format", h->backing_format);
	dump_extensions(h, out);
	if (close_stream(out))
		return text;
	free(text);
	return NULL;
}
