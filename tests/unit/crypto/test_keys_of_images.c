/* SPDX-License-Identifier: MIT */
/*
 * Promise: through the public interface, an image says how it is encrypted with
 * or without its secret, and its keys change only where that can be.
 */
#include "crypto_test.h"
#include "fail_storage.h"

static struct qcowfmt_open_options open_options(const char *secret,
                                                uint32_t flags)
{
	return (struct qcowfmt_open_options){
		.struct_size = sizeof(struct qcowfmt_open_options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = flags,
		.secret = secret,
		.secret_len = secret == NULL ? 0 : strlen(secret),
	};
}

/* Make a new image; encryption 0 for none. */
static void create_in(struct qcowfmt_storage *storage, int32_t encryption)
{
	struct qcowfmt_encryption_options e = {
		.struct_size = sizeof(e),
		.encryption = encryption,
		.iter_time_ms = encryption == QCOWFMT_ENCRYPTION_LUKS ? 1 : 0,
		.secret = "first",
		.secret_len = 5,
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 1 << 20,
		.encryption = encryption == 0 ? NULL : &e,
	};

	ck_assert_int_eq(qcowfmt_create(storage, &options, NULL), 0);
}

static struct qcowfmt_storage *create(int32_t encryption)
{
	struct qcowfmt_storage *storage = NULL;

	ck_assert_int_eq(qcowfmt_storage_new_memory(0, &storage, NULL), 0);
	create_in(storage, encryption);
	return storage;
}

static struct qcowfmt_image *open_image(struct qcowfmt_storage *storage,
                                        const char *secret, uint32_t flags)
{
	struct qcowfmt_open_options options = open_options(secret, flags);
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;

	ck_assert_msg(qcowfmt_open(storage, &options, &image, &error) == 0,
	              "%s", qcowfmt_error_message(error));
	return image;
}

static int add_key(struct qcowfmt_image *image, const char *secret)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.secret = secret,
		.secret_len = strlen(secret),
		.iter_time_ms = 1,
	};

	return qcowfmt_add_key(image, &options, NULL);
}

static int erase_key(struct qcowfmt_image *image, const char *secret)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.secret = secret,
		.secret_len = strlen(secret),
	};

	return qcowfmt_erase_key(image, &options, NULL);
}

START_TEST(images_that_are_not_encrypted_have_no_keys)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info),
		                                .uuid = "stale" };
	struct qcowfmt_image *image =
		open_image(create(0), NULL, QCOWFMT_OPEN_READ_WRITE);

	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &info, NULL), 0);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_NONE);
	ck_assert_ptr_null(info.uuid);
	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 1, &info, NULL),
	                 -ENOENT);
	ck_assert_int_eq(add_key(image, "x"), -ENOTSUP);
	ck_assert_int_eq(erase_key(image, "x"), -ENOTSUP);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

END_TEST

START_TEST(legacy_images_have_no_keys)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image =
		open_image(create(QCOWFMT_ENCRYPTION_AES), "first",
	                   QCOWFMT_OPEN_READ_WRITE);

	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &info, NULL), 0);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_AES);
	ck_assert_ptr_null(info.cipher_alg);
	ck_assert_int_eq(add_key(image, "x"), -ENOTSUP);
	ck_assert_int_eq(erase_key(image, "x"), -ENOTSUP);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

END_TEST

START_TEST(keys_need_a_writable_image)
{
	struct qcowfmt_image *image =
		open_image(create(QCOWFMT_ENCRYPTION_LUKS), "first", 0);

	ck_assert_int_eq(add_key(image, "x"), -EROFS);
	ck_assert_int_eq(erase_key(image, "first"), -EROFS);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

END_TEST

START_TEST(no_secret_is_needed_to_be_described)
{
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *image = open_image(
		create(QCOWFMT_ENCRYPTION_LUKS), NULL, QCOWFMT_OPEN_NO_DATA);

	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &info, NULL), 0);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_LUKS);
	ck_assert_str_eq(info.cipher_alg, "aes-256");
	ck_assert_int_eq(info.slots[0].active, 1);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

END_TEST

START_TEST(structures_have_sizes)
{
	struct {
		struct qcowfmt_key_options o;
		uint64_t later;
	} longer = { .o = { .struct_size = sizeof(longer), .slot = 8 },
		     .later = 1 };

	struct {
		struct qcowfmt_encryption_info info;
		uint64_t later;
	} out = { .info = { .struct_size = sizeof(out) }, .later = 1 };
	struct qcowfmt_key_options none = { 0 };
	struct qcowfmt_image *image =
		open_image(create(QCOWFMT_ENCRYPTION_LUKS), "first",
	                   QCOWFMT_OPEN_READ_WRITE);

	ck_assert_int_eq(qcowfmt_add_key(image, &longer.o, NULL), -E2BIG);
	ck_assert_int_eq(qcowfmt_erase_key(image, &longer.o, NULL), -E2BIG);
	ck_assert_int_eq(qcowfmt_add_key(image, &none, NULL), -EINVAL);
	ck_assert_int_eq(qcowfmt_add_key(image, NULL, NULL), -ENOKEY);
	ck_assert_int_eq(qcowfmt_erase_key(image, NULL, NULL), -EINVAL);
	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &out.info, NULL),
	                 0);
	ck_assert_uint_eq(out.later, 0);
	out.info.struct_size = offsetof(struct qcowfmt_encryption_info, uuid);
	out.info.uuid = "untouched";
	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &out.info, NULL),
	                 0);
	ck_assert_str_eq(out.info.uuid, "untouched");
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

END_TEST

/* The data that a flush did not make stable may be that of the guest. */
START_TEST(a_failed_flush_poisons_the_image)
{
	struct fail_plan plan = { .verbs = VERB_BIT(VERB_FLUSH), .error = EIO };
	struct qcowfmt_image *image = open_image(
		fail_storage_new(create(QCOWFMT_ENCRYPTION_LUKS), &plan),
		"first", QCOWFMT_OPEN_READ_WRITE);
	struct qcowfmt_error *error = NULL;
	uint8_t sector[512] = { 0 };

	atomic_store(&plan.calls, 0);
	plan.nth = 1;
	ck_assert_int_eq(add_key(image, "x"), -EIO);
	plan.nth = 0;
	ck_assert_int_eq(qcowfmt_pwrite(image, sector, 512, 0, &error), -EIO);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_POISONED);
	qcowfmt_error_free(error);
	ck_assert_int_eq(erase_key(image, "first"), -EIO);
	ck_assert_int_eq(qcowfmt_pread(image, sector, 512, 0, NULL), 0);
	ck_assert_int_lt(qcowfmt_close(image, NULL), 0);
}

END_TEST

/* Storage in a file, which outlives the images opened in it. */
static struct qcowfmt_storage *storage_of(FILE *file)
{
	struct qcowfmt_file_options options = { .struct_size =
		                                        sizeof(options) };
	struct qcowfmt_storage *storage = NULL;

	ck_assert_int_eq(qcowfmt_storage_from_fd(fileno(file), "disk", &options,
	                                         &storage, NULL),
	                 0);
	return storage;
}

static void assert_data(struct qcowfmt_image *image, const uint8_t *data)
{
	uint8_t back[4096];

	ck_assert_int_eq(qcowfmt_pread(image, back, sizeof(back), 8192, NULL),
	                 0);
	ck_assert_mem_eq(back, data, sizeof(back));
}

START_TEST(data_outlives_its_keys)
{
	struct qcowfmt_open_options options =
		open_options("first", QCOWFMT_OPEN_READ_WRITE);
	FILE *file = tmpfile();
	struct qcowfmt_storage *storage = storage_of(file);
	struct qcowfmt_image *image;
	uint8_t data[4096];

	create_in(storage, QCOWFMT_ENCRYPTION_LUKS);
	image = open_image(storage, "first", QCOWFMT_OPEN_READ_WRITE);
	memset(data, 0x77, sizeof(data));
	ck_assert_int_eq(qcowfmt_pwrite(image, data, sizeof(data), 8192, NULL),
	                 0);
	ck_assert_int_eq(add_key(image, "second"), 1);
	ck_assert_int_eq(erase_key(image, "first"), 0);
	assert_data(image, data);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);

	storage = storage_of(file);
	ck_assert_int_eq(qcowfmt_open(storage, &options, &image, NULL),
	                 -EKEYREJECTED);
	image = open_image(storage, "second", QCOWFMT_OPEN_READ_WRITE);
	assert_data(image, data);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
	fclose(file);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, images_that_are_not_encrypted_have_no_keys);
	tcase_add_test(tcase, legacy_images_have_no_keys);
	tcase_add_test(tcase, keys_need_a_writable_image);
	tcase_add_test(tcase, no_secret_is_needed_to_be_described);
	tcase_add_test(tcase, structures_have_sizes);
	tcase_add_test(tcase, a_failed_flush_poisons_the_image);
	tcase_add_test(tcase, data_outlives_its_keys);
}

int main(void)
{
	return unit_run("keys_of_images", add_tests);
}
