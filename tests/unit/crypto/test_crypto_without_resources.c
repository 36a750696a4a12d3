/* SPDX-License-Identifier: MIT */
/*
 * Promise: whichever request for memory, random bytes or libgcrypt's service
 * fails, once or from then on, the call says so and can be made again.
 *
 * The program is linked with --wrap for the functions below.  Each of their
 * calls fails in turn, until there is none left to fail.  Leaks are found where
 * the program is built with AddressSanitizer.
 */
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "key_disk.h"

static struct {
	uint64_t nth; /* 1 is the next call; 0 = none fails */
	bool sticky;
	uint64_t calls;
	uint64_t failures;
} faults;

static bool fails(void)
{
	if (faults.nth == 0)
		return false;
	faults.calls++;
	if (faults.calls != faults.nth &&
	    !(faults.sticky && faults.calls > faults.nth))
		return false;
	faults.failures++;
	return true;
}

/* Reserved names: the linker gives them their meaning. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
ssize_t __real_getrandom(void *bytes, size_t len, unsigned int flags);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned int flags);
void *REAL_MMAP(void *at, size_t len, int prot, int flags, int fd,
                off_t offset);
void *WRAP_MMAP(void *at, size_t len, int prot, int flags, int fd,
                off_t offset);
gcry_error_t __real_gcry_cipher_open(gcry_cipher_hd_t *hd, int algo, int mode,
                                     unsigned int flags);
gcry_error_t __wrap_gcry_cipher_open(gcry_cipher_hd_t *hd, int algo, int mode,
                                     unsigned int flags);
gcry_error_t __real_gcry_md_open(gcry_md_hd_t *hd, int algo,
                                 unsigned int flags);
gcry_error_t __wrap_gcry_md_open(gcry_md_hd_t *hd, int algo,
                                 unsigned int flags);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned int flags)
{
	errno = ENOSYS;
	return fails() ? -1 : __real_getrandom(bytes, len, flags);
}

void *WRAP_MMAP(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED
	               : REAL_MMAP(at, len, prot, flags, fd, offset);
}

gcry_error_t __wrap_gcry_cipher_open(gcry_cipher_hd_t *hd, int algo, int mode,
                                     unsigned int flags)
{
	*hd = NULL;
	return fails() ? gcry_error(GPG_ERR_ENOMEM)
	               : __real_gcry_cipher_open(hd, algo, mode, flags);
}

gcry_error_t __wrap_gcry_md_open(gcry_md_hd_t *hd, int algo, unsigned int flags)
{
	*hd = NULL;
	return fails() ? gcry_error(GPG_ERR_ENOMEM)
	               : __real_gcry_md_open(hd, algo, flags);
}

/* --------------------------------------------------------------------- calls */

static int plan(struct key_disk *disk, struct qcowfmt_error **errp)
{
	struct qcowfmt_encryption_options options = {
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = "x",
		.secret_len = 1,
		.cipher_mode = "cbc",
		.ivgen_alg = "essiv",
	};
	struct qcf_crypto_plan made;
	int ret = qcf_crypto_plan_init(&made, &options, errp);

	(void)disk;
	if (ret == 0)
		qcf_crypto_plan_fini(&made);
	return ret;
}

static int unlock(struct key_disk *disk, struct qcowfmt_error **errp)
{
	struct qcf_crypto *crypto = NULL;
	int ret = test_image_unlock(&disk->image, "first", &crypto, errp);

	qcf_crypto_free(crypto);
	return ret;
}

static int64_t answer(void *opaque,
                      const struct qcowfmt_secret_request *request,
                      void *buffer, size_t room)
{
	(void)opaque, (void)request, (void)room;
	memcpy(buffer, "first", 5);
	return 5;
}

static int unlock_legacy(struct key_disk *disk, struct qcowfmt_error **errp)
{
	struct qcf_secret_source source = { .callback = answer };
	struct qcf_header header = { .crypt_method = QCOWFMT_ENCRYPTION_AES };
	struct qcf_crypto *crypto = NULL;
	int ret =
		qcf_crypto_open(disk->image.storage, &header,
	                        &disk->image.geometry, &source, &crypto, errp);

	qcf_crypto_free(crypto);
	return ret;
}

static int add(struct key_disk *disk, struct qcowfmt_error **errp)
{
	struct qcowfmt_key_options options = key_options(-1, "second", 0);

	options.iter_time_ms = 1;
	return qcf_crypto_add_key(disk->crypto, disk->image.storage,
	                          &disk->poison, &options, errp);
}

/* Of the two keys of a disk. */
static int erase(struct key_disk *disk, struct qcowfmt_error **errp)
{
	struct qcowfmt_key_options options = key_options(-1, "second", 0);

	return qcf_crypto_erase_key(disk->crypto, disk->image.storage,
	                            &disk->poison, &options, errp);
}

static const struct {
	int (*call)(struct key_disk *disk, struct qcowfmt_error **errp);
	bool two_keys; /* before */
} calls[] = {
	{ plan, false }, { unlock, false }, { unlock_legacy, false },
	{ add, false },  { erase, true },
};

/* A disk in storage of the library: that of the test gives up without memory. */
static void init_disk(struct key_disk *disk)
{
	struct qcowfmt_storage *memory = NULL;

	key_disk_init(disk);
	ck_assert_int_eq(qcowfmt_storage_new_memory(0, &memory, NULL), 0);
	ck_assert_int_eq(
		qcf_storage_pwrite(
			memory, byte_image_bytes(disk->log->now[REC_IMAGE]),
			byte_image_size(disk->log->now[REC_IMAGE]), 0, NULL),
		0);
	qcowfmt_storage_free(disk->image.storage);
	disk->image.storage = memory;
}

/* False if the call has fewer requests than that. */
static bool fail_nth(size_t index, uint64_t nth, bool sticky)
{
	struct qcowfmt_error *error = NULL;
	struct key_disk disk;
	int ret;

	init_disk(&disk);
	if (calls[index].two_keys)
		ck_assert_int_eq(add_key(&disk, 1, "second", 0), 1);
	faults.calls = 0;
	faults.failures = 0;
	faults.sticky = sticky;
	faults.nth = nth;
	ret = calls[index].call(&disk, &error);
	faults.nth = 0;

	bool reached = faults.failures > 0;

	ck_assert_msg((ret < 0) == reached,
	              "call %zu, fault %" PRIu64 ": %d, %s", index, nth, ret,
	              qcowfmt_error_message(error));
	ck_assert((error != NULL) == reached);
	if (reached)
		ck_assert(ret == -ENOMEM || ret == -ENOSYS);
	qcowfmt_error_free(error);
	ck_assert(key_opens(&disk, NULL, "first"));
	/* The state of a slot may be on storage already. */
	if (reached && !calls[index].two_keys)
		ck_assert_int_ge(calls[index].call(&disk, NULL), 0);
	key_disk_fini(&disk);
	return reached;
}

START_TEST(calls_fail_and_succeed_again)
{
	for (int sticky = 0; sticky < 2; sticky++) {
		uint64_t nth = 1;

		while (fail_nth((size_t)_i, nth, sticky == 1))
			nth++;
		printf("%d: %" PRIu64 " requests\n", _i, nth - 1);
		ck_assert_uint_gt(nth, 3);
	}
}

END_TEST

/* Where libgcrypt is linked statically its own requests fail, too. */
START_TEST(libgcrypt_starts_later)
{
	struct qcowfmt_error *error = NULL;

	faults.calls = 0;
	faults.sticky = true;
	faults.nth = 1;

	int ret = qcf_crypt_lib_init(&error);

	faults.nth = 0;
	ck_assert_int_eq(ret, -ENOMEM);
	ck_assert_int_eq(qcowfmt_error_code(error), QCOWFMT_ERR_NO_MEMORY);
	qcowfmt_error_free(error);
	ck_assert_int_eq(qcf_crypt_lib_init(NULL), 0);
}

END_TEST

/* More threads than handles would open one more. */
START_TEST(ciphers_without_handles_fail)
{
	static const struct qcf_cipher_spec spec = { "aes", "cbc", "essiv",
		                                     "sha256", 32 };
	struct qcf_cipher *cipher = NULL;
	uint8_t key[32] = { 0 };

	ck_assert_int_eq(qcf_crypt_lib_init(NULL), 0);
	for (uint64_t nth = 1; nth <= 6; nth++) {
		faults.calls = 0;
		faults.nth = nth;
		ck_assert_int_eq(qcf_cipher_new(&spec, key, &cipher, NULL),
		                 -ENOMEM);
		faults.nth = 0;
		ck_assert_ptr_null(cipher);
	}
	ck_assert_int_eq(qcf_cipher_new(&spec, key, &cipher, NULL), 0);
	qcf_cipher_free(cipher);
}

END_TEST

static void add_tests(TCase *tcase)
{
	/* First, for a process that is not forked for each. */
	tcase_add_test(tcase, libgcrypt_starts_later);
	tcase_add_loop_test(tcase, calls_fail_and_succeed_again, 0,
	                    (int)QCF_ARRAY_LEN(calls));
	tcase_add_test(tcase, ciphers_without_handles_fail);
}

int main(void)
{
	return unit_run("crypto_without_resources", add_tests);
}
