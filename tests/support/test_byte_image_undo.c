/* SPDX-License-Identifier: MIT */
/*
 * Promise: a byte image is what an array with the same changes is, undoing
 * gives back bytes, size and fingerprint, and equal images have equal
 * fingerprints.
 */
#include <string.h>

#include "byte_image.h"
#include "unit.h"

#define CAPACITY 40960u

struct array {
	uint8_t bytes[CAPACITY];
	size_t size;
};

static void assert_equal(const struct byte_image *image, const struct array *a)
{
	ck_assert_uint_eq(byte_image_size(image), a->size);
	ck_assert(memcmp(byte_image_bytes(image), a->bytes, CAPACITY) == 0);
}

static void change(struct byte_image *image, struct array *a,
                   struct unit_random *random)
{
	uint8_t data[9000] = { 0 };
	size_t offset = (size_t)unit_random_below(random, CAPACITY);
	size_t len = (size_t)unit_random_below(random, sizeof(data));
	bool zeros = unit_random_below(random, 3) == 0;

	if (unit_random_below(random, 8) == 0) {
		if (offset < a->size)
			memset(a->bytes + offset, 0, CAPACITY - offset);
		a->size = offset;
		byte_image_set_size(image, offset);
		return;
	}
	if (len > CAPACITY - offset) {
		ck_assert(!byte_image_write(image, offset, data, len));
		return;
	}
	memset(data, zeros ? 0 : (int)unit_random_below(random, 256), len);
	memcpy(a->bytes + offset, data, len);
	if (offset + len > a->size)
		a->size = offset + len;
	ck_assert(byte_image_write(image, offset, zeros ? NULL : data, len));
}

START_TEST(like_an_array)
{
	struct unit_random random = unit_random_init();
	struct byte_image *image = byte_image_new(CAPACITY);
	static struct array a, saved[3];
	uint64_t prints[3];

	for (int round = 0; round < 300; round++) {
		int depth = (int)unit_random_below(&random, 4);

		for (int i = 0; i < depth; i++) {
			saved[i] = a;
			prints[i] = byte_image_fingerprint(image);
			byte_image_save(image);
			for (int k = 0; k < 5; k++)
				change(image, &a, &random);
			assert_equal(image, &a);
		}
		for (int i = depth; i-- > 0;) {
			byte_image_undo(image);
			a = saved[i];
			assert_equal(image, &a);
			ck_assert(byte_image_fingerprint(image) == prints[i]);
		}
		change(image, &a, &random);
		assert_equal(image, &a);
	}
	byte_image_free(image);
}

END_TEST

START_TEST(fingerprints)
{
	struct byte_image *a = byte_image_new(CAPACITY);
	struct byte_image *b = byte_image_new(2 * CAPACITY);

	ck_assert(byte_image_fingerprint(a) == byte_image_fingerprint(b));
	byte_image_write(a, 5000, "one", 3);
	byte_image_write(a, 100, "two", 3);
	byte_image_write(b, 100, "two", 3);
	byte_image_write(b, 5000, "one", 3);
	ck_assert(byte_image_fingerprint(a) == byte_image_fingerprint(b));
	/* The same bytes, in two pages, the other way round. */
	byte_image_write(b, 100, "one", 3);
	byte_image_write(b, 5000, "two", 3);
	ck_assert(byte_image_fingerprint(a) != byte_image_fingerprint(b));
	byte_image_copy(b, a);
	ck_assert(byte_image_fingerprint(a) == byte_image_fingerprint(b));
	byte_image_set_size(b, byte_image_size(b) + 1);
	ck_assert(byte_image_fingerprint(a) != byte_image_fingerprint(b));
	byte_image_free(a);
	byte_image_free(b);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, like_an_array);
	tcase_add_test(tcase, fingerprints);
}

int main(void)
{
	return unit_run("byte_image_undo", add);
}
