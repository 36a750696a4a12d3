/* SPDX-License-Identifier: MIT */
/*
 * Promise: secrets are in locked pages that core dumps leave out, and once an
 * image is closed neither the passphrase nor a key is left in memory.
 *
 * What the test itself knows of them it keeps inverted.
 */
#include <sys/resource.h>

#include "crypto_test.h"
#include "secret.h"

#define SECRET_LEN 24u

/* A passphrase, or a key, with all bits inverted. */
struct inverted {
	uint8_t bytes[QCF_MAX_CIPHER_KEY];
	size_t len;
};

static void invert(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)~from[i];
}

static bool is_here(const uint8_t *at, const struct inverted *what)
{
	size_t i = 0;

	while (i < what->len && (at[i] ^ what->bytes[i]) == 0xff)
		i++;
	return i == what->len;
}

struct region {
	uintptr_t start;
	uintptr_t end;
};

static size_t count_in(struct region region, const struct inverted *what)
{
	size_t count = 0;

	for (uintptr_t at = region.start; at + what->len <= region.end; at++)
		count += is_here((const uint8_t *)at, what) ? 1 : 0;
	return count;
}

/* Where in the writable memory of this process something is found. */
static size_t count_everywhere(const struct inverted *what)
{
	static struct region regions[4096];
	size_t region_count = 0;
	size_t count = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		struct region r;
		char mode[8];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &r.start,
		           &r.end, mode) == 3 &&
		    strncmp(mode, "rw", 2) == 0)
			regions[region_count++] = r;
		ck_assert_uint_lt(region_count, QCF_ARRAY_LEN(regions));
	}
	fclose(maps);
	for (size_t i = 0; i < region_count; i++)
		count += count_in(regions[i], what);
	return count;
}

/* ---------------------------------------------------------------- page flags */

/* Whether the region that an address is in has a flag. */
static bool has_flag(const void *at, const char *flag)
{
	uintptr_t address = (uintptr_t)at;
	bool inside = false;
	bool found = false;
	char line[512];
	FILE *smaps = fopen("/proc/self/smaps", "re");

	ck_assert_ptr_nonnull(smaps);
	while (fgets(line, sizeof(line), smaps) != NULL) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) ==
		    2)
			inside = start <= address && address < end;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = found || strstr(line, flag) != NULL;
	}
	fclose(smaps);
	return found;
}

/* A few pages: the limit on them may be zero. */
static bool can_lock(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
	       limit.rlim_cur >= 64 << 10;
}

START_TEST(secrets_are_in_pages_of_their_own)
{
	struct qcf_secret secret;

	ck_assert_int_eq(qcf_secret_copy(&secret, "abc", 3, NULL), 0);
	ck_assert_uint_eq(secret.len, 3);
	ck_assert_mem_eq(secret.bytes, "abc", 4);
	ck_assert(has_flag(secret.bytes, " dd"));
	if (can_lock())
		ck_assert(has_flag(secret.bytes, " lo"));
	qcf_secret_fini(&secret);
	ck_assert_ptr_null(secret.bytes);
	qcf_secret_fini(&secret);
	ck_assert_int_eq(qcf_secret_init(&secret, 0, NULL), 0);
	ck_assert_ptr_nonnull(secret.bytes);
	qcf_secret_fini(&secret);
	ck_assert_int_eq(qcf_secret_init(&secret, SIZE_MAX, NULL), -ENOMEM);
}

END_TEST

/* -------------------------------------------------------------------- traces */

static int64_t answer(void *opaque,
                      const struct qcowfmt_secret_request *request,
                      void *buffer, size_t room)
{
	const struct inverted *secret = opaque;

	(void)request, (void)room;
	invert(buffer, secret->bytes, secret->len);
	return (int64_t)secret->len;
}

static void make_area(const struct inverted *secret,
                      struct qcf_crypto_plan *plan)
{
	uint8_t text[SECRET_LEN];
	struct qcowfmt_encryption_options options = {
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = text,
		.secret_len = sizeof(text),
	};

	invert(text, secret->bytes, sizeof(text));
	ck_assert_int_eq(qcf_crypto_plan_init(plan, &options, NULL), 0);
	explicit_bzero(text, sizeof(text));
}

/* The master key, found out by opening the slot as the library does. */
static void find_key(const struct qcf_crypto_plan *plan,
                     const struct inverted *secret, struct inverted *key)
{
	struct qcf_luks_header h;
	uint8_t text[SECRET_LEN];
	uint8_t bytes[QCF_MAX_CIPHER_KEY];
	struct qcf_passphrase passphrase = { text, sizeof(text) };

	invert(text, secret->bytes, sizeof(text));
	ck_assert_int_eq(qcf_luks_header_decode(&h, plan->area, plan->area_len,
	                                        plan->area_len, 0, NULL),
	                 0);
	ck_assert_int_eq(qcf_luks_open_slot(&h, 0, &passphrase,
	                                    plan->area + 4096, bytes, NULL),
	                 1);
	invert(key->bytes, bytes, sizeof(bytes));
	/* Half of it is what a cipher is keyed with. */
	key->len = sizeof(bytes) / 2;
	explicit_bzero(text, sizeof(text));
	explicit_bzero(bytes, sizeof(bytes));
}

START_TEST(closed_images_leave_nothing)
{
	struct inverted secret = { .len = SECRET_LEN };
	struct inverted key;
	struct qcf_crypto_plan plan;
	struct qcf_crypto *crypto = NULL;
	struct qcf_secret_source source = { .callback = answer,
		                            .opaque = &secret };
	struct test_image image;
	uint8_t sector[512] = { 0 };

	ck_assert_int_eq(qcf_random_bytes(secret.bytes, SECRET_LEN, NULL), 0);
	make_area(&secret, &plan);
	find_key(&plan, &secret, &key);
	ck_assert_uint_eq(count_everywhere(&secret), 0);
	ck_assert_uint_eq(count_everywhere(&key), 0);
	test_image_init(&image, plan.method, plan.area, plan.area_len);
	ck_assert_int_eq(qcf_crypto_open(image.storage, &image.header,
	                                 &image.geometry, &source, &crypto,
	                                 NULL),
	                 0);
	ck_assert_int_eq(
		qcf_crypto_encrypt(crypto, sector, sector, 512, 0, 0, NULL), 0);
	/* The key is in use, the passphrase is not. */
	ck_assert_uint_gt(count_everywhere(&key), 0);
	ck_assert_uint_eq(count_everywhere(&secret), 0);
	qcf_crypto_free(crypto);
	ck_assert_uint_eq(count_everywhere(&key), 0);
	ck_assert_uint_eq(count_everywhere(&secret), 0);
	test_image_fini(&image);
	qcf_crypto_plan_fini(&plan);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, secrets_are_in_pages_of_their_own);
	tcase_add_test(tcase, closed_images_leave_nothing);
}

/* Their own memory is much too large to look through. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

int main(void)
{
	if (HAS_SANITIZER) {
		printf("SKIP: built with a sanitizer\n");
		return UNIT_SKIPPED;
	}
	return unit_run("secrets_leave_no_trace", add_tests);
}
