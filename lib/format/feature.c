/* SPDX-License-Identifier: MIT */
/*
 * feature.c - the refusal table
 *
 * Each row tests one thing that an image may have and says what this library
 * does about it.  Rows are tried in order and the first that refuses wins.
 * Unknown incompatible bits come first: they may change what everything else
 * means.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "feature.h"
#include "header_ext.h"
#include "header_v1.h"

/* What a row looks at. */
enum subject {
	VERSION,      /* value: a number */
	L1_ORDER,     /* of version 1: not big-endian */
	INCOMPATIBLE, /* value: a bit */
	COMPATIBLE,   /* value: a bit */
	AUTOCLEAR,    /* value: a bit */
	CRYPT_METHOD, /* value: a number */
	EXTENSION,    /* value: a type */
	SNAPSHOTS,    /* any */
};

/* As a value: whatever no other row of the subject names. */
#define OTHERS UINT64_C(0)

enum verdict {
	READ_WRITE,     /* understood, or harmless and kept as it is */
	CLEAR_ON_WRITE, /* read-write; a writer clears the bit first */
	READ_ONLY,      /* refused for writing */
	UNLESS_REPAIR,  /* refused for writing, except to repair */
	REFUSE,         /* refused */
};

struct row {
	enum subject subject;
	uint64_t value;
	enum verdict verdict;
	const char *words;
	/* The row applies only where this holds; NULL = always. */
	bool (*only_if)(const struct qcf_header *h);
};

static bool has_data_file(const struct qcf_header *h)
{
	return (h->incompatible_features & QCF_INCOMPAT_DATA_FILE) != 0;
}

static bool lacks_data_file(const struct qcf_header *h)
{
	return !has_data_file(h);
}

static bool has_bitmaps(const struct qcf_header *h)
{
	return qcf_header_extension(h, QCF_EXT_BITMAPS) != NULL;
}

static bool lacks_encryption_header(const struct qcf_header *h)
{
	return qcf_header_extension(h, QCF_EXT_ENCRYPTION) == NULL;
}

static bool is_not_luks(const struct qcf_header *h)
{
	return h->crypt_method != QCOWFMT_ENCRYPTION_LUKS;
}

static const struct row rows[] = {
	{ L1_ORDER, 0, REFUSE,
	  "Xen image with an L1 table in the byte order of its machine" },
	{ VERSION, 1, READ_WRITE, "qcow version 1" },
	{ INCOMPATIBLE, OTHERS, REFUSE, "unknown incompatible feature" },
	{ INCOMPATIBLE, QCF_INCOMPAT_DIRTY, READ_WRITE, "dirty bit" },
	{ INCOMPATIBLE, QCF_INCOMPAT_CORRUPT, UNLESS_REPAIR, "corrupt bit" },
	{ INCOMPATIBLE, QCF_INCOMPAT_DATA_FILE, READ_WRITE,
	  "external data file" },
	{ INCOMPATIBLE, QCF_INCOMPAT_COMPRESSION, READ_WRITE,
	  "compression type other than zlib" },
	{ INCOMPATIBLE, QCF_INCOMPAT_EXTENDED_L2, READ_WRITE,
	  "extended L2 entries" },
	{ COMPATIBLE, QCF_COMPAT_LAZY_REFCOUNTS, READ_WRITE, "lazy refcounts" },
	{ COMPATIBLE, OTHERS, READ_WRITE, "unknown compatible feature" },
	{ AUTOCLEAR, QCF_AUTOCLEAR_BITMAPS, READ_WRITE, "dirty bitmaps",
	  .only_if = has_bitmaps },
	{ AUTOCLEAR, QCF_AUTOCLEAR_BITMAPS, CLEAR_ON_WRITE,
	  "dirty bitmaps without their extension" },
	{ AUTOCLEAR, QCF_AUTOCLEAR_RAW_DATA_FILE, REFUSE,
	  "raw external data file without an external data file",
	  .only_if = lacks_data_file },
	{ AUTOCLEAR, QCF_AUTOCLEAR_RAW_DATA_FILE, READ_WRITE,
	  "raw external data file" },
	{ AUTOCLEAR, OTHERS, CLEAR_ON_WRITE, "unknown autoclear feature" },
	{ CRYPT_METHOD, QCOWFMT_ENCRYPTION_AES, READ_WRITE, "AES encryption" },
	{ CRYPT_METHOD, QCOWFMT_ENCRYPTION_LUKS, REFUSE,
	  "LUKS encryption without an encryption header",
	  .only_if = lacks_encryption_header },
	{ CRYPT_METHOD, QCOWFMT_ENCRYPTION_LUKS, READ_WRITE,
	  "LUKS encryption" },
	{ CRYPT_METHOD, OTHERS, REFUSE, "unknown encryption method" },
	{ EXTENSION, QCF_EXT_BACKING_FORMAT, READ_WRITE, "backing format" },
	{ EXTENSION, QCF_EXT_FEATURE_NAMES, READ_WRITE, "feature names" },
	/* Valid only while the autoclear bit is set, which has its own row; a
	 * writer drops it otherwise. */
	{ EXTENSION, QCF_EXT_BITMAPS, READ_WRITE, "stale dirty bitmaps" },
	{ EXTENSION, QCF_EXT_ENCRYPTION, REFUSE,
	  "encryption header without LUKS encryption", .only_if = is_not_luks },
	{ EXTENSION, QCF_EXT_ENCRYPTION, READ_WRITE, "encryption header" },
	/* Means nothing without the incompatible bit, which has its own row. */
	{ EXTENSION, QCF_EXT_DATA_FILE, READ_WRITE, "data file name" },
	{ EXTENSION, OTHERS, READ_WRITE, "unknown header extension" },
	{ SNAPSHOTS, 0, READ_ONLY, "snapshots and an external data file",
	  .only_if = has_data_file },
	{ SNAPSHOTS, 0, READ_WRITE, "snapshots" },
};

/* Whether a row of this subject names the value. */
static bool is_named(enum subject subject, uint64_t value)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		if (rows[i].subject == subject && rows[i].value == value)
			return true;
	}
	return false;
}

static uint64_t unnamed_bits(enum subject subject, uint64_t bits)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		if (rows[i].subject == subject)
			bits &= ~rows[i].value;
	}
	return bits;
}

static uint64_t feature_set(const struct qcf_header *h, enum subject subject)
{
	switch (subject) {
	case INCOMPATIBLE:
		return h->incompatible_features;
	case COMPATIBLE:
		return h->compatible_features;
	case AUTOCLEAR:
		return h->autoclear_features;
	default:
		return 0;
	}
}

/* The bits of the image that a row about a feature set is about. */
static uint64_t row_bits(const struct row *row, const struct qcf_header *h)
{
	uint64_t bits = feature_set(h, row->subject);

	return row->value == OTHERS ? unnamed_bits(row->subject, bits)
	                            : bits & row->value;
}

static bool has_extension(const struct qcf_header *h, uint64_t type)
{
	if (type != OTHERS)
		return qcf_header_extension(h, (uint32_t)type) != NULL;
	for (size_t i = 0; i < h->extension_count; i++) {
		if (!is_named(EXTENSION, h->extensions[i].type))
			return true;
	}
	return false;
}

static bool row_applies(const struct row *row, const struct qcf_header *h)
{
	if (row->only_if != NULL && !row->only_if(h))
		return false;
	switch (row->subject) {
	case VERSION:
		return h->version == row->value;
	case L1_ORDER:
		return qcf_header_v1_l1_is_native(h);
	case INCOMPATIBLE:
	case COMPATIBLE:
	case AUTOCLEAR:
		return row_bits(row, h) != 0;
	case CRYPT_METHOD:
		if (row->value == OTHERS)
			return h->crypt_method != 0 &&
			       !is_named(CRYPT_METHOD, h->crypt_method);
		return h->crypt_method == row->value;
	case EXTENSION:
		return has_extension(h, row->value);
	case SNAPSHOTS:
		return h->snapshot_count > 0;
	}
	return true;
}

static bool row_refuses(const struct row *row, bool writable, bool repair)
{
	switch (row->verdict) {
	case READ_WRITE:
	case CLEAR_ON_WRITE:
		return false;
	case READ_ONLY:
		return writable;
	case UNLESS_REPAIR:
		return writable && !repair;
	case REFUSE:
		return true;
	}
	return true;
}

/* ------------------------------------------------------------ feature names */

/* Entries of the feature name table: set, bit, name padded with zeros. */
#define NAME_ENTRY_LEN   48u
#define NAME_LEN         46u
#define SET_INCOMPATIBLE 0

static const char name_table[][NAME_ENTRY_LEN] = {
	"\0\0dirty bit",
	"\0\1corrupt bit",
	"\0\2external data file",
	"\0\3compression type",
	"\0\4extended L2 entries",
	"\1\0lazy refcounts",
	"\2\0bitmaps",
	"\2\1raw external data",
};

const uint8_t *qcf_feature_name_table(size_t *len)
{
	*len = sizeof(name_table);
	return (const uint8_t *)name_table;
}

/* The image's own name of an incompatible bit, or NULL. */
static const char *own_name(const struct qcf_header *h, uint32_t bit)
{
	const struct qcf_extension *ext =
		qcf_header_extension(h, QCF_EXT_FEATURE_NAMES);
	struct qcf_reader reader = { 0 };

	if (ext == NULL)
		return NULL;
	reader = qcf_reader_init(ext->data, ext->len);
	while (qcf_reader_left(&reader) >= NAME_ENTRY_LEN) {
		uint8_t set = qcf_read_u8(&reader);
		uint8_t entry_bit = qcf_read_u8(&reader);
		const char *name =
			(const char *)qcf_read_span(&reader, NAME_LEN);

		if (name[0] == '\0')
			return NULL;
		if (set == SET_INCOMPATIBLE && entry_bit == bit)
			return name;
	}
	return NULL;
}

static void print_bit(FILE *out, const struct qcf_header *h, uint32_t bit)
{
	const char *name = own_name(h, bit);
	char text[NAME_LEN * 4 + 1];

	if (name == NULL) {
		fprintf(out, "unknown incompatible feature bit %" PRIu32, bit);
		return;
	}
	qcf_escape(text, sizeof(text), name, strnlen(name, NAME_LEN));
	fprintf(out, "unknown incompatible feature \"%s\"", text);
}

/* All unknown incompatible features by name; NULL on ENOMEM. */
static char *unknown_features(const struct qcf_header *h, uint64_t bits)
{
	char *text = NULL;
	size_t len = 0;
	const char *separator = "";
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	for (uint32_t bit = 0; bit < 64; bit++) {
		if ((bits >> bit & 1) == 0)
			continue;
		fputs(separator, out);
		print_bit(out, h, bit);
		separator = ", ";
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ------------------------------------------------------------------- verdict */

static int refuse_unknown(const struct qcf_header *h, uint64_t bits,
                          struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE char *names = unknown_features(h, bits);

	if (names == NULL)
		return qcf_fail_oom(errp);
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "not supported: %s", names);
}

static int refuse(const struct row *row, const struct qcf_header *h,
                  struct qcowfmt_error **errp)
{
	if (row->subject == INCOMPATIBLE && row->value == OTHERS)
		return refuse_unknown(h, row_bits(row, h), errp);
	if (row->verdict == UNLESS_REPAIR)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_CORRUPT,
		                "the %s is set: the image can only be read or "
		                "repaired",
		                row->words);
	if (row->verdict == READ_ONLY)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "writing to an image with %s is not supported",
		                row->words);
	if (row->subject == CRYPT_METHOD && row->value == OTHERS)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "not supported: %s %" PRIu32, row->words,
		                h->crypt_method);
	return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
	                "not supported: %s", row->words);
}

int qcf_feature_check(const struct qcf_header *h, bool writable, bool repair,
                      struct qcowfmt_error **errp)
{
	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		if (row_applies(&rows[i], h) &&
		    row_refuses(&rows[i], writable, repair))
			return refuse(&rows[i], h, errp);
	}
	return 0;
}

uint64_t qcf_feature_autoclear_to_clear(const struct qcf_header *h)
{
	uint64_t decided = 0;
	uint64_t clear = 0;

	for (size_t i = 0; i < QCF_ARRAY_LEN(rows); i++) {
		if (rows[i].subject != AUTOCLEAR || !row_applies(&rows[i], h))
			continue;

		uint64_t bits = row_bits(&rows[i], h) & ~decided;

		if (rows[i].verdict == CLEAR_ON_WRITE)
			clear |= bits;
		decided |= bits;
	}
	return clear;
}
