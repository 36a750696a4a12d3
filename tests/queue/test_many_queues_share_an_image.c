/* SPDX-License-Identifier: MIT */
/*
 * Promise: threads with a queue each, and others that use the same image without,
 * lose nothing of each other, whatever they change meanwhile.
 *
 * Each thread has its own sectors, between those of the others, so that all share
 * clusters and allocate side by side.  A sector says who wrote it last; discards are
 * of whole clusters that no one else has.  One thread changes the image as a whole.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "figure.h"
#include "queue_rig.h"
#include "thin.h"

#define TEAM     4
#define SECTOR   512u
#define SECTORS  (RIG_SIZE / SECTOR / TEAM) /* of each thread */
#define DEPTH    16
#define REQUESTS 3000u

struct member {
	unsigned int number;
	int uring; /* -1: no queue */
	pthread_t thread;
	struct rig random;
	uint64_t last[SECTORS]; /* what each sector was last written with */
	bool busy[SECTORS];

	struct {
		bool used;
		bool is_write;
		uint64_t sector;
		uint64_t word;
		uint64_t content[SECTOR / 8];
	} slots[DEPTH];

	const char *finding; /* NULL: all was right */
};

static struct qcowfmt_image *image;
static atomic_bool stop;
static unsigned int requests_each;

static uint64_t offset_of(const struct member *m, uint64_t sector)
{
	return (sector * TEAM + m->number) * SECTOR;
}

static void find(struct member *m, const char *what)
{
	if (m->finding == NULL)
		m->finding = what;
}

static void judge_read(struct member *m, const uint64_t *content,
                       uint64_t sector)
{
	for (size_t i = 0; i < SECTOR / 8; i++) {
		if (content[i] != m->last[sector])
			find(m, "a sector does not hold what was written last");
	}
}

static void begin(struct member *m, struct qcowfmt_queue *queue, uint64_t slot)
{
	uint64_t sector;
	int ret;

	do {
		sector = rig_draw(&m->random, SECTORS);
	} while (m->busy[sector]);
	m->slots[slot].used = true;
	m->slots[slot].sector = sector;
	m->slots[slot].is_write = rig_draw(&m->random, 2) == 0;
	m->slots[slot].word =
		1 + m->number + rig_draw(&m->random, 1u << 30) * 16;
	m->busy[sector] = true;
	if (m->slots[slot].is_write) {
		for (size_t i = 0; i < SECTOR / 8; i++)
			m->slots[slot].content[i] = m->slots[slot].word;
		ret = qcowfmt_queue_pwrite(queue, m->slots[slot].content,
		                           SECTOR, offset_of(m, sector), slot,
		                           NULL);
	} else {
		ret = qcowfmt_queue_pread(queue, m->slots[slot].content, SECTOR,
		                          offset_of(m, sector), slot, NULL);
	}
	if (ret < 0)
		find(m, "a request was not taken");
}

static void end(struct member *m, const struct qcowfmt_completion *c)
{
	uint64_t sector = m->slots[c->user_data].sector;

	if (c->result < 0)
		find(m, "a request failed");
	if (m->slots[c->user_data].is_write)
		m->last[sector] = m->slots[c->user_data].word;
	else
		judge_read(m, m->slots[c->user_data].content, sector);
	m->busy[sector] = false;
	m->slots[c->user_data].used = false;
}

static void use_queue(struct member *m)
{
	struct qcowfmt_queue_options o = {
		.struct_size = sizeof(o),
		.depth = DEPTH,
		.workers = 2,
		.flags = m->uring ? 0 : QCOWFMT_QUEUE_NO_URING,
	};
	struct qcowfmt_completion c[DEPTH];
	struct qcowfmt_queue *queue = NULL;
	unsigned int begun = 0;
	unsigned int ended = 0;

	if (qcowfmt_queue_new(image, &o, &queue, NULL) < 0) {
		find(m, "no queue");
		return;
	}
	while (ended < requests_each && m->finding == NULL) {
		for (uint64_t i = 0; i < DEPTH && begun < requests_each; i++) {
			if (m->slots[i].used)
				continue;
			begin(m, queue, i);
			begun++;
		}

		int count = qcowfmt_queue_reap(queue, c, DEPTH, 60000);

		if (count == 0)
			find(m, "a completion never came");
		for (int i = 0; i < count; i++)
			end(m, &c[i]);
		ended += (unsigned int)count;
	}
	qcowfmt_queue_free(queue);
}

static void use_calls(struct member *m)
{
	for (unsigned int i = 0; i < requests_each && m->finding == NULL; i++) {
		uint64_t sector = rig_draw(&m->random, SECTORS);
		uint64_t content[SECTOR / 8];

		m->last[sector] =
			1 + m->number + rig_draw(&m->random, 1u << 30) * 16;
		for (size_t j = 0; j < SECTOR / 8; j++)
			content[j] = m->last[sector];
		if (qcowfmt_pwrite(image, content, SECTOR, offset_of(m, sector),
		                   NULL) < 0 ||
		    qcowfmt_pread(image, content, SECTOR, offset_of(m, sector),
		                  NULL) < 0)
			find(m, "a call failed");
		judge_read(m, content, sector);
		if (i % 500 == 499 && qcowfmt_flush(image, NULL) < 0)
			find(m, "a flush failed");
	}
}

static void *run(void *argument)
{
	struct member *m = argument;

	if (m->uring < 0)
		use_calls(m);
	else
		use_queue(m);
	return NULL;
}

/* Longer, and as it was before. */
static int change_size(struct qcowfmt_error **errp)
{
	const struct qcowfmt_resize_options o = {
		.struct_size = sizeof(o),
		.flags = QCOWFMT_RESIZE_SHRINK,
	};
	int ret = qcowfmt_resize(image, 3 * RIG_SIZE, &o, errp);

	return ret < 0 ? ret : qcowfmt_resize(image, RIG_SIZE, &o, errp);
}

/* Snapshots make writes allocate again, and free what they have replaced. */
static void *change_whole(void *unused)
{
	struct qcowfmt_error *error = NULL;
	const struct qcowfmt_snapshot_options o = {
		.struct_size = sizeof(o),
		.name = "s",
	};

	(void)unused;
	while (!atomic_load(&stop)) {
		if (qcowfmt_snapshot_create(image, &o, &error) < 0 ||
		    qcowfmt_snapshot_delete(image, NULL, "s", &error) < 0 ||
		    change_size(&error) < 0)
			return error;
	}
	return NULL;
}

static void judge_all(struct member *team)
{
	for (unsigned int n = 0; n < TEAM; n++) {
		ck_assert_msg(team[n].finding == NULL, "member %u: %s", n,
		              team[n].finding);
		for (uint64_t s = 0; s < SECTORS; s++) {
			uint64_t content[SECTOR / 8];

			if (qcowfmt_pread(image, content, SECTOR,
			                  offset_of(&team[n], s), NULL) < 0)
				find(&team[n], "reading failed at the end");
			judge_read(&team[n], content, s);
		}
		ck_assert_msg(team[n].finding == NULL, "member %u: %s", n,
		              team[n].finding);
	}
}

static void try_team(uint64_t cluster_size, const int *backends)
{
	struct member *team = calloc(TEAM, sizeof(*team));
	pthread_t changer;
	void *failure = NULL;

	ck_assert_ptr_nonnull(team);
	api_create(scratch_path("disk"), RIG_SIZE, cluster_size);
	image = api_open(scratch_path("disk"), API_RW);
	atomic_store(&stop, false);
	requests_each = (getenv("QCF_LONG") != NULL ? 50 : 1) * REQUESTS /
	                thin_factor();
	for (unsigned int i = 0; i < TEAM; i++) {
		team[i].number = i;
		team[i].uring = backends[i];
		team[i].random.random = i + 1;
		pthread_create(&team[i].thread, NULL, run, &team[i]);
	}
	pthread_create(&changer, NULL, change_whole, NULL);
	for (unsigned int i = 0; i < TEAM; i++)
		pthread_join(team[i].thread, NULL);
	atomic_store(&stop, true);
	pthread_join(changer, &failure);
	ck_assert_msg(failure == NULL, "%s", qcowfmt_error_message(failure));
	judge_all(team);
	figure_add("queue-team-requests", "requests", TEAM * requests_each);
	api_close(image);
	image = api_open(scratch_path("disk"), API_RW);
	api_check_clean(image);
	judge_all(team);
	api_close(image);
	api_qemu_check(scratch_path("disk"));
	free(team);
}

static const uint64_t cluster_sizes[] = { 512, 4096, 65536 };

START_TEST(queues_of_threads)
{
	try_team(cluster_sizes[_i], (const int[TEAM]){ 0, 0, 0, -1 });
}

END_TEST

START_TEST(queues_with_io_uring)
{
	if (rig_has_uring())
		try_team(cluster_sizes[_i], (const int[TEAM]){ 1, 1, 0, -1 });
}

END_TEST

static void add(TCase *tc)
{
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, queues_of_threads, 0, 3);
	tcase_add_loop_test(tc, queues_with_io_uring, 0, 3);
}

int main(int argc, char **argv)
{
	int status;

	figure_init();
	status = api_main("many queues share an image", add, argc, argv);
	figure_print();
	return status;
}
