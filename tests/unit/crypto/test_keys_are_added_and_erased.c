/* SPDX-License-Identifier: MIT */
/*
 * Promise: keys go to the slot they are meant for, those that are erased open
 * nothing any more, and no key is lost without force.
 */
#include <pthread.h>

#include "key_disk.h"

static uint32_t active_slots(struct key_disk *disk)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	uint32_t set = 0;

	qcf_crypto_describe(disk->crypto, &info);
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++)
		set |= (uint32_t)info.slots[i].active << i;
	return set;
}

START_TEST(keys_go_to_the_first_free_slot)
{
	struct key_disk disk;

	key_disk_init(&disk);
	ck_assert_int_eq(add_key(&disk, -1, "second", 0), 1);
	ck_assert_int_eq(add_key(&disk, 5, "fifth", 0), 5);
	ck_assert_int_eq(add_key(&disk, -1, "third", 0), 2);
	ck_assert_uint_eq(active_slots(&disk), 0x27);
	ck_assert(key_opens(&disk, NULL, "first"));
	ck_assert(key_opens(&disk, NULL, "second"));
	ck_assert(key_opens(&disk, NULL, "third"));
	ck_assert(key_opens(&disk, NULL, "fifth"));
	ck_assert(!key_opens(&disk, NULL, "fourth"));
	ck_assert_int_eq(erase_key(&disk, 1, NULL, 0), 0);
	ck_assert(!key_opens(&disk, NULL, "second"));
	ck_assert_int_eq(add_key(&disk, -1, "", 0), 1);
	ck_assert(key_opens(&disk, NULL, ""));
	key_disk_fini(&disk);
}

END_TEST

START_TEST(slots_run_out)
{
	struct key_disk disk;
	char secret[] = "0";

	key_disk_init(&disk);
	for (int i = 1; i < 8; i++) {
		secret[0] = (char)('0' + i);
		ck_assert_int_eq(add_key(&disk, -1, secret, 0), i);
	}
	ck_assert_int_eq(add_key(&disk, -1, "more", 0), -ENOSPC);
	ck_assert_int_eq(add_key(&disk, -1, "more", QCOWFMT_KEY_FORCE),
	                 -ENOSPC);
	ck_assert_int_eq(add_key(&disk, 6, "more", QCOWFMT_KEY_FORCE), 6);
	ck_assert(key_opens(&disk, NULL, "more"));
	ck_assert(!key_opens(&disk, NULL, "6"));
	ck_assert(key_opens(&disk, NULL, "7"));
	key_disk_fini(&disk);
}

END_TEST

START_TEST(used_slots_are_replaced_by_force)
{
	struct key_disk disk;

	key_disk_init(&disk);
	ck_assert_int_eq(add_key(&disk, 0, "new", 0), -EEXIST);
	ck_assert(key_opens(&disk, NULL, "first"));
	ck_assert_int_eq(add_key(&disk, 0, "new", QCOWFMT_KEY_FORCE), 0);
	ck_assert_uint_eq(active_slots(&disk), 1);
	ck_assert(key_opens(&disk, NULL, "new"));
	ck_assert(!key_opens(&disk, NULL, "first"));
	key_disk_fini(&disk);
}

END_TEST

START_TEST(the_last_key_is_erased_by_force)
{
	struct key_disk disk;

	key_disk_init(&disk);
	ck_assert_int_eq(erase_key(&disk, 0, NULL, 0), -EPERM);
	ck_assert_int_eq(erase_key(&disk, -1, "first", 0), -EPERM);
	/* The same secret twice is still all there is. */
	ck_assert_int_eq(add_key(&disk, 3, "first", 0), 3);
	ck_assert_int_eq(erase_key(&disk, -1, "first", 0), -EPERM);
	ck_assert_uint_eq(active_slots(&disk), 9);
	ck_assert_int_eq(erase_key(&disk, -1, "first", QCOWFMT_KEY_FORCE), 0);
	ck_assert_uint_eq(active_slots(&disk), 0);
	ck_assert(!key_opens(&disk, NULL, "first"));
	ck_assert_int_eq(erase_key(&disk, 0, NULL, QCOWFMT_KEY_FORCE), -ENOENT);
	/* Whoever has it open can still add one. */
	ck_assert_int_eq(add_key(&disk, -1, "saved", 0), 0);
	ck_assert(key_opens(&disk, NULL, "saved"));
	key_disk_fini(&disk);
}

END_TEST

START_TEST(secrets_erase_every_slot_they_open)
{
	struct key_disk disk;

	key_disk_init(&disk);
	ck_assert_int_eq(add_key(&disk, 2, "twice", 0), 2);
	ck_assert_int_eq(add_key(&disk, 7, "twice", 0), 7);
	ck_assert_int_eq(erase_key(&disk, -1, "other", 0), -EKEYREJECTED);
	ck_assert_int_eq(erase_key(&disk, 0, "twice", 0), -EKEYREJECTED);
	ck_assert_int_eq(erase_key(&disk, 4, NULL, 0), -ENOENT);
	ck_assert_uint_eq(active_slots(&disk), 0x85);
	ck_assert_int_eq(erase_key(&disk, 2, "twice", 0), 0);
	ck_assert_uint_eq(active_slots(&disk), 0x81);
	ck_assert_int_eq(add_key(&disk, 2, "twice", 0), 2);
	ck_assert_int_eq(erase_key(&disk, -1, "twice", 0), 0);
	ck_assert_uint_eq(active_slots(&disk), 1);
	ck_assert(!key_opens(&disk, NULL, "twice"));
	ck_assert(key_opens(&disk, NULL, "first"));
	key_disk_fini(&disk);
}

END_TEST

/* Neither the salt nor any stripe of an erased key is left. */
START_TEST(erased_key_material_is_gone)
{
	struct key_disk disk;
	const uint8_t *now;
	size_t at = AREA_OFFSET + (8 + 3 * 128) * 512;
	size_t slot = AREA_OFFSET + qcf_luks_slot_offset(3);
	uint8_t *material = malloc(64000);

	key_disk_init(&disk);
	ck_assert_int_eq(add_key(&disk, 3, "short-lived", 0), 3);
	now = byte_image_bytes(disk.log->now[REC_IMAGE]);
	memcpy(material, now + at, 64000);
	ck_assert_int_eq(erase_key(&disk, 3, NULL, 0), 0);
	now = byte_image_bytes(disk.log->now[REC_IMAGE]);
	for (size_t i = 0; i < 64000; i += 16)
		ck_assert_mem_ne(now + at + i, material + i, 16);
	for (size_t i = 4; i < 40; i++)
		ck_assert_uint_eq(now[slot + i], 0);
	free(material);
	key_disk_fini(&disk);
}

END_TEST

static int error_of(struct key_disk *disk, bool add,
                    const struct qcowfmt_key_options *options, int *code)
{
	struct qcowfmt_error *error = NULL;
	int ret = (add ? qcf_crypto_add_key : qcf_crypto_erase_key)(
		disk->crypto, disk->image.storage, &disk->poison, options,
		&error);

	*code = qcowfmt_error_code(error);
	qcowfmt_error_free(error);
	return ret;
}

START_TEST(options_that_make_no_sense_are_refused)
{
	static const char text[QCOWFMT_MAX_SECRET + 1];
	struct qcowfmt_key_options o;
	struct key_disk disk;
	int code;

	key_disk_init(&disk);
	for (int add = 0; add < 2; add++) {
		o = key_options(8, "x", 0);
		ck_assert_int_eq(error_of(&disk, add, &o, &code), -EINVAL);
		o = key_options(1, "x", 4);
		ck_assert_int_eq(error_of(&disk, add, &o, &code), -EINVAL);
		o = key_options(-1, "x", 0);
		o.slot = 1;
		ck_assert_int_eq(error_of(&disk, add, &o, &code), -EINVAL);
		o = key_options(-1, text, 0);
		o.secret_len = sizeof(text);
		ck_assert_int_eq(error_of(&disk, add, &o, &code), -EINVAL);
		ck_assert_int_eq(code, QCOWFMT_ERR_USAGE);
	}
	o = key_options(-1, NULL, 0);
	ck_assert_int_eq(error_of(&disk, true, &o, &code), -ENOKEY);
	ck_assert_int_eq(code, QCOWFMT_ERR_NO_SECRET);
	ck_assert_int_eq(error_of(&disk, false, &o, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_USAGE);
	o = key_options(-1, "first", 0);
	o.iter_time_ms = 1;
	ck_assert_int_eq(error_of(&disk, false, &o, &code), -EINVAL);
	o = key_options(-1, "endless", 0);
	o.iter_time_ms = UINT32_MAX;
	ck_assert_int_eq(error_of(&disk, true, &o, &code), -EINVAL);
	ck_assert_int_eq(code, QCOWFMT_ERR_LIMIT);
	ck_assert_uint_eq(active_slots(&disk), 1);
	ck_assert_uint_eq(disk.log->count, 0);
	key_disk_fini(&disk);
}

END_TEST

START_TEST(only_unlocked_luks_images_have_keys)
{
	struct qcowfmt_key_options o = key_options(-1, "x", 0);
	struct key_disk disk;
	int code;

	key_disk_init(&disk);
	qcf_crypto_free(disk.crypto);
	ck_assert_int_eq(qcf_crypto_open(disk.image.storage, &disk.image.header,
	                                 &disk.image.geometry, NULL,
	                                 &disk.crypto, NULL),
	                 0);
	ck_assert_int_eq(error_of(&disk, true, &o, &code), -ENOKEY);
	ck_assert_int_eq(error_of(&disk, false, &o, &code), -ENOKEY);
	ck_assert_int_eq(code, QCOWFMT_ERR_NO_SECRET);
	qcf_crypto_free(disk.crypto);
	disk.image.header.crypt_method = QCOWFMT_ENCRYPTION_AES;
	ck_assert_int_eq(
		test_image_unlock(&disk.image, "x", &disk.crypto, NULL), 0);
	ck_assert_int_eq(error_of(&disk, true, &o, &code), -ENOTSUP);
	ck_assert_int_eq(error_of(&disk, false, &o, &code), -ENOTSUP);
	ck_assert_int_eq(code, QCOWFMT_ERR_UNSUPPORTED);
	key_disk_fini(&disk);
}

END_TEST

static void *add_in_thread(void *opaque)
{
	ck_assert_int_ge(add_key(opaque, -1, "many", 0), 1);
	return NULL;
}

/* Threads that add keys at once each get a slot, others may look meanwhile. */
START_TEST(threads_get_slots_of_their_own)
{
	struct key_disk disk;
	pthread_t threads[7];

	key_disk_init(&disk);
	for (size_t i = 0; i < 7; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, add_in_thread, &disk),
			0);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(active_slots(&disk) & 1, 1);
	for (size_t i = 0; i < 7; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(active_slots(&disk), 0xff);
	ck_assert_int_eq(erase_key(&disk, -1, "many", 0), 0);
	ck_assert_uint_eq(active_slots(&disk), 1);
	key_disk_fini(&disk);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, keys_go_to_the_first_free_slot);
	tcase_add_test(tcase, slots_run_out);
	tcase_add_test(tcase, used_slots_are_replaced_by_force);
	tcase_add_test(tcase, the_last_key_is_erased_by_force);
	tcase_add_test(tcase, secrets_erase_every_slot_they_open);
	tcase_add_test(tcase, erased_key_material_is_gone);
	tcase_add_test(tcase, options_that_make_no_sense_are_refused);
	tcase_add_test(tcase, only_unlocked_luks_images_have_keys);
	tcase_add_test(tcase, threads_get_slots_of_their_own);
}

int main(void)
{
	return unit_run("keys_are_added_and_erased", add_tests);
}
