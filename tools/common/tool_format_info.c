/* SPDX-License-Identifier: MIT */
/*
 * tool_format_info.c - "Format specific information" of an image
 *
 * The members are written once for both outputs: text has a space where JSON
 * has a dash.  They stand in the order of QEMU's programs.
 */
#include "tool_format_info.h"
#include "tool_error.h"
#include "tool_text.h"

#include <inttypes.h>
#include <stdio.h>

/* Damaged bitmaps do not keep the rest from being shown. */
static void get_bitmaps(struct qcowfmt_image *image,
                        struct qcf_image_facts *facts)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;

	if (qcowfmt_bitmap_list(image, 0, &facts->bitmaps, &error) < 0)
		qcf_tool_warning("%s", qcowfmt_error_message(error));
}

int qcf_get_facts(struct qcowfmt_image *image, struct qcf_image_facts *facts,
                  struct qcowfmt_error **errp)
{
	int ret;

	*facts = (struct qcf_image_facts){
		.info.struct_size = sizeof(facts->info),
		.encryption.struct_size = sizeof(facts->encryption),
	};
	ret = qcowfmt_get_info(image, 0, &facts->info, errp);
	if (ret < 0)
		return ret;
	ret = qcowfmt_get_encryption_info(image, 0, &facts->encryption, errp);
	if (ret == 0)
		get_bitmaps(image, facts);
	return ret;
}

void qcf_free_facts(struct qcf_image_facts *facts)
{
	qcowfmt_bitmap_list_free(facts->bitmaps);
	facts->bitmaps = NULL;
}

/* ------------------------------------------------------------------ writing */

#define INDENTATION 4

struct writer {
	struct qcf_json *json; /* NULL: text */
	int depth;             /* of text */
};

static void start_line(const struct writer *w, const char *name)
{
	printf("%*s", w->depth * INDENTATION, "");
	for (; *name != '\0'; name++)
		putchar(*name == '-' ? ' ' : *name);
	putchar(':');
}

static void write_text(const struct writer *w, const char *name,
                       const char *text)
{
	if (w->json != NULL) {
		qcf_json_string(w->json, name, text);
		return;
	}
	start_line(w, name);
	putchar(' ');
	qcf_print_plain(text);
	putchar('\n');
}

static void write_number(const struct writer *w, const char *name,
                         uint64_t number)
{
	if (w->json != NULL) {
		qcf_json_number(w->json, name, number);
		return;
	}
	start_line(w, name);
	printf(" %" PRIu64 "\n", number);
}

static void write_bool(const struct writer *w, const char *name, bool value)
{
	if (w->json != NULL) {
		qcf_json_bool(w->json, name, value);
		return;
	}
	start_line(w, name);
	puts(value ? " true" : " false");
}

static void begin_line(struct writer *w, const char *name)
{
	start_line(w, name);
	putchar('\n');
	w->depth++;
}

static void begin_object(struct writer *w, const char *name)
{
	if (w->json != NULL)
		qcf_json_begin_object(w->json, name);
	else
		begin_line(w, name);
}

static void end_object(struct writer *w)
{
	if (w->json != NULL)
		qcf_json_end_object(w->json);
	w->depth--;
}

static void begin_array(struct writer *w, const char *name)
{
	if (w->json != NULL)
		qcf_json_begin_array(w->json, name);
	else
		begin_line(w, name);
}

static void end_array(struct writer *w)
{
	if (w->json != NULL)
		qcf_json_end_array(w->json);
	else
		w->depth--;
}

/* An element that is an object; ends with end_object(). */
static void begin_element(struct writer *w, uint32_t index)
{
	char name[16];

	snprintf(name, sizeof(name), "[%" PRIu32 "]", index);
	begin_object(w, w->json != NULL ? NULL : name);
}

/* ------------------------------------------------------------------ bitmaps */

static void write_bitmap_flag(struct writer *w, const char *flag, int *index)
{
	char name[16];

	snprintf(name, sizeof(name), "[%d]", (*index)++);
	write_text(w, w->json != NULL ? NULL : name, flag);
}

static void write_bitmap(struct writer *w, const struct qcowfmt_bitmap *bitmap,
                         uint32_t index)
{
	int flag = 0;

	begin_element(w, index);
	begin_array(w, "flags");
	if ((bitmap->flags & QCOWFMT_BITMAP_IN_USE) != 0)
		write_bitmap_flag(w, "in-use", &flag);
	if ((bitmap->flags & QCOWFMT_BITMAP_ENABLED) != 0)
		write_bitmap_flag(w, "auto", &flag);
	end_array(w);
	write_text(w, "name", bitmap->name);
	write_number(w, "granularity", bitmap->granularity);
	end_object(w);
}

static void write_bitmaps(struct writer *w,
                          const struct qcowfmt_bitmap_list *list)
{
	struct qcowfmt_bitmap bitmap = { .struct_size = sizeof(bitmap) };

	if (list == NULL || qcowfmt_bitmap_list_count(list) == 0)
		return;
	begin_array(w, "bitmaps");
	for (uint32_t i = 0;
	     qcowfmt_bitmap_list_get(list, i, &bitmap, NULL) == 0; i++)
		write_bitmap(w, &bitmap, i);
	end_array(w);
}

/* -------------------------------------------------------------------- slots */

static void write_slot(struct writer *w, const struct qcowfmt_key_slot *slot,
                       int index)
{
	begin_element(w, (uint32_t)index);
	write_bool(w, "active", slot->active != 0);
	if (slot->active != 0)
		write_number(w, "iters", slot->iterations);
	write_number(w, "key-offset", slot->key_offset);
	if (slot->active != 0)
		write_number(w, "stripes", slot->stripes);
	end_object(w);
}

static void write_slots(struct writer *w,
                        const struct qcowfmt_encryption_info *e)
{
	begin_array(w, "slots");
	for (int i = 0; i < QCOWFMT_KEY_SLOT_COUNT; i++)
		write_slot(w, &e->slots[i], i);
	end_array(w);
}

static void write_luks(struct writer *w,
                       const struct qcowfmt_encryption_info *e)
{
	write_text(w, "ivgen-alg", e->ivgen_alg);
	write_text(w, "hash-alg", e->hash_alg);
	write_text(w, "cipher-alg", e->cipher_alg);
	write_text(w, "uuid", e->uuid);
	if (e->ivgen_hash_alg != NULL)
		write_text(w, "ivgen-hash-alg", e->ivgen_hash_alg);
	write_text(w, "format", "luks");
	write_text(w, "cipher-mode", e->cipher_mode);
	write_slots(w, e);
	write_number(w, "payload-offset", e->payload_offset);
	write_number(w, "master-key-iters", e->master_key_iterations);
}

static void write_encryption(struct writer *w,
                             const struct qcowfmt_encryption_info *e)
{
	if (e->encryption == QCOWFMT_ENCRYPTION_NONE)
		return;
	begin_object(w, "encrypt");
	if (e->encryption == QCOWFMT_ENCRYPTION_LUKS)
		write_luks(w, e);
	else
		write_text(w, "format", "aes");
	end_object(w);
}

/* ------------------------------------------------------------------ members */

static void write_flag(const struct writer *w, const char *name,
                       const struct qcowfmt_info *info, uint32_t flag)
{
	write_bool(w, name, (info->flags & flag) != 0);
}

static void write_members(struct writer *w, const struct qcf_image_facts *facts)
{
	const struct qcowfmt_info *info = &facts->info;
	bool is_v3 = info->version >= 3;

	write_text(w, "compat", is_v3 ? "1.1" : "0.10");
	write_text(w, "compression-type",
	           info->compression_type == 1 ? "zstd" : "zlib");
	if (is_v3)
		write_flag(w, "lazy-refcounts", info,
		           QCOWFMT_INFO_LAZY_REFCOUNTS);
	write_bitmaps(w, facts->bitmaps);
	write_number(w, "refcount-bits", info->refcount_bits);
	if (info->data_filename != NULL)
		write_text(w, "data-file", info->data_filename);
	write_encryption(w, &facts->encryption);
	if ((info->flags & QCOWFMT_INFO_DATA_FILE) != 0)
		write_flag(w, "data-file-raw", info,
		           QCOWFMT_INFO_DATA_FILE_RAW);
	if (is_v3) {
		write_flag(w, "corrupt", info, QCOWFMT_INFO_CORRUPT);
		write_flag(w, "extended-l2", info, QCOWFMT_INFO_EXTENDED_L2);
	}
}

void qcf_print_format_info(const struct qcf_image_facts *facts)
{
	struct writer w = { .depth = 1 };

	if (facts->info.format != QCOWFMT_FORMAT_QCOW2)
		return;
	puts("Format specific information:");
	write_members(&w, facts);
}

void qcf_json_format_info(struct qcf_json *json,
                          const struct qcf_image_facts *facts)
{
	struct writer w = { .json = json };

	if (facts->info.format != QCOWFMT_FORMAT_QCOW2)
		return;
	qcf_json_begin_object(json, "format-specific");
	qcf_json_string(json, "type", "qcow2");
	qcf_json_begin_object(json, "data");
	write_members(&w, facts);
	qcf_json_end_object(json);
	qcf_json_end_object(json);
}
