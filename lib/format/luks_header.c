/* SPDX-License-Identifier: MIT */
/*
 * luks_header.c - the LUKS version 1 header
 *
 * A slot that is not in use is checked as strictly as one that is: a new key may
 * be put there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "check_id.h"
#include "checked.h"
#include "header_ext.h"
#include "luks_header.h"

#define VERSION       1u
#define SLOT_ACTIVE   UINT32_C(0x00ac71f3)
#define SLOT_INACTIVE UINT32_C(0x0000dead)

/* Key material is aligned to 4 KiB and begins behind the header's 4 KiB. */
#define ALIGN_SECTORS 8u

/* Where the fields are that errors point at. */
#define AT_VERSION    6u
#define AT_CIPHER     8u
#define AT_MODE       40u
#define AT_HASH       72u
#define AT_PAYLOAD    104u
#define AT_KEY_LEN    108u
#define AT_ITERATIONS 164u
#define AT_SLOTS      208u

static const char magic[6] = { 'L', 'U', 'K', 'S', '\xba', '\xbe' };

/* What the checks need to know beside the header. */
struct area {
	uint64_t len;
	uint64_t host_offset;
};

bool qcf_luks_key_len_ok(uint64_t key_len)
{
	return key_len == 16 || key_len == 24 || key_len == 32 ||
	       key_len == 48 || key_len == QCF_LUKS_MAX_KEY;
}

size_t qcf_luks_material_len(uint32_t key_len)
{
	return (size_t)qcf_align_up((uint64_t)key_len * QCF_LUKS_STRIPES,
	                            QCF_LUKS_SECTOR);
}

/* Sectors that a slot's key material takes up. */
static uint32_t slot_sectors(uint32_t key_len)
{
	uint64_t sectors = qcf_luks_material_len(key_len) / QCF_LUKS_SECTOR;

	return (uint32_t)qcf_align_up(sectors, ALIGN_SECTORS);
}

uint32_t qcf_luks_slot_offset(uint32_t index)
{
	return AT_SLOTS + index * QCF_LUKS_SLOT_LEN;
}

void qcf_luks_header_lay_out(struct qcf_luks_header *h)
{
	uint32_t sectors = slot_sectors(h->key_len);

	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		h->slots[i].stripes = QCF_LUKS_STRIPES;
		h->slots[i].key_sector = ALIGN_SECTORS + i * sectors;
	}
	h->payload_sector = ALIGN_SECTORS + QCF_LUKS_SLOTS * sectors;
}

/* --------------------------------------------------------------------- mode */

static bool copy_name(char *to, const char *from, size_t len)
{
	if (len >= QCF_LUKS_NAME_LEN)
		return false;
	memset(to, 0, QCF_LUKS_NAME_LEN);
	memcpy(to, from, len);
	return true;
}

/* mode-ivgen or mode-ivgen:hash; the dash is a must. */
static bool split_mode(struct qcf_luks_header *h)
{
	const char *dash = strchr(h->mode, '-');
	const char *colon;
	size_t ivgen_len;

	if (dash == NULL)
		return false;
	colon = strchr(dash, ':');
	ivgen_len =
		colon == NULL ? strlen(dash + 1) : (size_t)(colon - dash - 1);
	return copy_name(h->cipher_mode, h->mode, (size_t)(dash - h->mode)) &&
	       copy_name(h->ivgen, dash + 1, ivgen_len) &&
	       copy_name(h->ivgen_hash, colon == NULL ? "" : colon + 1,
	                 colon == NULL ? 0 : strlen(colon + 1));
}

bool qcf_luks_header_set_mode(struct qcf_luks_header *h,
                              const char *cipher_mode, const char *ivgen,
                              const char *ivgen_hash)
{
	char text[2 * QCF_LUKS_NAME_LEN];
	int len = snprintf(text, sizeof(text), "%s-%s%s%s", cipher_mode, ivgen,
	                   ivgen_hash == NULL ? "" : ":",
	                   ivgen_hash == NULL ? "" : ivgen_hash);

	return len > 0 && (size_t)len < sizeof(text) &&
	       copy_name(h->mode, text, (size_t)len) && split_mode(h);
}

/* ------------------------------------------------------------------- checks */

static int check_name(const char *name, const struct area *area, uint32_t at,
                      struct qcowfmt_error **errp)
{
	if (memchr(name, '\0', QCF_LUKS_NAME_LEN) != NULL)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_LUKS_NAME, area->host_offset + at,
	                    "want a NUL in its %u bytes", QCF_LUKS_NAME_LEN);
}

static int check_names(struct qcf_luks_header *h, const struct area *area,
                       struct qcowfmt_error **errp)
{
	int ret = check_name(h->cipher, area, AT_CIPHER, errp);

	if (ret == 0)
		ret = check_name(h->mode, area, AT_MODE, errp);
	if (ret == 0)
		ret = check_name(h->hash, area, AT_HASH, errp);
	if (ret == 0 && !split_mode(h))
		ret = qcf_corruptf(errp, QCF_CHECK_LUKS_MODE,
		                   area->host_offset + AT_MODE,
		                   "have %s, want mode-ivgen[:hash]", h->mode);
	return ret;
}

static int check_lengths(const struct qcf_luks_header *h,
                         const struct area *area, struct qcowfmt_error **errp)
{
	if (h->payload_sector != 0 && h->payload_sector < ALIGN_SECTORS)
		return qcf_corruptf(errp, QCF_CHECK_LUKS_PAYLOAD,
		                    area->host_offset + AT_PAYLOAD,
		                    "have sector %" PRIu32 ", want at least %u",
		                    h->payload_sector, ALIGN_SECTORS);
	if (!qcf_luks_key_len_ok(h->key_len))
		return qcf_corruptf(errp, QCF_CHECK_LUKS_KEY_LENGTH,
		                    area->host_offset + AT_KEY_LEN,
		                    "have %" PRIu32
		                    ", want 16, 24, 32, 48 or %u bytes",
		                    h->key_len, QCF_LUKS_MAX_KEY);
	if (h->digest_iterations == 0)
		return qcf_corrupt(errp, QCF_CHECK_LUKS_DIGEST_ITERATIONS,
		                   area->host_offset + AT_ITERATIONS);
	return 0;
}

/* Key material is in the area and, unless the payload is elsewhere, before it. */
static bool material_ok(const struct qcf_luks_header *h,
                        const struct area *area, uint32_t key_sector)
{
	uint64_t end = area->len / QCF_LUKS_SECTOR;

	if (h->payload_sector != 0)
		end = QCF_MIN(end, (uint64_t)h->payload_sector);
	return key_sector >= ALIGN_SECTORS &&
	       qcf_range_within(key_sector, slot_sectors(h->key_len), end);
}

static int check_slot(const struct qcf_luks_header *h, const struct area *area,
                      uint32_t index, struct qcowfmt_error **errp)
{
	const struct qcf_luks_slot *slot = &h->slots[index];
	uint64_t at = area->host_offset + qcf_luks_slot_offset(index);

	if (slot->stripes != QCF_LUKS_STRIPES)
		return qcf_corruptf(errp, QCF_CHECK_LUKS_SLOT_STRIPES, at,
		                    "slot %" PRIu32 ", have %" PRIu32
		                    ", want %u",
		                    index, slot->stripes, QCF_LUKS_STRIPES);
	if (slot->active && slot->iterations == 0)
		return qcf_corruptf(errp, QCF_CHECK_LUKS_SLOT_ITERATIONS, at,
		                    "slot %" PRIu32, index);
	if (!material_ok(h, area, slot->key_sector))
		return qcf_corruptf(errp, QCF_CHECK_LUKS_SLOT_OFFSET, at,
		                    "slot %" PRIu32 ", have sector %" PRIu32,
		                    index, slot->key_sector);
	return 0;
}

/* Both sectors are below 2^32 and so are their ends. */
static bool slots_overlap(const struct qcf_luks_header *h, uint32_t a,
                          uint32_t b)
{
	uint64_t sectors = slot_sectors(h->key_len);
	uint64_t first = h->slots[a].key_sector;
	uint64_t second = h->slots[b].key_sector;

	return first < second + sectors && second < first + sectors;
}

static int check_slots(const struct qcf_luks_header *h, const struct area *area,
                       struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		int ret = check_slot(h, area, i, errp);

		if (ret < 0)
			return ret;
		for (uint32_t j = 0; j < i; j++) {
			if (!slots_overlap(h, i, j))
				continue;
			return qcf_corruptf(
				errp, QCF_CHECK_LUKS_SLOT_OVERLAP,
				area->host_offset + qcf_luks_slot_offset(i),
				"slots %" PRIu32 " and %" PRIu32, j, i);
		}
	}
	return 0;
}

/* ------------------------------------------------------------------- decode */

static int decode_slot(struct qcf_luks_slot *slot, struct qcf_reader *reader,
                       uint64_t host_offset, struct qcowfmt_error **errp)
{
	uint64_t at = host_offset + reader->pos;
	uint32_t state = qcf_read_u32(reader);

	slot->active = state == SLOT_ACTIVE;
	slot->iterations = qcf_read_u32(reader);
	qcf_read_bytes(reader, slot->salt, sizeof(slot->salt));
	slot->key_sector = qcf_read_u32(reader);
	slot->stripes = qcf_read_u32(reader);
	if (state == SLOT_ACTIVE || state == SLOT_INACTIVE)
		return 0;
	return qcf_corruptf(errp, QCF_CHECK_LUKS_SLOT_STATE, at,
	                    "have 0x%" PRIx32, state);
}

static int decode_start(struct qcf_reader *reader, const struct area *area,
                        struct qcowfmt_error **errp)
{
	const uint8_t *start = qcf_read_span(reader, sizeof(magic));
	uint32_t version = qcf_read_u16(reader);

	if (memcmp(start, magic, sizeof(magic)) != 0)
		return qcf_corrupt(errp, QCF_CHECK_LUKS_MAGIC,
		                   area->host_offset);
	if (version != VERSION)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "LUKS version %" PRIu32
		                " at host offset 0x%" PRIx64
		                " is not supported",
		                version, area->host_offset + AT_VERSION);
	return 0;
}

static int decode_fields(struct qcf_luks_header *h, struct qcf_reader *reader,
                         const struct area *area, struct qcowfmt_error **errp)
{
	int ret = 0;

	qcf_read_bytes(reader, h->cipher, sizeof(h->cipher));
	qcf_read_bytes(reader, h->mode, sizeof(h->mode));
	qcf_read_bytes(reader, h->hash, sizeof(h->hash));
	h->payload_sector = qcf_read_u32(reader);
	h->key_len = qcf_read_u32(reader);
	qcf_read_bytes(reader, h->digest, sizeof(h->digest));
	qcf_read_bytes(reader, h->digest_salt, sizeof(h->digest_salt));
	h->digest_iterations = qcf_read_u32(reader);
	qcf_read_bytes(reader, h->uuid, QCF_LUKS_UUID_LEN);
	for (uint32_t i = 0; ret == 0 && i < QCF_LUKS_SLOTS; i++)
		ret = decode_slot(&h->slots[i], reader, area->host_offset,
		                  errp);
	return ret;
}

int qcf_luks_header_decode(struct qcf_luks_header *h, const uint8_t *bytes,
                           size_t len, uint64_t area_len, uint64_t host_offset,
                           struct qcowfmt_error **errp)
{
	struct qcf_reader reader = qcf_reader_init(bytes, len);
	struct area area = { area_len, host_offset };
	int ret;

	*h = (struct qcf_luks_header){ 0 };
	if (QCF_MIN((uint64_t)len, area_len) < QCF_LUKS_HEADER_LEN)
		return qcf_corruptf(errp, QCF_CHECK_LUKS_TRUNCATED, host_offset,
		                    "have %" PRIu64 ", want at least %u",
		                    QCF_MIN((uint64_t)len, area_len),
		                    QCF_LUKS_HEADER_LEN);
	ret = decode_start(&reader, &area, errp);
	if (ret == 0)
		ret = decode_fields(h, &reader, &area, errp);
	if (ret == 0)
		ret = check_names(h, &area, errp);
	if (ret == 0)
		ret = check_lengths(h, &area, errp);
	if (ret == 0)
		ret = check_slots(h, &area, errp);
	return ret;
}

/* ------------------------------------------------------------------- encode */

void qcf_luks_slot_encode(const struct qcf_luks_slot *slot, uint8_t *bytes)
{
	struct qcf_writer writer = qcf_writer_init(bytes, QCF_LUKS_SLOT_LEN);

	qcf_write_u32(&writer, slot->active ? SLOT_ACTIVE : SLOT_INACTIVE);
	qcf_write_u32(&writer, slot->iterations);
	qcf_write_bytes(&writer, slot->salt, sizeof(slot->salt));
	qcf_write_u32(&writer, slot->key_sector);
	qcf_write_u32(&writer, slot->stripes);
}

void qcf_luks_header_encode(const struct qcf_luks_header *h, uint8_t *bytes)
{
	struct qcf_writer writer = qcf_writer_init(bytes, QCF_LUKS_HEADER_LEN);

	qcf_write_bytes(&writer, magic, sizeof(magic));
	qcf_write_u16(&writer, VERSION);
	qcf_write_bytes(&writer, h->cipher, sizeof(h->cipher));
	qcf_write_bytes(&writer, h->mode, sizeof(h->mode));
	qcf_write_bytes(&writer, h->hash, sizeof(h->hash));
	qcf_write_u32(&writer, h->payload_sector);
	qcf_write_u32(&writer, h->key_len);
	qcf_write_bytes(&writer, h->digest, sizeof(h->digest));
	qcf_write_bytes(&writer, h->digest_salt, sizeof(h->digest_salt));
	qcf_write_u32(&writer, h->digest_iterations);
	qcf_write_bytes(&writer, h->uuid, QCF_LUKS_UUID_LEN);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++)
		qcf_luks_slot_encode(&h->slots[i],
		                     bytes + qcf_luks_slot_offset(i));
}

/* --------------------------------------------------------------------- dump */

static void dump_text(FILE *out, const char *field, const char *text)
{
	/* Each byte may take four characters. */
	char escaped[QCF_LUKS_UUID_LEN * 4 + 1];

	qcf_escape(escaped, sizeof(escaped), text, strlen(text));
	fprintf(out, "%s: %s\n", field, escaped);
}

static void dump_slot(FILE *out, const struct qcf_luks_slot *slot,
                      uint32_t index)
{
	fprintf(out,
	        "slot %" PRIu32 ": %s, %" PRIu32 " iterations, sector %" PRIu32
	        ", %" PRIu32 " stripes\n",
	        index, slot->active ? "active" : "inactive", slot->iterations,
	        slot->key_sector, slot->stripes);
}

static void dump_fields(const struct qcf_luks_header *h, FILE *out)
{
	dump_text(out, "cipher", h->cipher);
	dump_text(out, "mode", h->mode);
	dump_text(out, "hash", h->hash);
	dump_text(out, "uuid", h->uuid);
	fprintf(out, "payload_sector: %" PRIu32 "\n", h->payload_sector);
	fprintf(out, "key_len: %" PRIu32 "\n", h->key_len);
	fprintf(out, "digest_iterations: %" PRIu32 "\n", h->digest_iterations);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++)
		dump_slot(out, &h->slots[i], i);
}

char *qcf_luks_header_dump(const struct qcf_luks_header *h)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	dump_fields(h, out);

	bool failed = ferror(out) != 0;

	if (fclose(out) == 0 && !failed)
		return text;
	free(text);
	return NULL;
}
