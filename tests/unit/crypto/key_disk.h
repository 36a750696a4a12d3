/* SPDX-License-Identifier: MIT */
/*
 * key_disk.h - a LUKS area in recorded storage, whose keys a test changes
 *
 * The area is the smallest there is, and keys take the fewest iterations.
 */
#ifndef QCF_KEY_DISK_H
#define QCF_KEY_DISK_H

#include "crypto_test.h"
#include "fail_storage.h"
#include "image_storage.h"
#include "rec_storage.h"

struct key_disk {
	struct rec_log *log;
	struct fail_plan plan;
	struct test_image image;
	struct qcf_poison poison;
	struct qcf_crypto *crypto; /* unlocked with "first" */
};

static inline void key_disk_init(struct key_disk *disk)
{
	struct qcowfmt_encryption_options options = {
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = "first",
		.secret_len = 5,
		.cipher_alg = "aes-128",
		.cipher_mode = "cbc",
	};
	struct qcf_crypto_plan plan;
	struct qcowfmt_storage *memory;

	*disk = (struct key_disk){ 0 };
	ck_assert_int_eq(qcf_crypto_plan_init(&plan, &options, NULL), 0);
	test_image_init(&disk->image, plan.method, plan.area, plan.area_len);
	memory = disk->image.storage;
	disk->log = rec_log_new(AREA_OFFSET + plan.area_len);
	disk->image.storage =
		fail_storage_new(rec_storage_new(disk->log), &disk->plan);
	ck_assert_int_eq(qcf_storage_pwrite(disk->image.storage, plan.area,
	                                    plan.area_len, AREA_OFFSET, NULL),
	                 0);
	rec_log_restart(disk->log);
	qcowfmt_storage_free(memory);
	qcf_crypto_plan_fini(&plan);
	qcf_poison_init(&disk->poison);
	ck_assert_int_eq(
		test_image_unlock(&disk->image, "first", &disk->crypto, NULL),
		0);
}

static inline void key_disk_fini(struct key_disk *disk)
{
	qcf_crypto_free(disk->crypto);
	qcf_poison_fini(&disk->poison);
	test_image_fini(&disk->image);
	rec_log_free(disk->log);
}

/* slot -1: none given; secret NULL: none given. */
static inline struct qcowfmt_key_options key_options(int slot,
                                                     const char *secret,
                                                     uint32_t flags)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.flags = flags,
		.secret = secret,
		.secret_len = secret == NULL ? 0 : strlen(secret),
	};

	if (slot >= 0) {
		options.flags |= QCOWFMT_KEY_SLOT;
		options.slot = (uint32_t)slot;
	}
	return options;
}

static inline int add_key(struct key_disk *disk, int slot, const char *secret,
                          uint32_t flags)
{
	struct qcowfmt_key_options options = key_options(slot, secret, flags);

	options.iter_time_ms = 1;
	return qcf_crypto_add_key(disk->crypto, disk->image.storage,
	                          &disk->poison, &options, NULL);
}

static inline int erase_key(struct key_disk *disk, int slot, const char *secret,
                            uint32_t flags)
{
	struct qcowfmt_key_options options = key_options(slot, secret, flags);

	return qcf_crypto_erase_key(disk->crypto, disk->image.storage,
	                            &disk->poison, &options, NULL);
}

/*
 * Whether a secret opens what the disk holds, or other bytes of it, and gives
 * the key that the disk was unlocked with.
 */
static inline bool key_opens(struct key_disk *disk, struct byte_image *bytes,
                             const char *secret)
{
	struct test_image image = disk->image;
	struct qcf_crypto *crypto = NULL;
	uint8_t ours[512] = { 0 };
	uint8_t theirs[512] = { 0 };
	int ret;

	image.header.extensions = &image.extension;
	image.extension.data = image.pointer;
	if (bytes != NULL)
		image.storage = image_storage_new(bytes, false);
	ret = test_image_unlock(&image, secret, &crypto, NULL);
	if (bytes != NULL)
		qcowfmt_storage_free(image.storage);
	if (ret < 0) {
		ck_assert_int_eq(ret, -EKEYREJECTED);
		return false;
	}
	ck_assert_int_eq(
		qcf_crypto_encrypt(disk->crypto, ours, ours, 512, 0, 0, NULL),
		0);
	ck_assert_int_eq(
		qcf_crypto_encrypt(crypto, theirs, theirs, 512, 0, 0, NULL), 0);
	ck_assert_mem_eq(ours, theirs, 512);
	qcf_crypto_free(crypto);
	return true;
}

#endif
