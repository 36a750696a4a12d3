/* SPDX-License-Identifier: MIT */
/*
 * Promise: a block device works as storage: it has a size, keeps it, and is
 * read, written, zeroed and discarded like a file.
 *
 * Needs a loop device, and so root.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/loop.h>

#include "storage_test.h"

#define DEVICE_SIZE (4u << 20)

static char device[64];
static int device_fd = -1;

static bool attach(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int file = open(scratch_path("backing"), O_RDWR | O_CREAT | O_CLOEXEC,
	                0600);

	if (control >= 0)
		close(control);
	if (number < 0 || file < 0 || ftruncate(file, DEVICE_SIZE) < 0)
		return false;
	snprintf(device, sizeof(device), "/dev/loop%d", number);
	device_fd = open(device, O_RDWR | O_CLOEXEC);

	bool done = device_fd >= 0 && ioctl(device_fd, LOOP_SET_FD, file) == 0;

	close(file);
	return done;
}

static void detach(void)
{
	ioctl(device_fd, LOOP_CLR_FD);
	close(device_fd);
}

static struct qcowfmt_storage *open_device(uint32_t flags)
{
	struct qcowfmt_storage *s = NULL;

	assert_works(qcf_storage_file_open(device, NULL, flags, &s, errp));
	return s;
}

START_TEST(size_is_fixed)
{
	struct qcowfmt_storage *s = open_device(QCOWFMT_FILE_CREATE);
	char kept[5] = "";
	uint64_t size;

	ck_assert(s->fixed_size);
	ck_assert(!s->reads_zero_when_grown);
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, DEVICE_SIZE);
	assert_works(qcf_storage_get_allocated(s, &size, errp));
	ck_assert_uint_eq(size, DEVICE_SIZE);
	assert_works(qcf_storage_truncate(s, 0, errp));
	assert_works(qcf_storage_get_size(s, &size, errp));
	ck_assert_uint_eq(size, DEVICE_SIZE);
	assert_fails(qcf_storage_truncate(s, DEVICE_SIZE + 1, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_fails(qcf_storage_pwrite(s, "x", 1, DEVICE_SIZE, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	assert_works(qcf_storage_pwrite(s, "kept", 5, 0, errp));
	assert_works(qcf_storage_allocate(s, 0, DEVICE_SIZE, errp));
	assert_works(qcf_storage_pread_exact(s, kept, 5, 0, errp));
	ck_assert_str_eq(kept, "kept");
	assert_fails(qcf_storage_allocate(s, 0, DEVICE_SIZE + 1, errp), ENOSPC,
	             QCOWFMT_ERR_NO_SPACE);
	qcowfmt_storage_free(s);
}

END_TEST

static const uint32_t flag_sets[] = { 0, QCOWFMT_FILE_DIRECT };

START_TEST(transfers)
{
	static uint8_t bytes[300000], got[300000];
	struct qcowfmt_storage *s = open_device(flag_sets[_i]);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i / 3);
	assert_works(qcf_storage_pwrite(s, bytes, sizeof(bytes), 777, errp));
	assert_works(qcf_storage_zero(s, 1000, 5000, false, errp));
	memset(bytes + 1000 - 777, 0, 5000);
	assert_works(qcf_storage_zero(s, 131072, 65536, true, errp));
	memset(bytes + 131072 - 777, 0, 65536);
	assert_works(qcf_storage_discard(s, 1 << 20, 1 << 20, errp));
	assert_works(qcf_storage_discard(s, (2 << 20) + 1, 100, errp));
	assert_works(qcf_storage_flush(s, errp));
	assert_works(qcf_storage_pread_exact(s, got, sizeof(got), 777, errp));
	ck_assert_mem_eq(got, bytes, sizeof(bytes));
	/* The last bytes, where no whole block follows. */
	assert_works(
		qcf_storage_pwrite(s, bytes, 100, DEVICE_SIZE - 100, errp));
	assert_works(
		qcf_storage_pread_exact(s, got, 100, DEVICE_SIZE - 100, errp));
	ck_assert_mem_eq(got, bytes, 100);
	qcowfmt_storage_free(s);
}

END_TEST

static void add(TCase *tcase)
{
	tcase_add_test(tcase, size_is_fixed);
	tcase_add_loop_test(tcase, transfers, 0, QCF_ARRAY_LEN(flag_sets));
}

int main(void)
{
	int status = UNIT_SKIPPED;

	scratch_init();
	if (attach()) {
		status = unit_run("block_device", add);
		detach();
	} else {
		printf("skipped: no loop device can be set up\n");
	}
	scratch_fini();
	return status;
}
