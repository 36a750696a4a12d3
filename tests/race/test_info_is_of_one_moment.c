/* SPDX-License-Identifier: MIT */
/*
 * test_info_is_of_one_moment.c - what is told about an image while others change
 * its header belongs together
 *
 * Amending turns two properties at once, so whoever asks sees both or none; a
 * snapshot that is taken in between changes the number of snapshots only.
 */
#include <inttypes.h>

#include "harness.h"
#include "rig.h"
#include "team.h"

#define ROUNDS 300
#define ASKERS 3

static const struct qcf_rig_shape shape = {
	.in_memory = true,
	.cluster_size = 4096,
	.size = UINT64_C(1) << 20,
	.version = 3,
};

static bool amend(struct qcf_member *m, struct qcowfmt_image *image, bool wide)
{
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_amend_options options = {
		.struct_size = sizeof(options),
		.refcount_bits = wide ? 64 : 16,
		.lazy_refcounts = wide ? 1 : -1,
	};
	int ret = qcowfmt_amend(image, &options, &error);

	return ret >= 0 || qcf_found_error(&m->finding, "amending", ret, error);
}

static bool take_snapshot(struct qcf_member *m, struct qcowfmt_image *image)
{
	struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_snapshot_create(image, NULL, &error);

	return ret >= 0 ||
	       qcf_found_error(&m->finding, "taking a snapshot", ret, error);
}

static bool change(struct qcf_member *m)
{
	struct qcf_rig *rig = m->job;
	unsigned int rounds = qcf_team_rounds(ROUNDS);

	for (unsigned int i = 0; i < rounds && qcf_team_goes_on(m); i++) {
		if (!amend(m, rig->image, i % 2 == 0) ||
		    (i % 16 == 0 && !take_snapshot(m, rig->image)))
			return false;
	}
	return true;
}

static bool ask(struct qcf_member *m)
{
	struct qcf_rig *rig = m->job;
	uint32_t snapshots = 0;

	while (qcf_team_leaders_work(m)) {
		struct qcowfmt_error *error = NULL;
		struct qcowfmt_info info = { .struct_size = sizeof(info) };
		int ret = qcowfmt_get_info(rig->image, 0, &info, &error);
		bool lazy = (info.flags & QCOWFMT_INFO_LAZY_REFCOUNTS) != 0;

		if (ret < 0)
			return qcf_found_error(&m->finding, "asking", ret,
			                       error);
		if (lazy != (info.refcount_bits == 64) ||
		    lazy != ((info.compatible_features & 1) != 0) ||
		    info.snapshot_count < snapshots)
			return qcf_found(&m->finding, QCF_FOUND_CONTENT,
			                 "%" PRIu32 " refcount bits, lazy %d, "
			                 "%" PRIu32 " snapshots after %" PRIu32,
			                 info.refcount_bits, lazy,
			                 info.snapshot_count, snapshots);
		snapshots = info.snapshot_count;
	}
	return true;
}

START_TEST(properties_change_together)
{
	struct qcf_finding finding = { 0 };
	struct qcf_rig rig;
	bool good;

	ck_assert_msg(qcf_rig_init(&rig, &shape, &finding), "%s", finding.text);
	good = qcf_team_run(1, change, ASKERS, ask, &rig, qcf_seed(), &finding);
	ck_assert_msg(good, "QCF_SEED=%" PRIu64 ": %s", qcf_seed(),
	              finding.text);
	ck_assert_msg(qcf_rig_fini(&rig, &finding), "%s", finding.text);
}

END_TEST

int main(void)
{
	Suite *suite = suite_create("info is of one moment");
	TCase *tcase = tcase_create("race");

	tcase_set_timeout(tcase, 120 * qcf_long_factor());
	tcase_add_test(tcase, properties_change_together);
	suite_add_tcase(suite, tcase);
	return qcf_harness_run(suite, false);
}
