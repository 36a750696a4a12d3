/* SPDX-License-Identifier: MIT */
/*
 * Promise: QEMU and this library can write to one version 1 image in turns, and
 * what QEMU compressed or encrypted is read and replaced.
 */
#include "api_test.h"
#include "compressed_data.h"
#include "v1_model.h"

#define STEPS 25

/* One write command for qemu-io; the model has it done. */
static void plan_write(char *command, size_t size)
{
	uint64_t at = v1_below(V1_WINDOW / 512) * 512;
	size_t len = (size_t)(1 + v1_below(40)) * 512;
	uint8_t value = (uint8_t)v1_below(256);

	len = QCF_MIN(len, (size_t)(V1_WINDOW - at));
	snprintf(command, size, "write -P %u %" PRIu64 " %zu",
	         (unsigned int)value, v1.start + at, len);
	memset(v1.bytes + at, value, len);
}

static void qemu_turn(void)
{
	char image[300];
	char commands[3][64];

	for (int i = 0; i < 3; i++)
		plan_write(commands[i], sizeof(commands[i]));
	snprintf(
		image, sizeof(image), "driver=qcow,file.filename=%s%s", v1.path,
		v1.encrypted ? ",encrypt.format=aes,encrypt.key-secret=s" : "");
	ck_assert_int_eq(api_run(api_qemu_io, "--object",
	                         "secret,id=s,data=123456", "--image-opts",
	                         "-c", commands[0], "-c", commands[1], "-c",
	                         commands[2], image, NULL),
	                 0);
}

static void take_turns(bool compress)
{
	for (int turn = 0; turn < 3; turn++) {
		v1_sessions(1, 10, compress);
		qemu_turn();
	}
	v1_open_model(0);
	v1_expect();
	api_close(v1.image);
}

/* Without a backing file: with one QEMU loses the rest of large clusters. */
START_TEST(turns)
{
	v1.random = unit_random_init();
	for (uint32_t bits = 9; bits <= 16; bits++) {
		struct forged_v1 spec = {
			.cluster_bits = bits,
			.l2_bits = 6 + (bits * 3) % 8,
		};

		v1_make_window("t.qcow", &spec);
		take_turns(true);
	}
}

END_TEST

START_TEST(turns_with_encryption)
{
	char size[32];

	v1.random = unit_random_init();
	v1_start("e.qcow", 12);
	v1.encrypted = true;
	snprintf(size, sizeof(size), "%u", V1_WINDOW);
	ck_assert_int_eq(api_run(api_qemu_img, "create", "-q", "--object",
	                         "secret,id=s,data=123456", "-f", "qcow", "-o",
	                         "encrypt.format=aes,encrypt.key-secret=s",
	                         v1.path, size, NULL),
	                 0);
	take_turns(false);
}

END_TEST

/* qemu-img writes 4 KiB clusters, compressed where that makes them smaller. */
START_TEST(compressed_by_qemu)
{
	v1.random = unit_random_init();
	v1_start("c.qcow", 12);
	compressed_fill(v1.bytes, V1_WINDOW, 7);
	for (size_t i = 0; i < 20000; i++)
		v1.bytes[40000 + i] = (uint8_t)unit_random_u64(&v1.random);
	memset(v1.bytes + 80000, 0, 30000);
	api_write_file(scratch_path("c.raw"), v1.bytes, V1_WINDOW);
	/* It returns 1 although everything is written: the end mark of
	 * compressed writing fails silently in version 1. */
	(void)api_run(api_qemu_img, "convert", "-c", "-f", "raw", "-O", "qcow",
	              scratch_path("c.raw"), v1.path, NULL);
	ck_assert_uint_ne(api_get(v1.path, api_get(v1.path, 48, 8), 8) &
	                          V1_COMPRESSED,
	                  0);
	v1_open_model(0);
	v1_expect();
	api_close(v1.image);
	v1_sessions(3, STEPS, true);
}

END_TEST

static void add_tests(TCase *tcase)
{
	tcase_add_test(tcase, turns);
	tcase_add_test(tcase, turns_with_encryption);
	tcase_add_test(tcase, compressed_by_qemu);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		printf("SKIPPED: qemu-img or qemu-io is missing\n");
		return UNIT_SKIPPED;
	}
	return api_main("version_1_turns_with_qemu", add_tests, argc, argv);
}
