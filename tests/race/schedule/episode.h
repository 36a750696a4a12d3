/* SPDX-License-Identifier: MIT */
/*
 * episode.h - one interleaving of one scenario, and what became of the image
 *
 * What must hold, whatever the interleaving:
 *
 *   - all threads end, and no call fails without a reason;
 *   - everything that was read was possible (ledger.h), on the open image, after
 *     closing, in snapshots, in the target of a conversion;
 *   - check finds nothing while the image is open, and not even a leak when it has
 *     been closed, unless something was made to fail;
 *   - what a power cut in the middle would have left opens, has no corruption and
 *     shows what the last flush had promised;
 *   - bitmaps have what was written, and nothing else.
 */
#ifndef QCF_EPISODE_H
#define QCF_EPISODE_H

#include <stdbool.h>
#include <stdint.h>

#include "schedule.h"
#include "stage.h"

struct qcf_episode {
	uint64_t seed;
	struct qcf_schedule_result schedule;
	bool was_cut;      /* a power cut was looked at */
	bool had_fault;    /* and something failed */
	char threads[256]; /* their scripts, if they were invented */
};

/* A place to play episodes of one scenario in, one after the other. */
struct qcf_theatre;

struct qcf_theatre *qcf_theatre_new(const struct qcf_scenario *scenario);
void qcf_theatre_free(struct qcf_theatre *theatre);

/* These tell how long episodes are, and are to be played first. */
#define QCF_FIRST_SEEDS 6 /* 1 ... 6 */

/*
 * Play the episode of a seed.  After a finding the theatre can only be left alone:
 * threads may be stuck in it.
 */
bool qcf_episode_play(struct qcf_theatre *theatre, uint64_t seed,
                      struct qcf_episode *episode, struct qcf_finding *finding);

#endif
