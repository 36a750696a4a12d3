/* SPDX-License-Identifier: MIT */
/* image_fields.c - every field of a small image */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "bitmap_entry.h"
#include "header.h"
#include "image_fields.h"
#include "luks_header.h"
#include "unit.h"

#define OFFSET_BITS UINT64_C(0x00fffffffffffe00)
#define COPIED      (UINT64_C(1) << 63)
#define COMPRESSED  (UINT64_C(1) << 62)

struct row {
	const char *name;
	uint64_t at;
	size_t width;
	enum field_reach reach;
	bool snapshots;
};

static const struct row header_rows[] = {
	{ "magic", 0, 4, REACH_ALL, true },
	{ "version", 4, 4, REACH_ALL, true },
	{ "backing_file_offset", 8, 8, REACH_ALL, true },
	{ "backing_file_size", 16, 4, REACH_ALL, true },
	{ "cluster_bits", 20, 4, REACH_ALL, true },
	{ "size", 24, 8, REACH_ALL, true },
	{ "crypt_method", 32, 4, REACH_ALL, true },
	{ "l1_size", 36, 4, REACH_ALL, true },
	{ "l1_table_offset", 40, 8, REACH_ALL, true },
	{ "refcount_table_offset", 48, 8, REACH_NOTHING, false },
	{ "refcount_table_clusters", 56, 4, REACH_NOTHING, false },
	{ "nb_snapshots", 60, 4, REACH_NOTHING, true },
	{ "snapshots_offset", 64, 8, REACH_NOTHING, true },
};

static const struct row header_3_rows[] = {
	{ "incompatible_features", 72, 8, REACH_ALL, true },
	{ "compatible_features", 80, 8, REACH_NOTHING, false },
	{ "autoclear_features", 88, 8, REACH_NOTHING, false },
	{ "refcount_order", 96, 4, REACH_NOTHING, false },
	{ "header_length", 100, 4, REACH_ALL, true },
	{ "compression_type", 104, 1, REACH_ALL, true },
	{ "padding", 105, 1, REACH_ALL, true },
};

static const struct row header_1_rows[] = {
	{ "magic", 0, 4, REACH_ALL, false },
	{ "version", 4, 4, REACH_ALL, false },
	{ "backing_file_offset", 8, 8, REACH_ALL, false },
	{ "backing_file_size", 16, 4, REACH_ALL, false },
	{ "mtime", 20, 4, REACH_NOTHING, false },
	{ "size", 24, 8, REACH_ALL, false },
	{ "cluster_bits", 32, 1, REACH_ALL, false },
	{ "l2_bits", 33, 1, REACH_ALL, false },
	{ "padding", 34, 2, REACH_ALL, false },
	{ "crypt_method", 36, 4, REACH_ALL, false },
	{ "l1_table_offset", 40, 8, REACH_ALL, false },
};

static const struct row snapshot_rows[] = {
	{ "l1_table_offset", 0, 8, REACH_NOTHING, true },
	{ "l1_size", 8, 4, REACH_NOTHING, true },
	{ "id_len", 12, 2, REACH_NOTHING, true },
	{ "name_len", 14, 2, REACH_NOTHING, true },
	{ "date_sec", 16, 4, REACH_NOTHING, true },
	{ "date_nsec", 20, 4, REACH_NOTHING, true },
	{ "vm_clock_nsec", 24, 8, REACH_NOTHING, true },
	{ "vm_state_size", 32, 4, REACH_NOTHING, true },
	{ "extra_len", 36, 4, REACH_NOTHING, true },
	{ "vm_state_size_large", 40, 8, REACH_NOTHING, true },
	{ "disk_size", 48, 8, REACH_NOTHING, true },
	{ "icount", 56, 8, REACH_NOTHING, true },
	{ "id", 64, 1, REACH_NOTHING, true },
	{ "name", 65, 1, REACH_NOTHING, true },
};

static const struct row bitmap_rows[] = {
	{ "table_offset", 0, 8, REACH_NOTHING, false },
	{ "table_entries", 8, 4, REACH_NOTHING, false },
	{ "flags", 12, 4, REACH_NOTHING, false },
	{ "type", 16, 1, REACH_NOTHING, false },
	{ "granularity_bits", 17, 1, REACH_NOTHING, false },
	{ "name_len", 18, 2, REACH_NOTHING, false },
	{ "extra_len", 20, 4, REACH_NOTHING, false },
	{ "name", 24, 1, REACH_NOTHING, false },
};

static const struct row luks_rows[] = {
	{ "magic", 0, 6, REACH_ALL, true },
	{ "version", 6, 2, REACH_ALL, true },
	{ "cipher", 8, 8, REACH_ALL, true },
	{ "mode", 40, 8, REACH_ALL, true },
	{ "hash", 72, 8, REACH_ALL, true },
	{ "payload_sector", 104, 4, REACH_ALL, true },
	{ "key_len", 108, 4, REACH_ALL, true },
	{ "digest", 112, 8, REACH_ALL, true },
	{ "digest_iterations", 164, 4, REACH_ALL, true },
	{ "uuid", 168, 8, REACH_ALL, true },
	{ "slot 0 state", 208, 4, REACH_ALL, true },
	{ "slot 0 iterations", 212, 4, REACH_ALL, true },
	{ "slot 0 key_sector", 248, 4, REACH_ALL, true },
	{ "slot 0 stripes", 252, 4, REACH_ALL, true },
	{ "slot 7 state", 544, 4, REACH_ALL, true },
	{ "slot 7 iterations", 548, 4, REACH_ALL, true },
	{ "slot 7 key_sector", 584, 4, REACH_ALL, true },
	{ "slot 7 stripes", 588, 4, REACH_ALL, true },
};

uint64_t image_fields_get(const struct image_fields *f, uint64_t at,
                          size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | (at + i < f->size ? f->bytes[at + i] : 0);
	return value;
}

static uint64_t get(const struct image_fields *f, uint64_t at, size_t width)
{
	return image_fields_get(f, at, width);
}

static uint64_t offset_at(const struct image_fields *f, uint64_t at)
{
	return get(f, at, 8) & OFFSET_BITS;
}

/* ------------------------------------------------------------------ adding */

static struct image_field *add(struct image_fields *f, uint64_t at,
                               size_t width)
{
	struct image_field *field = &f->fields[f->count];

	ck_assert_uint_lt(f->count, MAX_FIELDS);
	ck_assert_uint_le(at + width, f->size);
	*field = (struct image_field){ .at = at, .width = width };
	f->count++;
	return field;
}

static void add_rows(struct image_fields *f, const char *what, uint64_t base,
                     const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct image_field *field =
			add(f, base + rows[i].at, rows[i].width);

		field->reach = rows[i].reach;
		field->snapshots = rows[i].snapshots;
		field->is_pointer = strstr(rows[i].name, "l1_") != NULL ||
		                    strstr(rows[i].name, "_len") != NULL;
		field->is_count = strstr(rows[i].name, "refcount_") != NULL;
		(void)snprintf(field->name, sizeof(field->name), "%s %s", what,
		               rows[i].name);
	}
}

static void add_place(struct image_fields *f, uint64_t at)
{
	for (size_t i = 0; i < f->place_count; i++) {
		if (f->places[i] == at)
			return;
	}
	if (f->place_count < MAX_PLACES)
		f->places[f->place_count++] = at;
}

/* ------------------------------------------------------------------ tables */

static uint64_t entry_size(const struct image_fields *f)
{
	return f->extended_l2 ? 16 : 8;
}

/* Entries of a table that differ in what they are: one of each is enough. */
static size_t kind_of(uint64_t entry)
{
	size_t has_offset = (entry & OFFSET_BITS) != 0 ? 1 : 0;

	return (size_t)(entry >> 60) | (size_t)(entry & 1) << 4 |
	       has_offset << 5;
}

static void add_entry(struct image_fields *f, const char *name, uint64_t at,
                      enum field_reach reach, uint64_t guest, uint64_t len)
{
	struct image_field *field = add(f, at, 8);

	(void)snprintf(field->name, sizeof(field->name), "%s", name);
	field->reach = reach;
	field->first = guest;
	field->len = len;
	field->snapshots = true;
	field->is_pointer = true;
}

static void add_l2(struct image_fields *f, uint64_t table,
                   enum field_reach reach, uint64_t guest, uint64_t entries)
{
	bool seen[64] = { false };

	for (uint64_t i = 0; i < entries; i++) {
		uint64_t at = table + i * entry_size(f);
		uint64_t from = guest + i * f->cluster_size;
		size_t kind = kind_of(get(f, at, 8));

		if (seen[kind])
			continue;
		seen[kind] = true;
		if ((get(f, at, 8) & COMPRESSED) == 0)
			add_place(f, offset_at(f, at));
		add_entry(f, "L2 entry", at, reach, from, f->cluster_size);
		if (f->extended_l2)
			add_entry(f, "L2 bitmap", at + 8, reach, from,
			          f->cluster_size);
	}
}

/* An L1 table, active or of a snapshot.  Tables of a snapshot may be those of the
 * active state. */
static void add_l1(struct image_fields *f, uint64_t l1, uint64_t l1_size,
                   uint64_t l2_entries)
{
	uint64_t active = get(f, 40, 8);
	uint64_t covers = l2_entries * f->cluster_size;

	add_place(f, l1);
	for (uint64_t i = 0; i < l1_size && i < 2; i++) {
		uint64_t l2 = offset_at(f, l1 + 8 * i);
		bool shared = l2 == offset_at(f, active + 8 * i);

		add_entry(f, "L1 entry", l1 + 8 * i,
		          l1 == active ? REACH_RANGE : REACH_NOTHING,
		          i * covers, covers);
		if (l2 == 0)
			continue;
		add_place(f, l2);
		add_l2(f, l2, shared ? REACH_RANGE : REACH_NOTHING, i * covers,
		       l2_entries);
	}
}

static void add_counts(struct image_fields *f)
{
	uint64_t table = get(f, 48, 8);
	uint64_t bits = f->version >= 3 ? UINT64_C(1) << get(f, 96, 4) : 16;
	size_t width = bits < 8 ? 1 : (size_t)bits / 8;
	uint64_t block = offset_at(f, table);
	size_t first = f->count;

	add_place(f, table);
	add_place(f, block);
	for (uint64_t i = 0; i < 3; i++)
		(void)snprintf(add(f, table + 8 * i, 8)->name, 40,
		               "refcount table entry");
	for (size_t i = 0; i < f->place_count; i++) {
		uint64_t at = f->places[i] / f->cluster_size * bits / 8;

		if (at < f->cluster_size)
			(void)snprintf(add(f, block + at, width)->name, 40,
			               "refcount");
	}
	for (size_t i = first; i < f->count; i++)
		f->fields[i].is_count = true;
}

static void add_snapshots(struct image_fields *f, uint64_t l2_entries)
{
	uint64_t at = get(f, 64, 8);

	add_place(f, at);
	for (uint64_t i = 0; i < get(f, 60, 4); i++) {
		add_rows(f, "snapshot", at, snapshot_rows,
		         QCF_ARRAY_LEN(snapshot_rows));
		add_l1(f, get(f, at, 8), get(f, at + 8, 4), l2_entries);
		at += (40 + get(f, at + 36, 4) + get(f, at + 12, 2) +
		       get(f, at + 14, 2) + 7) /
		      8 * 8;
	}
}

static void add_bitmaps(struct image_fields *f, uint64_t ext)
{
	uint64_t at = get(f, ext + 16, 8);

	add_place(f, at);
	for (uint64_t i = 0; i < get(f, ext, 4); i++) {
		uint64_t table = get(f, at, 8);

		add_rows(f, "bitmap", at, bitmap_rows,
		         QCF_ARRAY_LEN(bitmap_rows));
		add_place(f, table);
		add_place(f, offset_at(f, table));
		(void)snprintf(add(f, table, 8)->name, 40,
		               "bitmap table entry");
		at += (24 + get(f, at + 18, 2) + get(f, at + 20, 4) + 7) / 8 *
		      8;
	}
}

static void add_luks(struct image_fields *f, uint64_t ext)
{
	uint64_t at = get(f, ext, 8);

	add_place(f, at);
	add_rows(f, "luks", at, luks_rows, QCF_ARRAY_LEN(luks_rows));
}

/* What is in an extension, word by word. */
static void add_extension(struct image_fields *f, uint64_t at, uint64_t type,
                          uint64_t len)
{
	static const struct row head[] = {
		{ "type", 0, 4, REACH_ALL, true },
		{ "length", 4, 4, REACH_ALL, true },
	};
	char name[32];

	(void)snprintf(name, sizeof(name), "extension 0x%08" PRIx64, type);
	add_rows(f, name, at, head, 2);
	for (uint64_t i = 0; i + 4 <= len && i < 24; i += 4) {
		struct image_field *field = add(f, at + 8 + i, 4);

		field->reach =
			type == QCF_EXT_BITMAPS || type == QCF_EXT_FEATURE_NAMES
				? REACH_NOTHING
				: REACH_ALL;
		field->snapshots = field->reach == REACH_ALL;
		field->is_pointer = true;
		(void)snprintf(field->name, sizeof(field->name), "%s data",
		               name);
	}
}

static void add_extensions(struct image_fields *f)
{
	uint64_t at = f->version >= 3 ? get(f, 100, 4) : 72;
	uint64_t type;

	do {
		uint64_t len = get(f, at + 4, 4);

		type = get(f, at, 4);
		add_extension(f, at, type, len);
		if (type == QCF_EXT_BITMAPS)
			add_bitmaps(f, at + 8);
		if (type == QCF_EXT_ENCRYPTION)
			add_luks(f, at + 8);
		at += 8 + (len + 7) / 8 * 8;
	} while (type != QCF_EXT_END && at + 8 < f->cluster_size);
}

static void find_version_1(struct image_fields *f)
{
	uint64_t l2_entries = UINT64_C(1) << f->bytes[33];
	uint64_t covers;

	f->cluster_size = UINT64_C(1) << f->bytes[32];
	covers = l2_entries * f->cluster_size;
	add_rows(f, "header", 0, header_1_rows, QCF_ARRAY_LEN(header_1_rows));
	add_l1(f, get(f, 40, 8), (get(f, 24, 8) + covers - 1) / covers,
	       l2_entries);
}

void image_fields_find(struct image_fields *f, const uint8_t *bytes,
                       uint64_t size)
{
	uint64_t l2_entries;

	*f = (struct image_fields){ .bytes = bytes, .size = size };
	f->version = (uint32_t)get(f, 4, 4);
	add_place(f, 0);
	if (f->version == 1) {
		find_version_1(f);
		return;
	}
	f->cluster_size = UINT64_C(1) << get(f, 20, 4);
	f->extended_l2 = f->version >= 3 && (get(f, 72, 8) & 16) != 0;
	l2_entries = f->cluster_size / entry_size(f);
	add_rows(f, "header", 0, header_rows, QCF_ARRAY_LEN(header_rows));
	if (f->version >= 3)
		add_rows(f, "header", 0, header_3_rows,
		         QCF_ARRAY_LEN(header_3_rows));
	add_l1(f, get(f, 40, 8), get(f, 36, 4), l2_entries);
	add_snapshots(f, l2_entries);
	add_extensions(f);
	add_counts(f);
}

/* ------------------------------------------------------------------ values */

struct values {
	uint64_t mask; /* what fits */
	uint64_t old;
	uint64_t *to;
	size_t count;
};

static void offer(struct values *v, uint64_t value)
{
	value &= v->mask;
	if (value == v->old || v->count == MAX_VALUES)
		return;
	for (size_t i = 0; i < v->count; i++) {
		if (v->to[i] == value)
			return;
	}
	v->to[v->count++] = value;
}

static void offer_place(struct values *v, uint64_t at, size_t width)
{
	offer(v, at);
	if (width < 8)
		return;
	offer(v, at | COPIED);
	offer(v, at | COMPRESSED);
	offer(v, (at + 512) | COPIED);
}

size_t image_fields_values(const struct image_fields *f,
                           const struct image_field *field,
                           uint64_t values[MAX_VALUES])
{
	uint64_t mask = UINT64_MAX >> (64 - 8 * field->width);
	uint64_t top = mask ^ mask >> 1;
	uint64_t end = (f->size + f->cluster_size - 1) / f->cluster_size *
	               f->cluster_size;
	struct values v = {
		.mask = mask,
		.old = get(f, field->at, field->width),
		.to = values,
	};
	const uint64_t plain[] = {
		0,           1,
		mask,        mask - 1,
		top,         top - 1,
		v.old + 1,   v.old - 1,
		v.old + 512, v.old + f->cluster_size,
		f->size - 1, (UINT64_C(1) << 56) - f->cluster_size,
	};

	for (size_t i = 0; i < QCF_ARRAY_LEN(plain); i++)
		offer(&v, plain[i]);
	for (uint64_t bit = 1; bit != 0 && bit <= top; bit <<= 1)
		offer(&v, v.old ^ bit);
	offer_place(&v, end, field->width);
	offer_place(&v, end + f->cluster_size, field->width);
	offer_place(&v, field->at / f->cluster_size * f->cluster_size,
	            field->width);
	for (size_t i = 0; i < f->place_count; i++)
		offer_place(&v, f->places[i], field->width);
	return v.count;
}
