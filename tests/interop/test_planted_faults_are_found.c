/* SPDX-License-Identifier: MIT */
/*
 * test_planted_faults_are_found.c - the differential tests notice what they are
 * there to notice
 *
 * First a disk that misbehaves now and then must be told from the flat array;
 * then an image damaged behind everybody's back must not be approved of.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "layer.h"

#define OPS 6000 /* the first finding ends it */

/* Header fields, see the format: offsets of big-endian 64-bit words. */
#define L1_OFFSET_AT       40
#define REFTABLE_OFFSET_AT 48
#define OFFSET_MASK        UINT64_C(0x00fffffffffffe00)

static const struct qcf_shape shape = {
	.version = 3,
	.cluster_size = 4096,
	.refcount_bits = 16,
	.size = 1 << 20,
};

static void make_image_of(struct qcf_chain *chain, const struct qcf_shape *like)
{
	struct qcf_finding finding = { 0 };
	struct qcf_target target;

	qcf_chain_init(chain);
	qcf_target_init(&target, like->size, like->cluster_size, true);
	ck_assert_msg(qcf_chain_push(chain, like, &target, &finding), "%s",
	              finding.text);
}

static void make_image(struct qcf_chain *chain)
{
	make_image_of(chain, &shape);
}

START_TEST(misbehaving_disk_is_found)
{
	enum qcf_fault fault = (enum qcf_fault)_i;
	uint64_t seed = qcf_seed() + (uint64_t)_i;
	struct qcf_finding finding = { 0 };
	struct qcf_disk_options options = { .seed = seed };
	struct qcf_workload w;
	struct qcf_chain chain;
	struct qcf_layer *top;
	struct qcf_disk *disk;
	bool good;

	make_image(&chain);
	top = qcf_chain_top(&chain);
	options.path = top->path;
	disk = qcf_disk_faulty_new(qcf_disk_new(&options), fault, shape.size,
	                           seed);
	qcf_workload_init(&w, disk, &top->oracle, &top->target, seed);
	good = disk->verbs->open(disk, &finding) &&
	       qcf_workload_run(&w, OPS, &finding);
	ck_assert_msg(!good, "not noticed: %s", qcf_fault_name(fault));
	ck_assert_msg(finding.kind == QCF_FOUND_CONTENT, "%s: %s",
	              qcf_fault_name(fault), finding.text);
	qcf_workload_fini(&w);
	disk->verbs->free(disk);
	qcf_chain_fini(&chain, false);
}

END_TEST

static uint64_t read_word(int fd, uint64_t offset)
{
	uint8_t bytes[8];
	uint64_t word = 0;
	int i;

	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), (off_t)offset),
	                 sizeof(bytes));
	for (i = 0; i < 8; i++)
		word = word << 8 | bytes[i];
	return word;
}

static void write_byte(int fd, uint64_t offset, uint8_t byte)
{
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static uint64_t l2_table(int fd)
{
	return read_word(fd, read_word(fd, L1_OFFSET_AT)) & OFFSET_MASK;
}

static uint64_t first_data_cluster(int fd)
{
	return read_word(fd, l2_table(fd)) & OFFSET_MASK;
}

static uint64_t refcount_at(int fd, uint64_t host_offset)
{
	uint64_t block = read_word(fd, read_word(fd, REFTABLE_OFFSET_AT));

	return block + host_offset / shape.cluster_size * 2;
}

static void damage_data(int fd)
{
	write_byte(fd, first_data_cluster(fd) + 100, 0x5b);
}

static void damage_leak(int fd)
{
	write_byte(fd, refcount_at(fd, first_data_cluster(fd)) + 1, 2);
}

static void damage_uncounted(int fd)
{
	write_byte(fd, refcount_at(fd, first_data_cluster(fd)) + 1, 0);
}

/* A lost L2 entry: zeros for the guest, and its cluster leaks. */
static void damage_mapping(int fd)
{
	uint64_t entry = l2_table(fd);
	int i;

	for (i = 0; i < 8; i++)
		write_byte(fd, entry + (uint64_t)i, 0);
}

/* The "dirty" bit, left set by a close that was not clean. */
static void damage_dirty_bit(int fd)
{
	write_byte(fd, 79, 1);
}

static void damage_nothing(int fd)
{
	(void)fd;
}

static const struct {
	void (*damage)(int fd);
	enum qcf_finding_kind found;
} damages[] = {
	{ damage_nothing, QCF_FOUND_NOTHING },
	{ damage_data, QCF_FOUND_CONTENT },
	{ damage_leak, QCF_FOUND_METADATA },
	{ damage_uncounted, QCF_FOUND_METADATA },
	{ damage_mapping, QCF_FOUND_METADATA },
	{ damage_dirty_bit, QCF_FOUND_METADATA },
};

#define DAMAGES (int)(sizeof(damages) / sizeof(damages[0]))

static void write_first_cluster(struct qcf_chain *chain)
{
	struct qcf_layer *top = qcf_chain_top(chain);
	struct qcf_disk_options options = { .seed = 0 };
	struct qcf_finding finding = { 0 };
	struct qcf_disk *disk;
	uint8_t data[4096];

	qcf_chain_open_options(chain, &options);
	disk = qcf_disk_new(&options);
	memset(data, 0x77, sizeof(data));
	qcf_oracle_write(&top->oracle, data, sizeof(data), 0);
	ck_assert_msg(disk->verbs->open(disk, &finding) &&
	                      disk->verbs->write(disk, data, sizeof(data), 0,
	                                         &finding) &&
	                      disk->verbs->close(disk, &finding),
	              "%s", finding.text);
	disk->verbs->free(disk);
}

START_TEST(damaged_file_is_found)
{
	struct qcf_finding finding = { 0 };
	struct qcf_chain chain;
	struct qcf_layer *top;
	int fd;

	/* QEMU's check says nothing about the dirty bit. */
	if (qcf_subject_is_qemu() && damages[_i].damage == damage_dirty_bit)
		return;
	make_image(&chain);
	top = qcf_chain_top(&chain);
	write_first_cluster(&chain);
	fd = open(top->path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	damages[_i].damage(fd);
	close(fd);
	qcf_chain_judge(&chain, &finding);
	ck_assert_msg(finding.kind == damages[_i].found, "damage %d: %d, %s",
	              _i, (int)finding.kind, finding.text);
	qcf_chain_fini(&chain, false);
}

END_TEST

/* Zeros that only the tables know of, in a file that is to be raw. */
START_TEST(stale_raw_file_is_found)
{
	struct qcf_shape raw = shape;
	struct qcf_finding finding = { 0 };
	struct qcf_chain chain;
	struct qcf_layer *top;
	int fd;

	raw.data_file = QCF_DATA_FILE_RAW;
	make_image_of(&chain, &raw);
	top = qcf_chain_top(&chain);
	write_first_cluster(&chain);
	ck_assert_msg(qcf_chain_judge(&chain, &finding), "%s", finding.text);
	/* The first entry: zeros, space reserved. */
	fd = open(top->path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	write_byte(fd, l2_table(fd) + 7, 1);
	close(fd);
	qcf_oracle_zero(&top->oracle, 0, raw.cluster_size);
	ck_assert(!qcf_chain_judge(&chain, &finding));
	ck_assert_int_eq(finding.kind, QCF_FOUND_CONTENT);
	qcf_chain_fini(&chain, false);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("planted faults are found");
	TCase *tcase = tcase_create("fault");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, misbehaving_disk_is_found, 0,
	                    QCF_FAULT_COUNT);
	tcase_add_loop_test(tcase, damaged_file_is_found, 0, DAMAGES);
	tcase_add_test(tcase, stale_raw_file_is_found);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
