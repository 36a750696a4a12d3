/* SPDX-License-Identifier: MIT */
/*
 * fuzz_mutate.c - changes images where it matters
 *
 * libFuzzer changes bytes wherever they are, and in an image nearly all of them
 * are guest data.  This mutator takes the input apart, makes the image it stands
 * for, finds the structures in it, and puts a value that is likely to mean
 * something into one of their fields.  Scripts are left to libFuzzer.
 *
 * Linked into the targets whose input is a struct fuzz_input.
 */
#include "fuzz_input.h"
#include "fuzz_layout.h"

#define MAX_SCRIPT 4096u

static uint64_t state;
static struct fuzz_input input;
static struct fuzz_image image;
static uint8_t script[MAX_SCRIPT];

static uint64_t below(uint64_t limit)
{
	return fuzz_below(&state, limit);
}

/* --------------------------------------------------------------------- patches */

/* A host offset that is an existing cluster, or a little behind the end. */
static uint64_t some_offset(const struct fuzz_layout *layout)
{
	uint64_t clusters = image.image.size / layout->cluster_size + 4;
	uint64_t flags[] = {
		0,
		UINT64_C(1) << 63,
		UINT64_C(1) << 63,
		UINT64_C(1) << 63 | 1,
		UINT64_C(1) << 62,
		1,
	};

	return below(clusters) * layout->cluster_size |
	       flags[below(QCF_ARRAY_LEN(flags))];
}

/* A descriptor of a compressed cluster that is not quite right. */
static uint64_t some_compressed(const struct fuzz_layout *layout)
{
	uint32_t x = 62;

	for (uint64_t size = layout->cluster_size; size > 256; size /= 2)
		x--;
	return UINT64_C(1) << 62 | below(18) << x |
	       below(image.image.size + 4096);
}

static uint64_t some_value(const struct fuzz_layout *layout,
                           const struct fuzz_span *span, uint64_t old)
{
	uint64_t other = span->at + below(span->count) * span->width;

	switch (below(10)) {
	case 0:
		return 0;
	case 1:
	case 2:
		return old ^ UINT64_C(1) << below(span->width * 8);
	case 3:
		return fuzz_disk_get(&image.image, other, span->width);
	case 4:
	case 5:
		return some_offset(layout);
	case 6:
		return some_compressed(layout);
	case 7:
		return old + below(3) - 1;
	case 8:
		return fuzz_random(&state);
	default:
		return fuzz_nasty(&state);
	}
}

static struct fuzz_patch *new_patch(void)
{
	if (input.patch_count == FUZZ_MAX_PATCHES)
		return &input.patches[below(FUZZ_MAX_PATCHES)];
	return &input.patches[input.patch_count++];
}

static void set_field(struct fuzz_layout *layout)
{
	const struct fuzz_span *span = &layout->spans[below(layout->count)];
	uint64_t at = span->at + below(span->count) * span->width;
	uint64_t value = some_value(
		layout, span, fuzz_disk_get(&image.image, at, span->width));
	struct fuzz_patch *patch;

	if (at >= FUZZ_PATCH_BACKING)
		return;
	patch = new_patch();
	patch->offset = (uint32_t)at;
	patch->len = (uint8_t)span->width;
	for (size_t i = span->width; i > 0; i--, value >>= 8)
		patch->bytes[i - 1] = (uint8_t)value;
}

static void set_size(const struct fuzz_layout *layout)
{
	struct fuzz_patch *patch = new_patch();
	uint64_t size = below(3) == 0
	                        ? below(image.image.size + 70000)
	                        : image.image.size +
	                                  layout->cluster_size * (below(5) - 2);

	patch->len = 0;
	patch->offset = (uint32_t)(size & (FUZZ_PATCH_BACKING - 1));
}

/* Of an overlay: a field of the image below. */
static void set_backing(void)
{
	struct fuzz_patch *patch = new_patch();
	uint64_t value = fuzz_nasty(&state);

	patch->offset = FUZZ_PATCH_BACKING | (uint32_t)(below(32) * 4);
	patch->len = 4;
	for (size_t i = 4; i > 0; i--, value >>= 8)
		patch->bytes[i - 1] = (uint8_t)value;
}

static void add_patch(void)
{
	static struct fuzz_layout layout;

	fuzz_input_apply(&input, &image);
	fuzz_layout_find(&layout, &image.image);
	if (layout.count == 0 || below(24) == 0)
		set_size(&layout);
	else if (image.backing.size > 0 && below(8) == 0)
		set_backing();
	else
		set_field(&layout);
}

static void drop_patch(void)
{
	size_t i;

	if (input.patch_count == 0)
		return;
	i = (size_t)below(input.patch_count);
	input.patches[i] = input.patches[--input.patch_count];
}

static void change_patch(void)
{
	struct fuzz_patch *patch;

	if (input.patch_count == 0)
		return;
	patch = &input.patches[below(input.patch_count)];
	if (patch->len == 0 || below(4) == 0)
		patch->offset ^= 1u << below(20);
	else
		patch->len = (uint8_t)LLVMFuzzerMutate(patch->bytes, patch->len,
		                                       FUZZ_PATCH_MAX);
}

static void change_script(void)
{
	input.script_len =
		LLVMFuzzerMutate(script, input.script_len, MAX_SCRIPT);
}

static void change(void)
{
	switch (below(12)) {
	case 0:
		drop_patch();
		break;
	case 1:
	case 2:
		change_patch();
		break;
	case 3:
	case 4:
	case 5:
		change_script();
		break;
	case 6:
		if (below(4) == 0)
			input.base = (uint8_t)below(fuzz_base_count());
		break;
	default:
		add_patch();
		break;
	}
}

static void parse(const uint8_t *data, size_t size)
{
	fuzz_input_parse(&input, data, size);
	if (input.script_len > MAX_SCRIPT)
		input.script_len = MAX_SCRIPT;
	memcpy(script, input.script, input.script_len);
	input.script = script;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed)
{
	state = seed;
	/* Bytes as bytes, now and then. */
	if (size > 0 && below(32) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	parse(data, size);
	for (uint64_t n = 1 + below(3); n > 0; n--)
		change();
	return fuzz_input_write(&input, data, max_size);
}

/* Patches of both, and the script of one. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1,
                                 const uint8_t *data2, size_t size2,
                                 uint8_t *out, size_t max_out_size,
                                 unsigned int seed)
{
	static struct fuzz_input other;

	state = seed;
	parse(data1, size1);
	fuzz_input_parse(&other, data2, size2);
	if (below(2) == 0) {
		input.script_len = other.script_len < MAX_SCRIPT
		                           ? other.script_len
		                           : MAX_SCRIPT;
		memcpy(script, other.script, input.script_len);
	}
	for (size_t i = 0; i < other.patch_count; i++) {
		if (input.patch_count < FUZZ_MAX_PATCHES && below(2) == 0)
			input.patches[input.patch_count++] = other.patches[i];
	}
	return fuzz_input_write(&input, out, max_out_size);
}
