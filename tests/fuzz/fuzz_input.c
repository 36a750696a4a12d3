/* SPDX-License-Identifier: MIT */
/* fuzz_input.c - an image as the changes of a base image, and a script */
#include "fuzz_input.h"

static bool parse_patch(struct fuzz_patch *patch, struct fuzz_cursor *c)
{
	size_t left;

	if (fuzz_is_done(c))
		return false;
	patch->len = (uint8_t)fuzz_take(c, 1);
	patch->offset = (uint32_t)fuzz_take(c, 3);
	left = c->len - c->pos;
	if (patch->len > left)
		patch->len = (uint8_t)left;
	memcpy(patch->bytes, c->bytes + c->pos, patch->len);
	c->pos += patch->len;
	return true;
}

void fuzz_input_parse(struct fuzz_input *in, const uint8_t *data, size_t size)
{
	struct fuzz_cursor c = { data, size, 0 };
	size_t count;

	in->base = (uint8_t)fuzz_take(&c, 1);
	count = (size_t)fuzz_take(&c, 1) % (FUZZ_MAX_PATCHES + 1);
	in->patch_count = 0;
	while (in->patch_count < count &&
	       parse_patch(&in->patches[in->patch_count], &c))
		in->patch_count++;
	in->script = data + c.pos;
	in->script_len = size - c.pos;
}

static size_t write_patch(const struct fuzz_patch *patch, uint8_t *out)
{
	out[0] = patch->len;
	out[1] = (uint8_t)(patch->offset >> 16);
	out[2] = (uint8_t)(patch->offset >> 8);
	out[3] = (uint8_t)patch->offset;
	memcpy(out + 4, patch->bytes, patch->len);
	return 4u + patch->len;
}

size_t fuzz_input_write(const struct fuzz_input *in, uint8_t *out, size_t room)
{
	size_t len = 2;
	size_t script_len;

	if (room < 2)
		return 0;
	out[0] = in->base;
	out[1] = 0;
	for (size_t i = 0; i < in->patch_count; i++) {
		if (4u + in->patches[i].len > room - len)
			break;
		len += write_patch(&in->patches[i], out + len);
		out[1]++;
	}
	script_len = in->script_len < room - len ? in->script_len : room - len;
	memcpy(out + len, in->script, script_len);
	return len + script_len;
}

static void apply_patch(const struct fuzz_patch *patch, struct fuzz_image *fi)
{
	uint32_t at = patch->offset & (FUZZ_PATCH_BACKING - 1);
	struct fuzz_disk *disk = (patch->offset & FUZZ_PATCH_BACKING) != 0
	                                 ? &fi->backing
	                                 : &fi->image;

	if (patch->len == 0)
		(void)fuzz_disk_set_size(disk, at);
	else
		(void)fuzz_disk_poke(disk, at, patch->bytes, patch->len);
}

void fuzz_input_apply(const struct fuzz_input *in, struct fuzz_image *fi)
{
	fuzz_image_reset(fi, fuzz_base(in->base));
	for (size_t i = 0; i < in->patch_count; i++)
		apply_patch(&in->patches[i], fi);
}
