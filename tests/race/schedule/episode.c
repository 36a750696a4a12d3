/* SPDX-License-Identifier: MIT */
/* episode.c - one interleaving of one scenario, and what became of the image */
#include "episode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acts.h"
#include "approve.h"
#include "order.h"
#include "script.h"

#define MAX_THREADS  4
#define MAX_INVENTED 4 /* acts of one thread */

struct actor {
	struct qcf_theatre *theatre;
	int number;
	struct qcf_script script;
};

struct qcf_theatre {
	struct qcf_stage stage;
	struct qcf_ledger *ledger;
	struct actor actors[MAX_THREADS];
	int actor_count;
	uint64_t length; /* of the longest of the first episodes: points */
	uint64_t coarse_length;
	struct qcf_acting acting;
	struct qcf_disk *crashed; /* what the power cut left of the top */
	uint64_t left_at;         /* 0: there was none */
	uint64_t flushed_before;  /* see struct qcf_acting */
	struct qcf_finding *finding;
};

struct qcf_theatre *qcf_theatre_new(const struct qcf_scenario *scenario)
{
	struct qcf_theatre *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	qcf_stage_init(&t->stage, scenario);
	t->ledger = qcf_ledger_new();
	t->crashed = qcf_disk_new();
	return t;
}

void qcf_theatre_free(struct qcf_theatre *t)
{
	qcf_stage_fini(&t->stage);
	qcf_ledger_free(t->ledger);
	qcf_disk_free(t->crashed);
	free(t);
}

/* ------------------------------------------------------------------ actors */

static void actor_main(void *argument)
{
	const struct actor *actor = argument;
	struct qcf_theatre *t = actor->theatre;

	for (int i = 0; i < actor->script.count; i++) {
		if (t->finding->kind != QCF_FOUND_NOTHING)
			return;
		(void)qcf_act(&t->acting, actor->number, i,
		              &actor->script.acts[i]);
	}
}

static void invent_actors(struct qcf_theatre *t, uint64_t seed,
                          struct qcf_episode *episode)
{
	const struct qcf_scenario *s = t->stage.scenario;
	uint64_t random = qcf_mix(seed, 6);
	size_t used = 0;

	t->actor_count = 2 + (int)(random % (MAX_THREADS - 1));
	for (int i = 0; i < t->actor_count; i++) {
		qcf_script_invent(&t->actors[i].script, s->kinds, MAX_INVENTED,
		                  s->shape.cluster_size / QCF_SECTOR,
		                  s->shape.sectors, &random);
		if (used + 80 > sizeof(episode->threads))
			continue;
		used += (size_t)snprintf(episode->threads + used, 3, "; ");
		qcf_script_print(&t->actors[i].script, episode->threads + used,
		                 (int)(sizeof(episode->threads) - used));
		used = strlen(episode->threads);
	}
}

static void learn_actors(struct qcf_theatre *t)
{
	const struct qcf_scenario *s = t->stage.scenario;

	for (t->actor_count = 0;
	     t->actor_count < MAX_THREADS && s->threads[t->actor_count] != NULL;
	     t->actor_count++)
		qcf_script_parse(&t->actors[t->actor_count].script,
		                 s->threads[t->actor_count]);
}

static bool somebody_does(const struct qcf_theatre *t, char kind)
{
	for (int i = 0; i < t->actor_count; i++) {
		const struct qcf_script *script = &t->actors[i].script;

		for (int k = 0; k < script->count; k++) {
			if (script->acts[k].kind == kind)
				return true;
		}
	}
	return false;
}

/* ----------------------------------------------------------------- the run */

/* In a file of its own data is flushed first, so one cut is not enough there. */
static bool can_be_cut(const struct qcf_stage *stage)
{
	return !stage->scenario->shape.data_file &&
	       !stage->scenario->shape.cut_chain;
}

static void cut_the_power(void *opaque)
{
	struct qcf_theatre *t = opaque;

	qcf_disk_cut(t->stage.disks[QCF_STAGE_TOP], t->crashed);
	t->left_at = qcf_schedule_now();
	t->flushed_before = t->acting.flushed;
}

static void put_in_fault(struct qcf_theatre *t)
{
	enum qcf_fault fault = t->stage.scenario->fault;

	if (fault != QCF_FAULT_NONE)
		qcf_disk_fail(t->stage.disks[QCF_STAGE_TOP], fault,
		              1 + qcf_schedule_random(
					  fault == QCF_FAULT_FLUSH ? 4 : 12));
}

static void learn_length(struct qcf_theatre *t,
                         const struct qcf_episode *episode)
{
	const struct qcf_schedule_result *r = &episode->schedule;

	if (episode->seed > QCF_FIRST_SEEDS)
		return;
	if (r->points > t->length)
		t->length = r->points;
	if (r->coarse_points > t->coarse_length)
		t->coarse_length = r->coarse_points;
}

static void run(struct qcf_theatre *t, struct qcf_episode *episode)
{
	struct qcf_schedule_plan plan = {
		.seed = episode->seed,
		.length = 300,
		.coarse_length = 100,
		.opaque = t,
	};

	if (episode->seed > QCF_FIRST_SEEDS) {
		plan.length = t->length;
		plan.coarse_length = t->coarse_length;
	}
	if (can_be_cut(&t->stage))
		plan.look = cut_the_power;
	qcf_schedule_begin(&plan);
	put_in_fault(t);
	for (int i = 0; i < t->actor_count; i++) {
		t->actors[i].theatre = t;
		t->actors[i].number = i;
		(void)qcf_fiber_start(actor_main, &t->actors[i]);
	}
	qcf_schedule_run(&episode->schedule);
	learn_length(t, episode);
	episode->was_cut = t->left_at > 0;
	for (int i = 0; i < QCF_STAGE_DISKS; i++)
		episode->had_fault = episode->had_fault ||
		                     qcf_disk_victim(t->stage.disks[i]) >= 0;
}

static bool ended_well(const struct qcf_episode *episode,
                       struct qcf_finding *finding)
{
	switch (episode->schedule.end) {
	case QCF_SCHEDULE_DEADLOCK:
		return qcf_found(finding, QCF_FOUND_ERROR, "deadlock: %s",
		                 episode->schedule.text);
	case QCF_SCHEDULE_TOO_LONG:
		return qcf_found(finding, QCF_FOUND_ERROR, "no end in sight");
	default:
		return finding->kind == QCF_FOUND_NOTHING;
	}
}

/* ------------------------------------------------------------------ judging */

static bool shows_now(struct qcf_theatre *t, struct qcowfmt_image *image,
                      const char *what)
{
	uint64_t now = qcf_schedule_now();

	return qcf_acts_read_all(&t->acting, image, now, qcf_schedule_now(),
	                         QCF_SEEN, what);
}

/* Nothing is checked after a failure that ended all writing. */
static bool is_poisoned(struct qcf_theatre *t)
{
	struct qcowfmt_error *error = NULL;
	int code;

	(void)qcowfmt_flush(t->stage.image, &error);
	code = qcowfmt_error_code(error);
	qcowfmt_error_free(error);
	return code == QCOWFMT_ERR_POISONED;
}

static bool judge_open_image(struct qcf_theatre *t,
                             const struct qcf_episode *episode)
{
	const struct qcf_stage_shape *s = &t->stage.scenario->shape;

	return (s->cut_chain || shows_now(t, t->stage.image, "at the end")) &&
	       ((episode->had_fault && is_poisoned(t)) ||
	        qcf_check_is_clean(t->stage.image, true, t->finding)) &&
	       (t->stage.base == NULL ||
	        qcf_check_is_clean(t->stage.base, true, t->finding));
}

static bool judge_bitmap(struct qcf_theatre *t, struct qcowfmt_image *image)
{
	uint64_t sectors = t->stage.scenario->shape.sectors;
	struct qcowfmt_error *error = NULL;
	uint64_t start = 0;
	uint64_t len = 0;
	uint64_t s = 0;
	int ret;

	if (!t->stage.scenario->shape.bitmaps)
		return true;
	for (; s < sectors; s++) {
		ret = qcowfmt_bitmap_next(image, "kept", s * QCF_SECTOR, &start,
		                          &len, &error);
		if (ret < 0)
			return qcf_found_error(t->finding, "bitmap", ret,
			                       error);
		if (t->acting.touched[s] ==
		    (ret == 1 && start == s * QCF_SECTOR))
			continue;
		return qcf_found(t->finding, QCF_FOUND_CONTENT,
		                 "sector %" PRIu64 " is %s in the bitmap", s,
		                 t->acting.touched[s] ? "clean" : "dirty");
	}
	return true;
}

static bool judge_snapshot(struct qcf_theatre *t, const struct qcf_taken *taken)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	if (taken->failed)
		return true;
	ret = qcf_stage_open(&t->stage, 0, taken->name, NULL, &image, &error);
	if (ret < 0)
		return qcf_found_error(t->finding, "open a snapshot", ret,
		                       error);
	good = qcf_acts_read_all(&t->acting, image, taken->start, taken->end,
	                         QCF_SEEN, "snapshot");
	qcowfmt_close(image, NULL);
	return good;
}

static bool judge_conversion(struct qcf_theatre *t)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	if (t->acting.converted.start == 0 || t->acting.converted.failed)
		return true;
	ret = qcf_stage_open(&t->stage, 0, NULL,
	                     t->stage.disks[QCF_STAGE_TARGET], &image, &error);
	if (ret < 0)
		return qcf_found_error(t->finding, "open the target", ret,
		                       error);
	good = qcf_acts_read_all(&t->acting, image, t->acting.converted.start,
	                         t->acting.converted.end, QCF_SEEN,
	                         "converted") &&
	       qcf_check_is_clean(image, false, t->finding);
	qcowfmt_close(image, NULL);
	return good;
}

static bool judge_closed_image(struct qcf_theatre *t,
                               const struct qcf_episode *episode)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	uint32_t flags = episode->had_fault ? QCOWFMT_OPEN_READ_WRITE : 0;
	bool good;
	int ret;

	ret = qcf_stage_open(&t->stage, flags, NULL, NULL, &image, &error);
	if (ret < 0)
		return qcf_found_error(t->finding, "open again", ret, error);
	good = shows_now(t, image, "after closing") &&
	       qcf_check_is_clean(image, episode->had_fault, t->finding) &&
	       (episode->had_fault || judge_bitmap(t, image));
	ret = qcowfmt_close(image, &error);
	if (ret < 0 && good)
		return qcf_found_error(t->finding, "close", ret, error);
	for (int i = 0; i < t->acting.taken_count && good; i++)
		good = judge_snapshot(t, &t->acting.taken[i]);
	return good && judge_conversion(t);
}

/* After a failed flush nothing is promised but what was flushed before. */
static bool close_stage(struct qcf_theatre *t,
                        const struct qcf_episode *episode, bool *is_stable)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcf_stage_close(&t->stage, &error);

	*is_stable = ret == 0;
	if (ret < 0 && !episode->had_fault)
		return qcf_found_error(t->finding, "close", ret, error);
	qcowfmt_error_free(error);
	return true;
}

/* What is on a disk that nobody has closed, as of an interval. */
static bool judge_remains(struct qcf_theatre *t, struct qcf_disk *disk,
                          uint64_t start, uint64_t end, const char *what)
{
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	bool good;
	int ret;

	ret = qcf_stage_open(&t->stage, QCOWFMT_OPEN_READ_WRITE, NULL, disk,
	                     &image, &error);
	if (ret < 0)
		return qcf_found_error(t->finding, what, ret, error);
	good = qcf_acts_read_all(&t->acting, image, start, end, QCF_REMAINS,
	                         what) &&
	       qcf_check_is_clean(image, true, t->finding);
	qcowfmt_close(image, NULL);
	return good;
}

static bool judge_power_cut(struct qcf_theatre *t)
{
	if (t->left_at == 0)
		return true;
	return judge_remains(t, t->crashed, t->flushed_before, t->left_at,
	                     "after a power cut");
}

/* What closing could not make stable is as after a power cut. */
static bool judge_closed(struct qcf_theatre *t,
                         const struct qcf_episode *episode, bool is_stable)
{
	if (is_stable)
		return judge_closed_image(t, episode);
	return judge_remains(t, t->stage.disks[QCF_STAGE_TOP],
	                     t->acting.flushed, qcf_schedule_now(),
	                     "after a failure");
}

static bool judge(struct qcf_theatre *t, const struct qcf_episode *episode)
{
	bool is_stable;

	return ended_well(episode, t->finding) &&
	       judge_open_image(t, episode) &&
	       close_stage(t, episode, &is_stable) &&
	       judge_closed(t, episode, is_stable) && judge_power_cut(t) &&
	       qcf_ledger_judge(t->ledger, t->finding);
}

/* ------------------------------------------------------------------ episode */

static void begin(struct qcf_theatre *t, struct qcf_finding *finding)
{
	t->finding = finding;
	t->acting = (struct qcf_acting){
		.stage = &t->stage,
		.ledger = t->ledger,
		.finding = finding,
		.resizes = somebody_does(t, 'g'),
		.resizes_base = somebody_does(t, 'G'),
		.drops_base = somebody_does(t, 'x'),
	};
	t->left_at = 0;
	t->flushed_before = 0;
	qcf_stage_reset(&t->stage);
	qcf_ledger_begin(t->ledger, t->stage.versions,
	                 t->stage.scenario->shape.sectors);
}

bool qcf_episode_play(struct qcf_theatre *t, uint64_t seed,
                      struct qcf_episode *episode, struct qcf_finding *finding)
{
	*episode = (struct qcf_episode){ .seed = seed };
	*finding = (struct qcf_finding){ .kind = QCF_FOUND_NOTHING };
	if (t->stage.scenario->kinds != NULL)
		invent_actors(t, seed, episode);
	else
		learn_actors(t);
	begin(t, finding);
	run(t, episode);
	return judge(t, episode);
}
