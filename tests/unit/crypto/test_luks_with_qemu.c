/* SPDX-License-Identifier: MIT */
/*
 * Promise: what this library encrypts QEMU reads, and the other way round, for
 * every cipher, mode, IV generator and hash that both have.
 *
 * Each cipher meets each mode, and IV generators and hashes take turns.  With
 * QCF_LONG in the environment everything meets everything.  Images made by
 * QEMU are fewer: it takes seconds for each.
 */
#include <sys/wait.h>

#include "crypto_test.h"
#include "scratch.h"

#define SECRET     "correct horse"
#define HALF       65536u
#define IMAGE_SIZE (UINT64_C(4) << 20)

static const char *const algs[] = {
	"aes-128",     "aes-192",     "aes-256",
	"serpent-128", "serpent-192", "serpent-256",
	"twofish-128", "twofish-256", "cast5-128",
};
static const char *const modes[] = { "ecb", "cbc", "xts", "ctr" };
static const char *const ivs[] = { "plain", "plain64", "essiv:md5",
	                           "essiv:sha256" };
static const char *const hashes[] = { "md5",    "sha1",   "sha224",   "sha256",
	                              "sha384", "sha512", "ripemd160" };

struct combination {
	const char *alg;
	const char *mode;
	char ivgen[16];
	const char *ivgen_hash; /* NULL = none */
	const char *hash;
};

static bool is_possible(const char *alg, const char *mode, const char *iv)
{
	bool cast5 = strncmp(alg, "cast5", 5) == 0;
	bool xts = strcmp(mode, "xts") == 0;

	if (strstr(alg, "192") != NULL && !xts)
		return false;
	return !cast5 || (!xts && strcmp(iv, "essiv:sha256") != 0);
}

static struct combination make(const char *alg, const char *mode,
                               const char *iv, const char *hash)
{
	struct combination c = { alg, mode, "", NULL, hash };
	const char *colon = strchr(iv, ':');
	size_t len = colon == NULL ? strlen(iv) : (size_t)(colon - iv);

	memcpy(c.ivgen, iv, len);
	c.ivgen_hash = colon == NULL ? NULL : colon + 1;
	return c;
}

static bool is_long(void)
{
	return getenv("QCF_LONG") != NULL;
}

/* Each cipher with each mode, or also with each IV generator and hash. */
static unsigned int visit_all(bool everything,
                              void (*visit)(const struct combination *))
{
	unsigned int count = 0;

	for (size_t i = 0; i < 9 * 4 * 4 * 7; i++) {
		size_t alg = i / 7 / 16;
		size_t mode = i / 7 / 4 % 4;
		size_t iv = i / 7 % 4;
		struct combination c =
			make(algs[alg], modes[mode], ivs[iv], hashes[i % 7]);

		if (!is_possible(algs[alg], modes[mode], ivs[iv]))
			continue;
		if (!everything &&
		    (iv != (alg + mode) % 4 || i % 7 != (alg * 4 + mode) % 7))
			continue;
		visit(&c);
		count++;
	}
	return count;
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_qemu_io(const char *path, const char *commands,
                           const char *format)
{
	char command[2048];

	snprintf(command, sizeof(command),
	         QEMU_IO " --object secret,id=s,data='" SECRET
	                 "' %s --image-opts driver=qcow2,file.filename=%s,"
	                 "encrypt.format=%s,encrypt.key-secret=s "
	                 ">%s 2>&1",
	         commands, path, format, scratch_path("output"));
	ck_assert_msg(run(command) == 0, "failed: %s", command);
	snprintf(command, sizeof(command), "grep -qi 'failed\\|error' %s",
	         scratch_path("output"));
	ck_assert_int_ne(run(command), 0);
}

static struct qcowfmt_image *open_image(const char *path, bool writable)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.format = QCOWFMT_FORMAT_QCOW2,
		.flags = writable ? QCOWFMT_OPEN_READ_WRITE : 0,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_open_file(path, &options, &image, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
	return image;
}

static void write_pattern(const char *path, int byte, uint64_t offset)
{
	static uint8_t data[HALF];
	struct qcowfmt_image *image = open_image(path, true);

	memset(data, byte, sizeof(data));
	ck_assert_int_eq(
		qcowfmt_pwrite(image, data, sizeof(data), offset, NULL), 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void assert_pattern(const char *path, int byte, uint64_t offset)
{
	static uint8_t data[HALF];
	static uint8_t want[HALF];
	struct qcowfmt_image *image = open_image(path, false);

	memset(want, byte, sizeof(want));
	ck_assert_int_eq(qcowfmt_pread(image, data, sizeof(data), offset, NULL),
	                 0);
	ck_assert_mem_eq(data, want, sizeof(data));
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* ------------------------------------------------------------ images of ours */

static void create_ours(const char *path, const struct combination *c)
{
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_LUKS,
		.iter_time_ms = 1,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = IMAGE_SIZE,
		.encryption = &encryption,
	};
	struct qcowfmt_error *error = NULL;

	if (c != NULL) {
		encryption.cipher_alg = c->alg;
		encryption.cipher_mode = c->mode;
		encryption.ivgen_alg = c->ivgen;
		encryption.ivgen_hash_alg = c->ivgen_hash;
		encryption.hash_alg = c->hash;
	}
	int ret = qcowfmt_create_file(path, &options, &error);

	ck_assert_msg(ret == 0, "%s", qcowfmt_error_message(error));
}

static void try_ours(const struct combination *c)
{
	const char *path = scratch_path("ours.qcow2");

	create_ours(path, c);
	write_pattern(path, 0x5a, 0);
	assert_qemu_io(path,
	               "-c 'read -P 0x5a 0 64k' -c 'read -P 0 64k 64k' "
	               "-c 'write -P 0xa5 128k 64k' -c 'write -P 1 1536 1k'",
	               "luks");
	assert_pattern(path, 0xa5, 128 << 10);
	assert_pattern(path, 0, 64 << 10);
}

START_TEST(qemu_reads_and_writes_images_of_ours)
{
	unsigned int count = visit_all(is_long(), try_ours);

	printf("%u combinations\n", count);
	fflush(stdout);
	ck_assert_uint_eq(count, is_long() ? 113 * 7 : 28);
}

END_TEST

/* --------------------------------------------------------- images of qemu-img */

/* qemu-img measures its speed and sometimes cannot: then it says so. */
static void create_theirs(const char *path, const struct combination *c)
{
	char command[2048];
	int ret = -1;

	snprintf(command, sizeof(command),
	         QEMU_IMG
	         " create -q --object secret,id=s,data='" SECRET
	         "' -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,"
	         "encrypt.iter-time=10,encrypt.cipher-alg=%s,"
	         "encrypt.cipher-mode=%s,encrypt.ivgen-alg=%s,%s%s%s"
	         "encrypt.hash-alg=%s %s 4M 2>%s",
	         c->alg, c->mode, c->ivgen,
	         c->ivgen_hash == NULL ? "" : "encrypt.ivgen-hash-alg=",
	         c->ivgen_hash == NULL ? "" : c->ivgen_hash,
	         c->ivgen_hash == NULL ? "" : ",", c->hash, path,
	         scratch_path("output"));
	for (int i = 0; ret != 0 && i < 10; i++)
		ret = run(command);
	ck_assert_msg(ret == 0, "failed: %s", command);
}

static void assert_info(const char *path, const struct combination *c)
{
	struct qcowfmt_image *image = open_image(path, false);
	struct qcowfmt_encryption_info info = { .struct_size = sizeof(info) };

	ck_assert_int_eq(qcowfmt_get_encryption_info(image, 0, &info, NULL), 0);
	ck_assert_int_eq(info.encryption, QCOWFMT_ENCRYPTION_LUKS);
	ck_assert_str_eq(info.cipher_alg, c->alg);
	ck_assert_str_eq(info.cipher_mode, c->mode);
	ck_assert_str_eq(info.ivgen_alg, c->ivgen);
	ck_assert_pstr_eq(info.ivgen_hash_alg, c->ivgen_hash);
	ck_assert_str_eq(info.hash_alg, c->hash);
	ck_assert_uint_eq(strlen(info.uuid), 36);
	ck_assert_int_eq(info.slots[0].active, 1);
	ck_assert_uint_ge(info.slots[0].iterations, 1000);
	ck_assert_uint_eq(info.slots[0].stripes, 4000);
	ck_assert_uint_eq(info.slots[0].key_offset, 4096);
	ck_assert_int_eq(info.slots[1].active, 0);
	ck_assert_uint_eq(info.slots[1].iterations, 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

static void try_theirs(const struct combination *c)
{
	const char *path = scratch_path("theirs.qcow2");

	create_theirs(path, c);
	assert_info(path, c);
	assert_qemu_io(path, "-c 'write -P 0x5a 0 64k'", "luks");
	assert_pattern(path, 0x5a, 0);
	assert_pattern(path, 0, 64 << 10);
	write_pattern(path, 0xa5, 128 << 10);
	assert_qemu_io(path,
	               "-c 'read -P 0xa5 128k 64k' -c 'read -P 0x5a 0 64k'",
	               "luks");
}

START_TEST(we_read_and_write_images_of_qemu)
{
	struct combination c = make("aes-256", "xts", "plain64", "sha256");

	if (is_long()) {
		visit_all(false, try_theirs);
		return;
	}
	try_theirs(&c);
	c = make("twofish-128", "cbc", "essiv:sha256", "sha1");
	try_theirs(&c);
}

END_TEST

/* -------------------------------------------------------------------- others */

START_TEST(legacy_aes)
{
	const char *path = scratch_path("aes.qcow2");
	struct qcowfmt_encryption_options encryption = {
		.struct_size = sizeof(encryption),
		.encryption = QCOWFMT_ENCRYPTION_AES,
		.secret = SECRET,
		.secret_len = strlen(SECRET),
	};
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = IMAGE_SIZE,
		.encryption = &encryption,
	};

	ck_assert_int_eq(qcowfmt_create_file(path, &options, NULL), 0);
	write_pattern(path, 0x5a, 65536);
	assert_qemu_io(path,
	               "-c 'read -P 0x5a 64k 64k' -c 'write -P 0xa5 1M 64k'",
	               "aes");
	assert_pattern(path, 0xa5, 1 << 20);
}

END_TEST

static void change_key(const char *path, bool add, const char *secret)
{
	struct qcowfmt_key_options options = {
		.struct_size = sizeof(options),
		.secret = secret,
		.secret_len = strlen(secret),
		.iter_time_ms = add ? 1 : 0,
	};
	struct qcowfmt_image *image = open_image(path, true);
	int ret = add ? qcowfmt_add_key(image, &options, NULL)
	              : qcowfmt_erase_key(image, &options, NULL);

	ck_assert_int_eq(ret, add ? 1 : 0);
	ck_assert_int_eq(qcowfmt_close(image, NULL), 0);
}

/* An image whose first key is not the one that QEMU is given. */
START_TEST(qemu_opens_with_keys_we_added)
{
	const char *path = scratch_path("keys.qcow2");
	char command[1024];

	create_ours(path, NULL);
	write_pattern(path, 0x5a, 0);
	change_key(path, true, "second");
	snprintf(command, sizeof(command),
	         QEMU_IO " --object secret,id=s,data=second "
	                 "-c 'read -P 0x5a 0 64k' --image-opts "
	                 "driver=qcow2,file.filename=%s,encrypt.format=luks,"
	                 "encrypt.key-secret=s >/dev/null 2>&1",
	         path);
	ck_assert_int_eq(run(command), 0);
	change_key(path, false, "second");
	ck_assert_int_ne(run(command), 0);
	assert_qemu_io(path, "-c 'read -P 0x5a 0 64k'", "luks");
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_set_timeout(tcase, is_long() ? 0 : 100);
	tcase_add_test(tcase, qemu_reads_and_writes_images_of_ours);
	tcase_add_test(tcase, we_read_and_write_images_of_qemu);
	tcase_add_test(tcase, legacy_aes);
	tcase_add_test(tcase, qemu_opens_with_keys_we_added);
}

int main(void)
{
	int status;

	if (QEMU_IO[0] == '\0' || QEMU_IMG[0] == '\0') {
		printf("SKIP: qemu-io or qemu-img is missing\n");
		return UNIT_SKIPPED;
	}
	scratch_init();
	status = unit_run("luks_with_qemu", add_tests);
	scratch_fini();
	return status;
}
