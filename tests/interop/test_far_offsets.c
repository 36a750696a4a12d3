/* SPDX-License-Identifier: MIT */
/*
 * test_far_offsets.c - the largest disks the format can describe work to their
 * last sector
 *
 * Too large for a flat array in a file: what was written is kept as a list of
 * stamps, one in each of equal slots of the disk, and everything near a stamp
 * must be zeros.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "disk.h"
#include "harness.h"
#include "run.h"

#define STAMPS 150u
#define MARGIN 512u

struct stamp {
	uint64_t offset;
	uint64_t len;
	uint8_t byte; /* 0: was zeroed */
};

struct giant {
	struct qcf_tmpdir dir;
	char path[QCF_PATH_SIZE];
	uint64_t cluster_size;
	uint64_t size;
	struct qcf_rng rng;
	struct qcf_disk *disk;
	struct stamp stamps[STAMPS];
};

static const struct {
	uint64_t cluster_size;
	uint64_t size;
} giants[] = {
	{ 512, UINT64_C(128) << 30 }, /* the most, with an L1 of 32 MiB */
	{ 4096, UINT64_C(8) << 40 },  /* the most */
	{ 65536, UINT64_C(64) << 40 },
	{ 65536, UINT64_C(2) << 50 },   /* the most */
	{ 2097152, UINT64_C(2) << 60 }, /* the most */
};

#define GIANTS (int)(sizeof(giants) / sizeof(giants[0]))

static void must(bool good, const struct qcf_finding *finding)
{
	if (!good)
		ck_abort_msg("QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
		             finding->text);
}

static void choose_stamps(struct giant *g)
{
	uint64_t slot = g->size / STAMPS;
	unsigned int i;

	for (i = 0; i < STAMPS; i++) {
		struct stamp *s = &g->stamps[i];
		uint64_t inside = qcf_rng_between(&g->rng, 2 * MARGIN,
		                                  slot - 4 * g->cluster_size);

		s->offset = i * slot + inside;
		if (i % 2)
			s->offset -= s->offset % g->cluster_size + i % 5;
		s->len = qcf_rng_between(&g->rng, 1, 3000);
		s->byte = (uint8_t)qcf_rng_between(&g->rng, 1, 255);
	}
	g->stamps[0].offset = 0;
	g->stamps[STAMPS - 1].offset = g->size - g->stamps[STAMPS - 1].len;
}

static void create(struct giant *g)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = g->size,
		.cluster_size = g->cluster_size,
	};
	struct qcf_finding finding = { 0 };
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_create_file(g->path, &options, &error);

	if (ret < 0)
		qcf_found_error(&finding, "create", ret, error);
	must(ret == 0, &finding);
}

static void write_stamp(struct giant *g, const struct stamp *s)
{
	struct qcf_finding finding = { 0 };
	uint8_t data[3000];

	memset(data, s->byte, s->len);
	must(g->disk->verbs->write(g->disk, data, s->len, s->offset, &finding),
	     &finding);
}

static void zero_stamp(struct giant *g, struct stamp *s)
{
	struct qcf_finding finding = { 0 };

	s->byte = 0;
	must(g->disk->verbs->zero(g->disk, s->offset, s->len, true, &finding),
	     &finding);
}

/* A stamp and MARGIN bytes on both sides, as far as the disk goes. */
static void read_stamp(struct giant *g, const struct stamp *s)
{
	struct qcf_finding finding = { 0 };
	uint64_t before = s->offset < MARGIN ? 0 : MARGIN;
	uint64_t end = s->offset + s->len;
	uint64_t after = g->size - end < MARGIN ? 0 : MARGIN;
	uint8_t data[3000 + 2 * MARGIN];
	uint8_t want[3000 + 2 * MARGIN] = { 0 };
	uint64_t len = before + s->len + after;

	memset(want + before, s->byte, s->len);
	must(g->disk->verbs->read(g->disk, data, len, s->offset - before,
	                          &finding),
	     &finding);
	ck_assert_msg(memcmp(data, want, len) == 0,
	              "QCF_SEED=%" PRIu64 ": stamp of %" PRIu64
	              " bytes at %" PRIu64 " differs",
	              qcf_seed(), s->len, s->offset);
}

static void reopen(struct giant *g)
{
	struct qcf_finding finding = { 0 };
	unsigned int i;

	must(g->disk->verbs->close(g->disk, &finding) &&
	             g->disk->verbs->open(g->disk, &finding),
	     &finding);
	for (i = 0; i < STAMPS; i++)
		read_stamp(g, &g->stamps[i]);
}

static void print_reads(const struct giant *g, FILE *script)
{
	unsigned int i;

	for (i = 0; i < STAMPS; i++) {
		const struct stamp *s = &g->stamps[i];

		fprintf(script, "read -q -P %u %" PRIu64 " %" PRIu64 "\n",
		        s->byte, s->offset, s->len);
		if (s->offset >= MARGIN)
			fprintf(script, "read -q -P 0 %" PRIu64 " %u\n",
			        s->offset - MARGIN, MARGIN);
	}
}

static void qemu_agrees(const struct giant *g)
{
	const char *const check[] = { "qemu-img", "check", "-f",
		                      "qcow2",    g->path, NULL };
	const char *const read[] = { "qemu-io", "-r",    "-f",
		                     "qcow2",   g->path, NULL };
	struct qcf_finding finding = { 0 };
	char path[QCF_PATH_SIZE];
	FILE *script;

	qcf_tmpdir_path(&g->dir, "script", path);
	script = fopen(path, "w");
	ck_assert_ptr_nonnull(script);
	print_reads(g, script);
	ck_assert_int_eq(fclose(script), 0);
	must(qcf_run_ok(check, NULL, QCF_FOUND_METADATA, &finding) &&
	             qcf_run_ok(read, path, QCF_FOUND_CONTENT, &finding),
	     &finding);
}

START_TEST(last_sector_works)
{
	struct giant g = {
		.cluster_size = giants[_i].cluster_size,
		.size = giants[_i].size,
		.rng = qcf_rng_new(qcf_seed(), (uint64_t)_i),
	};
	struct qcf_disk_options options = { .path = g.path };
	struct qcf_finding finding = { 0 };
	unsigned int i;

	qcf_tmpdir_new(&g.dir);
	qcf_tmpdir_path(&g.dir, "giant", g.path);
	choose_stamps(&g);
	create(&g);
	g.disk = qcf_disk_lib_new(&options);
	must(g.disk->verbs->open(g.disk, &finding), &finding);
	for (i = 0; i < STAMPS; i++)
		write_stamp(&g, &g.stamps[i]);
	reopen(&g);
	for (i = 0; i < STAMPS; i += 3)
		zero_stamp(&g, &g.stamps[i]);
	reopen(&g);
	must(g.disk->verbs->close(g.disk, &finding), &finding);
	qemu_agrees(&g);
	g.disk->verbs->free(g.disk);
	qcf_tmpdir_remove(&g.dir);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("far offsets");
	TCase *tcase = tcase_create("giant");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, last_sector_works, 0, GIANTS);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, true);
}
